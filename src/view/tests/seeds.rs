//! The examples of the five documents that the views follow, key by key (docs/seeds.md).

use std::time::Duration;

use serde_json::{Value, json};

use super::ask;
use super::fixtures::{at, look, named};
use crate::outcome::{ErrorKind, Outcome, Volume};
use crate::plan::{Affects, ComponentNames, ModuleId, ViewSwitch, Views};
use crate::state::check::Check;
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::snapshot::{Module, ModuleState, Phase, Snapshot, Stage, StageState};
use crate::view::{Request, route};

/// A configured dependency that passed.
fn dependency(id: usize, name: &str, kind: &'static str) -> Check {
    let mut check = Check { id: Some(id), failure_threshold: 1, ..Check::event(name, kind, Affects::Health) };
    check.feed(at(80), Outcome::passed(Duration::from_millis(3)));
    check
}

fn fails(snapshot: &mut Snapshot, name: &str) {
    let check = snapshot.checks.iter_mut().find(|check| check.name == name).unwrap();
    check.feed(at(90), Outcome::failed(ErrorKind::Protocol, "Lost connection!", Duration::from_micros(5200)));
}

fn body(snapshot: &Snapshot, path: &str, authorized: bool) -> (u16, Value) {
    let response = ask(snapshot, look(), &format!("GET {path}"), "application/json", authorized);
    (response.status, serde_json::from_str(&response.body).unwrap())
}

fn keys(document: &Value) -> Vec<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

/// RAGFlow with its four dependencies, behind it a process and a module that run.
fn ragflow() -> Snapshot {
    let (mut snapshot, _) = named("all up");
    let process = snapshot.checks.iter().find(|check| check.name == "app").unwrap();
    let process = Check { failure_threshold: 1, ..process.clone() };
    let names = [("db", "mysql"), ("redis", "redis"), ("doc_engine", "http"), ("storage", "http")];
    snapshot.checks = names.into_iter().enumerate().map(|(id, (name, kind))| dependency(id, name, kind).into()).collect::<Vec<_>>().into();
    let executor = Check { id: None, module: Some(ModuleId(0)), ..dependency(4, "executor", "process") };
    snapshot.checks.rebuild(|checks| checks.extend([process.into(), executor.into()]));
    snapshot
}

#[test]
fn ragflow_both_examples_of_its_documentation() {
    let mut snapshot = ragflow();
    let response = ask(&snapshot, look(), "GET /v1/system/healthz", "", false);
    assert_eq!(
        (response.status, response.body.as_str()),
        (200, r#"{"db":"ok","redis":"ok","doc_engine":"ok","storage":"ok","status":"ok"}"#)
    );
    fails(&mut snapshot, "redis");
    let response = ask(&snapshot, look(), "GET /v1/system/healthz", "", true);
    let nok = r#"{"db":"ok","redis":"nok","doc_engine":"ok","storage":"ok","status":"nok","_meta":{"redis":{"elapsed":"5.2","error":"Lost connection!"}}}"#;
    assert_eq!((response.status, response.body.as_str()), (500, nok));
}

#[test]
fn ragflow_modules_and_the_process_join_when_they_fail() {
    for name in ["executor", "app"] {
        let mut snapshot = ragflow();
        fails(&mut snapshot, name);
        let (status, response) = body(&snapshot, "/healthz", false);
        assert_eq!((status, &response[name], &response["status"]), (500, &"nok".into(), &"nok".into()), "{response}");
        assert_eq!(keys(&response["_meta"]), [name]);
        assert_eq!(keys(&response).len(), 7, "{response}");
    }
}

#[test]
fn the_article_has_exactly_the_checks_the_status_and_the_version() {
    let (mut snapshot, _) = named("all up");
    assert_eq!(
        ask(&snapshot, look(), "GET /health", "", true).body,
        r#"{"status":"healthy","db":"healthy","redis":"healthy","version":"1.4.1"}"#
    );
    fails(&mut snapshot, "redis");
    fails(&mut snapshot, "redis");
    fails(&mut snapshot, "redis");
    let response = ask(&snapshot, look(), "GET /health", "", true);
    assert_eq!(
        (response.status, response.body.as_str()),
        (503, r#"{"status":"unhealthy","db":"healthy","redis":"unhealthy","version":"1.4.1"}"#)
    );
    snapshot.service.version = None;
    assert_eq!(body(&snapshot, "/health", false).1["version"], Value::Null, "Flask tells of a missing configuration so");
}

#[test]
fn the_version_is_the_applications_and_portcullis_own_is_the_build() {
    let (snapshot, _) = named("all up");
    let (_, info) = body(&snapshot, "/actuator/info", false);
    assert_eq!((&info["app"]["version"], &info["build"]), (&"1.4.1".into(), &json!({ "name": "portcullis", "version": "0.3.1" })));
    let (_, status) = body(&snapshot, "/status?verbose", false);
    assert_eq!((&status["version"], &status["build"]), (&"1.4.1".into(), &"0.3.1".into()));
    let page = ask(&snapshot, look(), "GET /", "", false).body;
    assert!(page.contains("<strong>dify-api 1.4.1</strong>") && page.contains("portcullis 0.3.1"), "{page}");
    let text = ask(&snapshot, look(), "GET /", "text/plain", true).body;
    assert!(text.contains("SERVING  dify-api 1.4.1\n") && text.contains("portcullis 0.3.1"), "{text}");
}

/// Two sources that are queried with a key.
fn configcat() -> Snapshot {
    let (mut snapshot, _) = named("all up");
    let key = Some("****************************************hwTYg".to_owned());
    let sdk = |id, name: &str| Check { masked_key: key.clone(), ..dependency(id, name, "http") };
    snapshot.checks.rebuild(|checks| checks.retain(|check| check.name == "app"));
    snapshot.checks.rebuild(|checks| checks.extend([sdk(0, "my_sdk").into(), sdk(1, "another_sdk").into()]));
    snapshot
}

#[test]
fn configcat_shows_the_key_the_mode_and_the_source_of_an_sdk() {
    let snapshot = configcat();
    let (_, response) = body(&snapshot, "/status", true);
    let record = "Thu, 09 Oct 2025 08:54:40 UTC: [ok] http check passed";
    let sdk = json!({
        "type": "http", "key": "****************************************hwTYg", "mode": "online",
        "source": { "type": "remote", "status": "healthy", "records": [record] },
        "counts": true, "status": "healthy", "records": [record],
    });
    assert_eq!((&response["status"], &response["checks"]["my_sdk"]), (&"healthy".into(), &sdk));
    assert!(response["checks"]["app"].get("mode").is_none(), "nothing is probed with a key there: {response}");
    let (_, response) = body(&snapshot, "/status", false);
    assert!(response["checks"]["my_sdk"].get("key").is_none() && response["checks"]["my_sdk"]["mode"] == "online", "{response}");
}

#[test]
fn configcat_is_down_when_every_source_is() {
    let never = |check: &mut Check| *check = Check { id: check.id, ..Check::event(&check.name, check.kind, check.affects) };
    let mut snapshot = configcat();
    snapshot.checks.iter_mut().filter(|check| check.id.is_some()).for_each(never);
    fails(&mut snapshot, "my_sdk");
    assert_eq!(body(&snapshot, "/status", false).1["status"], "degraded", "one of two");
    fails(&mut snapshot, "another_sdk");
    let (code, response) = body(&snapshot, "/status", false);
    assert_eq!((code, &response["status"], &response["checks"]["app"]["status"]), (200, &"down".into(), &"healthy".into()), "{response}");
}

#[test]
fn the_time_of_a_dependency_is_a_histogram() {
    let (mut snapshot, _) = named("no checks");
    snapshot.checks = vec![dependency(0, "db", "postgres").into()].into();
    snapshot.checks[0].feed(at(90), Outcome::failed(ErrorKind::Timeout, "", Duration::from_secs(2)));
    let metrics = ask(&snapshot, look(), "GET /metrics", "", false).body;
    for line in [
        "# TYPE portcullis_dependency_duration_seconds histogram",
        "portcullis_dependency_duration_seconds_bucket{check=\"db\",result=\"ok\",le=\"0.001\"} 0",
        "portcullis_dependency_duration_seconds_bucket{check=\"db\",result=\"ok\",le=\"0.005\"} 1",
        "portcullis_dependency_duration_seconds_bucket{check=\"db\",result=\"ok\",le=\"+Inf\"} 1",
        "portcullis_dependency_duration_seconds_sum{check=\"db\",result=\"ok\"} 0.003",
        "portcullis_dependency_duration_seconds_bucket{check=\"db\",result=\"error\",le=\"1.0\"} 0",
        "portcullis_dependency_duration_seconds_bucket{check=\"db\",result=\"error\",le=\"5.0\"} 1",
        "portcullis_dependency_duration_seconds_count{check=\"db\",result=\"error\"} 1",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} in {metrics}");
    }
}

/// Koupleless' first example: a base, a module that runs, and one whose start failed and does not count.
fn koupleless() -> Snapshot {
    let (mut snapshot, _) = named("all up");
    (snapshot.service.name, snapshot.service.version) = ("base".to_owned(), Some("1.0.0".to_owned()));
    let stage = |name: &str, step| Stage { name: name.to_owned(), step, counts: false, began: None, ended: None, note: None };
    snapshot.stages = [
        Stage { counts: true, ..stage("spawn:app", StageState::Up) },
        stage("module:biz1", StageState::Up),
        stage("module:biz2", StageState::Down),
    ]
    .map(CopyOnWrite::from)
    .to_vec()
    .into();
    let module = |id, name: &str, state| Module {
        id: ModuleId(id),
        name: name.to_owned(),
        version: "0.0.1-SNAPSHOT".to_owned(),
        web_path: format!("/{name}"),
        state,
        ..Module::default()
    };
    snapshot.modules = vec![module(0, "biz1", ModuleState::Activated), module(1, "biz2", ModuleState::Broken)].into_iter().collect();
    let of_module = |check| Check { module: Some(ModuleId(0)), ..check };
    let mut disk = of_module(dependency(7, "biz1.disk", "disk"));
    let volume = Volume { total: 494_384_795_648, free: 272_435_396_608, threshold: 10_485_760, exists: true };
    disk.feed(at(90), Outcome { volume: Some(volume), ..Outcome::passed(Duration::ZERO) });
    let process = Check { id: None, ..of_module(dependency(0, "biz1", "process")) };
    snapshot.checks = vec![process.into(), disk.into()].into();
    snapshot
}

#[test]
fn koupleless_names_both_components_and_every_module_with_its_version() {
    let (code, response) = body(&koupleless(), "/actuator/health", false);
    assert_eq!((code, &response["status"]), (200, &"UP".into()));
    let biz1 = json!({ "status": "UP", "details": { "disk": { "status": "UP" }, "ping": { "status": "UP" } } });
    assert_eq!(response["components"]["arkBizAggregate"], json!({ "status": "UP", "details": { "biz1:0.0.1-SNAPSHOT": biz1 } }));
    let (up, down) = (json!({ "status": "UP" }), json!({ "status": "DOWN" }));
    let starts = json!({ "base:1.0.0": up, "biz1:0.0.1-SNAPSHOT": up, "biz2:0.0.1-SNAPSHOT": down });
    assert_eq!(response["components"]["masterBizStartUp"], json!({ "status": "UP", "details": starts }));
}

#[test]
fn koupleless_shows_the_free_space_of_a_disk() {
    let (_, response) = body(&koupleless(), "/actuator/health", true);
    let disk = &response["components"]["arkBizAggregate"]["details"]["biz1:0.0.1-SNAPSHOT"]["details"]["disk"];
    let room = ["total", "free", "threshold", "exists"].map(|key| disk["details"][key].clone());
    assert_eq!(room, [494_384_795_648_u64.into(), 272_435_396_608_u64.into(), 10_485_760.into(), json!(true)], "{disk}");
}

#[test]
fn koupleless_counts_the_running_of_a_module_and_not_its_uncounted_start() {
    let mut snapshot = koupleless();
    fails(&mut snapshot, "biz1.disk");
    let (code, response) = body(&snapshot, "/actuator/health", false);
    let parts = &response["components"];
    assert_eq!((code, &response["status"], &parts["arkBizAggregate"]["status"]), (503, &"DOWN".into(), &"DOWN".into()), "{response}");
    assert_eq!(parts["masterBizStartUp"]["status"], "UP");
    let mut counted = koupleless();
    counted.stages[2].counts = true;
    let (code, response) = body(&counted, "/actuator/health", false);
    assert_eq!((code, &response["components"]["masterBizStartUp"]["status"]), (503, &"DOWN".into()), "{response}");
    (counted.stages[1].step, counted.stages[1].counts) = (StageState::Unknown, true);
    assert_eq!(body(&counted, "/actuator/health", false).1["components"]["masterBizStartUp"]["status"], "UNKNOWN");
}

#[test]
fn koupleless_components_have_their_present_names_on_request() {
    let snapshot = koupleless();
    let views = Views::naming(ComponentNames::Current);
    let request = Request { method: "GET", path: "/actuator/health", views: views.without([ViewSwitch::Page]), ..Request::default() };
    let response: Value = serde_json::from_str(&route(&snapshot, look(), &request).body).unwrap();
    assert_eq!(keys(&response["components"]), ["baseStartUp", "compositeAllBiz", "livenessState", "readinessState", "startup"]);
    assert_eq!(views.without([ViewSwitch::Page]).all(), views);
}

#[test]
fn koupleless_answers_below_the_path_of_a_modules_pages() {
    let mut snapshot = koupleless();
    let response = json!({ "status": "UP", "components": { "disk": { "status": "UP" }, "ping": { "status": "UP" } } });
    for path in ["/biz1/actuator/health", "/biz1/actuator/info"] {
        assert_eq!(body(&snapshot, path, false), (200, response.clone()), "{path}");
    }
    assert_eq!(body(&snapshot, "/biz1/actuator/health/disk", true).1["details"]["exists"], true);
    assert_eq!(body(&snapshot, "/biz2/actuator/health", false), (503, json!({ "status": "DOWN", "components": {} })));
    for path in ["/biz3/actuator/health", "/biz1/x/actuator/health", "/biz1/actuator", "/biz1/actuator/health/none"] {
        assert_eq!(ask(&snapshot, look(), &format!("GET {path}"), "", false).status, 404, "{path}");
    }
    snapshot.modules[0].web_path = "deep/er/".to_owned();
    assert_eq!(body(&snapshot, "/deep/er/actuator/health", false).0, 200);
}

#[test]
fn koupleless_info_lists_the_base_the_modules_and_no_plugins() {
    let (_, info) = body(&koupleless(), "/actuator/info", false);
    let base = json!({ "bizName": "base", "bizVersion": "1.0.0", "bizState": "ACTIVATED", "webContextPath": "/" });
    let biz1 = json!({ "bizName": "biz1", "bizVersion": "0.0.1-SNAPSHOT", "bizState": "ACTIVATED", "webContextPath": "/biz1" });
    assert_eq!((&info["arkBizInfo"][0], &info["arkBizInfo"][1], &info["arkPluginInfo"]), (&base, &biz1, &json!([])));
}

#[test]
fn koupleless_base_that_failed_is_down_everywhere_at_once() {
    let mut snapshot = Snapshot { started: false, phase: Phase::Starting, ..koupleless() };
    snapshot.stages[0].step = StageState::Down;
    snapshot.stages[1].step = StageState::Unknown;
    snapshot.stages[1].counts = true;
    let (code, response) = body(&snapshot, "/actuator/health", false);
    let parts = &response["components"];
    assert_eq!((code, &response["status"], &parts["startup"]["status"]), (503, &"DOWN".into(), &"DOWN".into()), "{response}");
    assert_eq!(
        (&parts["masterBizStartUp"]["status"], &parts["masterBizStartUp"]["details"]["base:1.0.0"]["status"]),
        (&"DOWN".into(), &"DOWN".into())
    );
    assert_eq!(body(&snapshot, "/status", false).1["status"], "down");
    assert_eq!(body(&snapshot, "/actuator/info", false).1["arkBizInfo"][0]["bizState"], "BROKEN");
    assert_eq!((body(&snapshot, "/healthz", false).0, body(&snapshot, "/health", false).0), (500, 503));
    assert!(ask(&snapshot, look(), "GET /", "text/plain", false).body.contains("DOWN"));
}
