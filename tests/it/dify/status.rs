//! The component `[dify]`: every API is called and reported as in dify-status, with a Dify with sessions, pages and every failure.

use crate::support::child::polite;
use crate::support::dify_server::{App, CONVERSATION, DifyServer, EMAIL, Fault, PASSWORD, TokensIn};
use crate::support::{Portcullis, Running, eventually, secs};
use serde_json::{Value, json};
use std::time::Duration;

/// Everything that a Dify of one chat app, one workflow and the knowledge needs.
const KEYS: &str = "chat_api_keys = [\"app-chat-key-1\"]\ndataset_api_key = \"dataset-key-1\"\nworkflow_api_keys = [\"app-flow-key-1\"]\n";

fn account() -> String {
    format!("email = \"{EMAIL}\"\npassword = \"{PASSWORD}\"\n")
}

/// A service with a component of these keys, which shows its details to everybody.
fn service(dify: &DifyServer, keys: &str) -> Portcullis {
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let interval = if keys.contains("interval") { "" } else { "interval = \"150ms\"\n" };
    run.config(&format!(
        "mode = \"api\"\n[modes.api]\ncommand = [\"{}\"]\n[health]\ndetails = \"always\"\n[dify]\nurl = \"http://127.0.0.1:{}/\"\n{interval}{keys}",
        child.display(),
        dify.port
    ))
}

fn start(dify: &DifyServer, keys: &str) -> Running {
    listening(service(dify, keys))
}

fn listening(run: Portcullis) -> Running {
    let run = run.start();
    run.until_status("/livez", 200, secs(30));
    run
}

fn component(run: &Running) -> Option<Value> {
    let answer = run.get("/actuator/health/dify");
    (!answer.body.is_empty()).then(|| answer.json()).filter(|component| component["details"]["totalApis"].is_u64())
}

/// The details of the first report for which this holds.
#[track_caller]
fn report(run: &Running, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, secs(30), || component(run).map(|mut component| component["details"].take()).filter(&holds))
}

/// Every API of a report, as `client method endpoint status code`.
fn apis(report: &Value) -> Vec<String> {
    let clients = report["clientReports"].as_array().unwrap();
    let of = |client: &Value| {
        let name = client["clientName"].as_str().unwrap().to_owned();
        let all = client["apiStatuses"].as_array().unwrap().clone();
        all.into_iter().map(move |api| {
            let text = |key: &str| api[key].as_str().unwrap().to_owned();
            let code = api.get("httpStatusCode").map_or("-".to_owned(), Value::to_string);
            format!("{name} {} {} {} {code}", text("methodName"), text("endpoint"), text("status"))
        })
    };
    clients.iter().flat_map(of).collect()
}

fn has(report: &Value, line: &str) -> bool {
    apis(report).iter().any(|api| api == line)
}

#[track_caller]
fn holds(report: &Value, line: &str) {
    assert!(has(report, line), "{line} in {:#?}", apis(report));
}

const WELL: [&str; 16] = [
    "DifyChat parameters /parameters normal 200",
    "DifyChat info /info normal 200",
    "DifyChat meta /meta normal 200",
    "DifyChat site /site normal 200",
    "DifyChat conversations /conversations normal 200",
    "DifyChat messages /messages normal 200",
    "DifyChat feedbacks /feedbacks normal 200",
    "DifyChat pageAppAnnotation /annotations normal 200",
    "DifyChat conversationVariables /conversation-variables normal 200",
    "DifyDataset datasets /datasets normal 200",
    "DifyDataset listTextEmbedding /text-embeddings normal 200",
    "DifyDataset listRerank /rerank normal 200",
    "DifyDataset listTag /tags normal 200",
    "DifyWorkflow logs /logs normal 200",
    "DifyServer apps /apps normal 200",
    "DifyServer getDatasetApiKey /datasets/api-keys normal 200",
];

#[test]
fn every_api_of_the_four_clients_is_probed_as_configured_and_reported_by_its_name() {
    let dify = DifyServer::start();
    let run = start(&dify, &format!("{}{KEYS}interval = \"1h\"\n", account()));
    let report = report(&run, "a report", |_| true);
    assert_eq!(apis(&report), WELL);
    assert_eq!((&report["totalApis"], &report["healthyApis"], &report["unhealthyApis"]), (&json!(16), &json!(16), &json!(0)));
    assert_eq!(report.get("overallStatus"), None);
    let summary = json!({ "DifyChat": "normal", "DifyDataset": "normal", "DifyServer": "normal", "DifyWorkflow": "normal" });
    assert_eq!(report["clientSummary"], summary);
    assert_eq!(report["reportTime"].as_str().map(str::len), Some("2026-01-05T10:00:00".len()));
    let chat = &report["clientReports"][0];
    assert_eq!(
        (&chat["overallStatus"], &chat["totalApis"], &chat["normalApis"], &chat["errorApis"]),
        (&json!("normal"), &json!(9), &json!(9), &json!(0))
    );
    assert_eq!(chat["statusSummary"], json!({ "normal": 9 }));
    assert!(chat["apiStatuses"][0]["responseTimeMs"].is_u64() && chat["apiStatuses"][0]["checkTime"].is_string());
    assert_eq!(run.get("/actuator/health").json()["components"]["dify"]["status"], "UP");
    let mut requested = dify.requested();
    requested.sort();
    let mut expected = [
        "/v1/parameters",
        "/v1/info",
        "/v1/meta",
        "/v1/site",
        // Once before, for the conversation that the two other requests need.
        "/v1/conversations?sort_by=-updated_at&limit=1",
        "/v1/conversations?sort_by=-updated_at&limit=1",
        &format!("/v1/messages?conversation_id={CONVERSATION}&limit=1"),
        "/v1/app/feedbacks?page=1&limit=1",
        "/v1/apps/annotations?page=1&limit=1",
        &format!("/v1/conversations/{CONVERSATION}/variables?user="),
        "/v1/datasets?page=1&limit=1",
        "/v1/workspaces/current/models/model-types/text-embedding",
        "/v1/workspaces/current/models/model-types/rerank",
        "/v1/datasets/tags",
        "/v1/workflows/logs?page=1&limit=1",
        "/console/api/apps?page=1&limit=1",
        "/console/api/datasets/api-keys",
    ]
    .map(|path| format!("GET {path}"))
    .to_vec();
    expected.push("POST /console/api/login".to_owned());
    expected.sort();
    assert_eq!(requested, expected);
    let world = dify.world();
    for request in world.seen.iter().filter(|request| request.path.starts_with("/v1/")) {
        let key = match request.path.as_str() {
            path if path.starts_with("/v1/workflows") => "app-flow-key-1",
            path if path.starts_with("/v1/datasets") || path.starts_with("/v1/workspaces") => "dataset-key-1",
            _ => "app-chat-key-1",
        };
        assert_eq!((request.headers["authorization"].as_str(), request.body.as_str()), (format!("Bearer {key}").as_str(), ""));
    }
}

#[test]
fn each_status_is_produced_with_the_code_that_came() {
    let dify = DifyServer::start();
    dify.world().faults.extend([
        ("/v1/parameters", Fault::Status(404)),
        ("/v1/info", Fault::Status(401)),
        ("/v1/meta", Fault::Silent),
        ("/v1/site", Fault::Closes),
        ("/v1/messages", Fault::Status(503)),
        ("/v1/app/feedbacks", Fault::Status(403)),
        ("/v1/apps/annotations", Fault::Body("<html>foreign words</html>")),
        ("/v1/conversations/", Fault::Status(302)),
        ("/v1/datasets?", Fault::Status(203)),
        ("/v1/datasets/tags", Fault::Endless),
    ]);
    let keys = "chat_api_keys = [\"app-chat-key-1\"]\ndataset_api_key = \"dataset-key-1\"\ntimeout = \"1s\"\n";
    let run = start(&dify, keys);
    let report = report(&run, "a report", |_| true);
    for line in [
        "DifyChat parameters /parameters not_found_404 404",
        "DifyChat info /info unauthorized_401 401",
        "DifyChat meta /meta timeout -",
        "DifyChat site /site network_error -",
        "DifyChat conversations /conversations normal 200",
        "DifyChat messages /messages server_error 503",
        "DifyChat feedbacks /feedbacks client_error 403",
        "DifyChat pageAppAnnotation /annotations unknown_error 200",
        "DifyChat conversationVariables /conversation-variables unknown_error 302",
        "DifyDataset datasets /datasets normal 203",
        // A response that is too long to be read counts as a response all the same.
        "DifyDataset listTag /tags normal 200",
        "DifyWorkflow logs /logs not_configured -",
        "DifyServer apps /apps not_configured -",
        "DifyServer getDatasetApiKey /datasets/api-keys not_configured -",
    ] {
        holds(&report, line);
    }
    assert_eq!(report["overallStatus"], "client_error");
    let summary =
        json!({ "DifyChat": "client_error", "DifyDataset": "normal", "DifyServer": "not_configured", "DifyWorkflow": "not_configured" });
    assert_eq!(report["clientSummary"], summary);
    assert_eq!((&report["totalApis"], &report["healthyApis"], &report["unhealthyApis"]), (&json!(16), &json!(5), &json!(11)));
    assert_eq!(component(&run).unwrap()["status"], "UP");
    assert_eq!(dify.count("POST"), 0, "without an account no login is tried");
    assert!(!report.to_string().contains("foreign words"));
}

#[test]
fn without_a_conversation_both_that_need_one_are_skipped_and_probed_once_there_is_one() {
    let dify = DifyServer::start();
    dify.world().talks = false;
    let run = start(&dify, "clients = [\"DifyChat\"]\napi_key = \"app-chat-key-1\"\n");
    let without = report(&run, "a report", |_| true);
    holds(&without, "DifyChat messages /messages skipped -");
    holds(&without, "DifyChat conversationVariables /conversation-variables skipped -");
    assert_eq!((&without["totalApis"], &without["healthyApis"], &without["unhealthyApis"]), (&json!(9), &json!(7), &json!(2)));
    assert_eq!(dify.count("GET /v1/messages"), 0);
    dify.world().faults.insert("/v1/conversations", Fault::Status(500));
    let failing = report(&run, "the failure", |report| has(report, "DifyChat conversations /conversations server_error 500"));
    holds(&failing, "DifyChat messages /messages skipped -");
    dify.world().faults.clear();
    dify.world().talks = true;
    report(&run, "all well", |report| report["unhealthyApis"] == 0);
}

#[test]
fn a_dify_is_down_only_when_none_of_its_apis_is_well_and_never_counts_for_readiness() {
    let dify = DifyServer::start();
    let run = start(&dify, &format!("{}{KEYS}", account()));
    report(&run, "all well", |report| report["healthyApis"] == 16);
    let well = run.until_status("/healthz", 200, secs(20)).json();
    assert_eq!(well.get("dify"), None, "{well}");
    dify.world().faults.extend([("/v1/", Fault::Status(500)), ("/console/api/apps", Fault::Status(500))]);
    let partly = report(&run, "one is well", |report| report["healthyApis"] == 1);
    assert_eq!((&partly["unhealthyApis"], &partly["overallStatus"]), (&json!(15), &json!("server_error")));
    assert_eq!(component(&run).unwrap()["status"], "UP");
    let partly = run.get("/healthz");
    assert_eq!((partly.code, partly.json().get("dify")), (200, None));
    dify.world().faults.insert("/", Fault::Status(500));
    run.until_status("/healthz", 500, secs(20));
    let down = run.get("/healthz").json();
    assert_eq!((&down["dify"], &down["status"]), (&json!("nok"), &json!("nok")), "{down}");
    let why = down["_meta"]["dify"]["error"].as_str().unwrap();
    assert!(why.contains("16 of 16 failed, first DifyChat parameters: the answer's status is 500"), "{why}");
    let component = run.get("/actuator/health/dify");
    assert_eq!((component.code, &component.json()["status"]), (503, &json!("DOWN")));
    assert_eq!(run.get("/readyz").code, 200);
    assert_eq!(run.get("/livez").code, 200);
    dify.world().faults.clear();
    run.until_status("/healthz", 200, secs(20));
}

#[test]
fn a_session_is_refreshed_when_it_ends_and_renewed_if_that_is_refused() {
    for tokens_in in [TokensIn::Body, TokensIn::Cookies, TokensIn::HostCookies] {
        let dify = DifyServer::start();
        dify.world().tokens_in = tokens_in;
        let run = start(&dify, &format!("{}clients = [\"DifyServer\"]\n", account()));
        report(&run, "a session", |report| report["healthyApis"] == 2);
        assert_eq!((dify.count("POST /console/api/login"), dify.count("POST /console/api/refresh-token")), (1, 0), "{tokens_in:?}");
        dify.end_session();
        eventually("it was refreshed", secs(20), || (dify.count("POST /console/api/refresh-token") == 1).then_some(()));
        // A whole report after it: a token that expires during a retry is another case.
        let requested = dify.count("GET /console/api/datasets/api-keys");
        eventually("another report", secs(20), || (dify.count("GET /console/api/datasets/api-keys") > requested + 1).then_some(()));
        report(&run, "all well", |report| report["healthyApis"] == 2);
        assert_eq!(dify.count("POST /console/api/login"), 1, "{tokens_in:?}");
        dify.world().takes_refreshes = false;
        dify.end_session();
        eventually("it logged in", secs(20), || (dify.count("POST /console/api/login") == 2).then_some(()));
        report(&run, "all well", |report| report["healthyApis"] == 2);
        assert_eq!(dify.count("POST /console/api/refresh-token"), 2, "{tokens_in:?}");
    }
}

#[test]
fn a_query_that_stays_refused_is_sent_three_times() {
    let dify = DifyServer::start();
    dify.world().faults.insert("/console/api/datasets/api-keys", Fault::Status(401));
    let run = start(&dify, &format!("{}clients = [\"DifyServer\"]\ninterval = \"1h\"\n", account()));
    let report = report(&run, "a report", |_| true);
    holds(&report, "DifyServer apps /apps normal 200");
    holds(&report, "DifyServer getDatasetApiKey /datasets/api-keys unauthorized_401 401");
    assert_eq!(dify.count("GET /console/api/datasets/api-keys"), 3);
    assert_eq!((dify.count("POST /console/api/refresh-token"), dify.count("POST /console/api/login")), (1, 2));
}

#[test]
fn a_wrong_password_is_tried_three_times_so_that_the_account_is_not_locked() {
    let dify = DifyServer::start();
    dify.world().takes_logins = false;
    let run = start(&dify, &account());
    let refused = report(&run, "it rests", |report| report.to_string().contains("not tried again for a day"));
    holds(&refused, "DifyServer apps /apps unauthorized_401 401");
    holds(&refused, "DifyChat parameters /parameters unauthorized_401 401");
    assert_eq!((&refused["totalApis"], &refused["healthyApis"]), (&json!(16), &json!(0)));
    let first = refused["reportTime"].clone();
    report(&run, "reports go on", |report| report["reportTime"] != first);
    assert_eq!(dify.count("POST /console/api/login"), 3);
    assert_eq!(component(&run).unwrap()["status"], "DOWN");
}

#[test]
fn a_password_is_sent_as_it_is_where_that_is_configured() {
    let dify = DifyServer::start();
    dify.world().password = PASSWORD;
    let run = start(&dify, &format!("{}password_encoding = \"plain\"\nclients = [\"DifyServer\"]\n", account()));
    report(&run, "a session", |report| report["healthyApis"] == 2);
}

#[test]
fn the_keys_of_all_apps_over_all_pages_are_found_and_none_is_created() {
    let dify = DifyServer::start();
    let app = |number: usize| {
        let mode = ["chat", "agent-chat", "advanced-chat", "completion", "workflow"][number % 5];
        let key = (number % 10 != 3).then(|| format!("app-key-{number:04}"));
        App { id: format!("app-{number:04}"), mode, key }
    };
    let apps: Vec<App> = (0..120).map(app).collect();
    dify.world().apps = apps.clone();
    dify.world().dataset_key = None;
    let run = start(&dify, &format!("{}interval = \"1h\"\nmethods = {{ DifyChat = [\"parameters\"] }}\n", account()));
    let report = report(&run, "a report", |_| true);
    let chats = apps.iter().filter(|app| app.mode != "workflow").count();
    let without = apps.iter().filter(|app| app.mode != "workflow" && app.key.is_none()).count();
    let of = |line: &str| apis(&report).iter().filter(|api| *api == line).count();
    assert_eq!(of("DifyChat parameters /parameters normal 200"), chats - without);
    assert_eq!(of("DifyChat parameters /parameters not_configured -"), without);
    assert!(without > 0);
    assert_eq!(of("DifyWorkflow logs /logs normal 200"), apps.len() - chats);
    assert_eq!(of("DifyDataset listTag /tags not_configured -"), 1);
    assert_eq!(of("DifyServer apps /apps normal 200"), 1);
    assert_eq!(report["totalApis"], json!(apps.len() + 4 + 2));
    assert_eq!(dify.count("GET /console/api/apps?page="), 4, "three pages, and the check");
    assert_eq!(dify.count("POST"), 1, "the login");
    assert_eq!(report["clientSummary"]["DifyChat"], "not_configured");
}

#[test]
fn more_apps_than_a_report_has_room_for_are_left_out_and_that_is_reported() {
    let dify = DifyServer::start();
    let app = |number: usize| App { id: format!("app-{number:04}"), mode: if number < 499 { "chat" } else { "workflow" }, key: None };
    dify.world().apps = (0..620).map(app).collect();
    let run = start(&dify, &format!("{}interval = \"1h\"\nclients = [\"DifyWorkflow\"]\n", account()));
    run.until_stderr("Dify has more than 500 apps; the others are not checked: give the keys that matter", secs(30));
    assert_eq!(report(&run, "a report", |_| true)["totalApis"], 1);
    assert_eq!(dify.count("GET /console/api/apps?page="), 10);
}

#[test]
fn what_the_lookup_cannot_find_is_reported_as_its_failure() {
    let dify = DifyServer::start();
    dify.world()
        .faults
        .extend([("/console/api/apps?page=1&limit=5", Fault::Status(502)), ("/console/api/apps/app-0001/", Fault::Status(404))]);
    let run = start(&dify, &account());
    let failed = report(&run, "a report", |_| true);
    holds(&failed, "DifyChat parameters /parameters server_error 502");
    holds(&failed, "DifyWorkflow logs /logs server_error 502");
    holds(&failed, "DifyServer apps /apps normal 200");
    assert_eq!(dify.count("GET /v1/parameters"), 0);
    dify.world().faults.remove("/console/api/apps?page=1&limit=5");
    let one = report(&run, "the workflow", |report| has(report, "DifyWorkflow logs /logs normal 200"));
    holds(&one, "DifyChat parameters /parameters not_found_404 404");
    holds(&one, "DifyDataset listTag /tags normal 200");
    for body in ["7", "{\"data\":[{\"id\":\"../../v1\"}]}", "{\"data\":7}"] {
        dify.world().faults.insert("/console/api/apps?page=1&limit=5", Fault::Body(body));
        report(&run, body, |report| apis(report).iter().any(|api| api.starts_with("DifyWorkflow logs /logs unknown_error")));
        dify.world().faults.clear();
        report(&run, "all well", |report| report["unhealthyApis"] == 0);
    }
}

#[test]
fn a_dify_that_is_gone_is_a_network_error_and_all_of_it_is_down() {
    let dify = DifyServer::start();
    let port = dify.port;
    drop(dify);
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let run = listening(run.config(&format!(
        "mode = \"api\"\n[modes.api]\ncommand = [\"{}\"]\n[health]\ndetails = \"always\"\n[dify]\nurl = \"http://127.0.0.1:{port}\"\n{}",
        child.display(),
        account()
    )));
    let report = report(&run, "a report", |_| true);
    assert_eq!(apis(&report).len(), 16);
    assert!(apis(&report).iter().all(|api| api.ends_with(" network_error -")), "{report:#}");
    assert_eq!(component(&run).unwrap()["status"], "DOWN");
}

#[test]
fn no_more_calls_run_than_parallel_permits_and_no_viewer_makes_one() {
    for (parallel, expected) in [(1, 1), (3, 3)] {
        let dify = DifyServer::start();
        dify.world().apps = (0..8).map(|n| App { id: format!("app-{n}"), mode: "chat", key: Some(format!("app-key-{n}")) }).collect();
        dify.world().faults.insert("/v1/", Fault::Slow(Duration::from_millis(20)));
        let keys: Vec<String> = (0..8).map(|n| format!("\"app-key-{n}\"")).collect();
        let keys = format!("chat_api_keys = [{}]\nclients = [\"DifyChat\"]\nparallel = {parallel}\ninterval = \"1h\"\n", keys.join(", "));
        let run = start(&dify, &keys);
        let report = report(&run, "a report", |_| true);
        assert_eq!(report["healthyApis"], 72);
        assert_eq!(dify.world().most, expected);
        let requested = dify.requested().len();
        for _ in 0..20 {
            component(&run).unwrap();
        }
        assert_eq!(dify.requested().len(), requested, "the report is kept for the interval");
    }
}

#[test]
fn a_slow_dify_costs_a_call_its_own_time_and_a_report_a_bounded_one() {
    let dify = DifyServer::start();
    dify.world().faults.insert("/", Fault::Silent);
    // Thirty times the timeout of a call for twenty keys with nine calls each, one after the other.
    let keys: Vec<String> = (0..20).map(|n| format!("\"app-key-{n}\"")).collect();
    let keys = format!("chat_api_keys = [{}]\nclients = [\"DifyChat\"]\nparallel = 1\ntimeout = \"50ms\"\n", keys.join(", "));
    let run = start(&dify, &keys);
    let report = report(&run, "a report", |_| true);
    assert_eq!((&report["totalApis"], &report["healthyApis"]), (&json!(180), &json!(0)));
    let words = report["clientReports"][19]["apiStatuses"][0]["errorMessage"].as_str().unwrap();
    assert_eq!(words, "it was not called: the time of the report was over before its turn");
    assert_eq!(report["clientReports"][19]["apiStatuses"][0]["status"], "timeout");
    assert_eq!(report["clientReports"][0]["apiStatuses"][0]["errorMessage"], "no answer within 50ms");
}

#[test]
fn keys_tokens_and_foreign_words_are_shown_to_no_one_and_details_only_to_authorized_readers() {
    let dify = DifyServer::start();
    dify.world().faults.insert("/v1/info", Fault::Status(403));
    let run = service(&dify, &account()).env("PORTCULLIS_LOG", "trace").env("PORTCULLIS_HEALTH__DETAILS", "when-authorized");
    let mut run = listening(run);
    eventually("a report", secs(30), || (dify.count("GET /v1/info") > 1).then_some(()));
    run.until_status("/healthz", 200, secs(20));
    let open = run.get("/actuator/health/dify").json();
    assert_eq!(open, json!({ "status": "UP" }));
    let reported = run.get_over_socket("/actuator/health/dify").body;
    assert!(reported.contains("\"client_error\""), "{reported}");
    let paths = ["/", "/health", "/healthz", "/status", "/metrics", "/actuator/health"];
    let mut all: Vec<String> = paths.iter().flat_map(|path| [run.get(path).body, run.get_over_socket(path).body]).collect();
    run.signal(15);
    run.wait_exit(secs(20));
    let (stdout, stderr) = run.streams();
    all.extend([reported, stdout, stderr]);
    for secret in [
        "app-chat-key-1",
        "app-flow-key-1",
        "dataset-key-1",
        "access-token-",
        "refresh-token-",
        "csrf-token-",
        PASSWORD,
        "YWRtaW4",
        "foreign words",
    ] {
        for text in &all {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
