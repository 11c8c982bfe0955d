//! `portcullis status` and the further responses: Spring's, the article's, ConfigCat's, and disabled ones.

use crate::support::child::polite;
use crate::support::hostile::{Hostile, Manner};
use crate::support::{Exit, Http, Portcullis, Redis, Running, eventually, secs};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};

fn run(http: &Http, health: &str) -> Running {
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let check = format!("url = \"http://127.0.0.1:{}/\"\ninterval = \"100ms\"\nfailure_threshold = 2", http.port);
    let toml = format!(
        "service = \"api\"\nmode = \"api\"\n[checks.web]\n{check}\n[health]\ntoken = \"opensesame\"\n{health}\n[modes.api]\ncommand = [\"{}\"]\n",
        child.display()
    );
    let run = run.config(&toml).start();
    run.until_status("/livez", 200, secs(20));
    run
}

#[test]
fn every_language_gets_the_same() {
    let http = Http::answering(200, "");
    let run = run(&http, "");
    run.until_status("/actuator/health", 200, secs(20));
    assert_eq!(run.get("/actuator/health").json()["components"]["web"]["status"], "UP");
    assert_eq!(run.get("/health").json()["web"], "healthy");
    assert_eq!(run.get("/status").json()["checks"]["web"]["status"], "healthy");
    http.set(500, "");
    let down = run.until_status("/actuator/health", 503, secs(20)).json();
    assert_eq!((&down["status"], &down["components"]["web"]["status"]), (&"DOWN".into(), &"DOWN".into()));
    assert_eq!(run.get("/actuator/health/web").code, 503);
    assert_eq!(run.get("/actuator/health/liveness").code, 200);
    assert_eq!(run.get("/actuator/health/readiness").code, 200);
    assert_eq!((run.get("/health").code, &run.get("/health").json()["web"]), (503, &"unhealthy".into()));
    assert_eq!(run.get("/status").code, 200);
    assert_eq!(run.get("/actuator/info").json()["arkBizInfo"][0]["bizState"], "ACTIVATED");
    assert!(run.get("/").body.contains("web: unexpected status"), "{}", run.get("/").body);
}

#[test]
fn details_come_with_the_token_and_the_code_stays() {
    let http = Http::answering(500, "");
    let run = run(&http, "");
    let target = format!("127.0.0.1:{}", http.port);
    // Before its first failure there is less to hide than the page says in the place of it.
    eventually("the check has failed", secs(20), || {
        run.ask("GET", "/", "Authorization: Bearer opensesame\r\n").body.contains("status is 500").then_some(())
    });
    for path in ["/", "/status?verbose", "/actuator/health", "/actuator/health/web"] {
        let (plain, token) = (run.get(path), run.ask("GET", path, "Authorization: Bearer opensesame\r\n"));
        assert_eq!(plain.code, token.code, "{path}");
        assert!(!plain.body.contains(&target) && !plain.body.contains("\"details\""), "{}", plain.body);
        assert!(token.body.len() > plain.body.len(), "{path}: {}", token.body);
        assert!(!run.ask("GET", path, "Authorization: Bearer opensesam\r\n").body.contains(&target), "{path}");
    }
    assert!(run.ask("GET", "/", "Authorization: Bearer opensesame\r\n").body.contains(&target));
}

#[test]
fn a_view_that_is_switched_off_is_gone_from_the_network_only() {
    let http = Http::answering(200, "");
    let run = run(&http, "status = false\npage = false\nhealthz = false");
    run.until_status("/readyz", 200, secs(20));
    for path in ["/status", "/", "/healthz"] {
        assert_eq!((run.get(path).code, run.get_over_socket(path).code), (404, 200), "{path}");
    }
    assert_eq!(run.beside(["healthcheck"]).exit, Exit::Code(0));
    let listen = format!("127.0.0.1:{}", run.port);
    let refused = run.beside(["status", "--listen", &listen]);
    assert_eq!(refused.exit, Exit::Code(69), "{refused:?}");
    assert!(refused.stderr.contains("switched off"), "{refused:?}");
}

#[test]
fn status_shows_a_person_what_is_wrong() {
    let mut redis = Redis::start();
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let check = format!("url = \"{}\"\ninterval = \"100ms\"\nfailure_threshold = 2", redis.url());
    let toml = format!("mode = \"api\"\nservice = \"api\"\n[checks.redis]\n{check}\n[modes.api]\ncommand = [\"{}\"]\n", child.display());
    let run = run.config(&toml).start();
    run.until_status("/healthz", 200, secs(20));
    let up = run.beside(["status"]);
    assert_eq!(up.exit, Exit::Code(0), "{up:?}");
    for words in
        ["\u{25cf} SERVING  api", "live, started, ready, healthy", "wait:redis", "spawn:app", &format!("redis://127.0.0.1:{}", redis.port)]
    {
        assert!(up.stdout.contains(words), "{words} in {}", up.stdout);
    }
    redis.stop();
    run.until_status("/healthz", 500, secs(20));
    let down = run.beside(["status"]).stdout;
    assert!(down.contains("\u{25b2} SERVING, degraded: redis  api") && down.contains("not healthy"), "{down}");
    let reported: serde_json::Value = serde_json::from_str(&run.beside(["status", "--json"]).stdout).unwrap();
    assert_eq!((&reported["overall"], &reported["checks"]["redis"]["state"]), (&"DOWN".into(), &"down".into()));
    assert!(reported["checks"]["redis"]["history"][0]["failed"].as_u64().unwrap() > 0, "{reported}");
    let json = run.beside(["schema", "--openapi"]).stdout;
    assert!(json == include_str!("../../src/view/openapi/health.json"), "`portcullis schema --openapi` prints another document: {json}");
    let nobody = Portcullis::new().args(["status"]).output();
    assert_eq!(nobody.exit, Exit::Code(69));
}

#[test]
fn watching_into_a_pipe_moves_no_cursor() {
    let http = Http::answering(200, "");
    let run = run(&http, "");
    run.until_status("/healthz", 200, secs(20));
    let new = Portcullis::new().args(["status", "--watch", "--socket", &format!("@{}", run.socket)]);
    let watch = new.env("TERM", "xterm").start();
    eventually("a second look", secs(20), || (watch.streams().0.matches("SERVING  api").count() > 1).then_some(()));
    assert!(!watch.streams().0.contains('\x1b'), "{:?}", watch.streams().0);
}

#[test]
fn readers_without_access_to_details_are_informed() {
    let http = Http::answering(200, "");
    let run = run(&http, "");
    run.until_status("/healthz", 200, secs(20));
    let target = format!("127.0.0.1:{}", http.port);
    let own = run.beside(["status"]).exits(0).stdout;
    assert!(own.contains(&target) && !own.contains("hidden"), "{own}");
    let others = run.beside(["status", "--listen", &format!("127.0.0.1:{}", run.port)]).exits(0).stdout;
    assert!(!others.contains(&target) && others.contains("are hidden") && others.contains("token"), "{others}");
}

#[test]
fn the_token_in_a_browser_shows_details_and_gives_no_orders() {
    let http = Http::answering(500, "");
    let run = run(&http, "[modules.idle]\ncommand = [\"true\"]\nstart = \"on-demand\"");
    let target = format!("127.0.0.1:{}", http.port);
    let form = |body: &str, more: &str| {
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        run.ask("POST", "/token", &format!("{kind}{more}Content-Length: {}\r\n\r\n{body}", body.len()))
    };
    assert!(run.get("/?hold").body.contains("<form method=\"post\" action=\"token\">"));
    let given = form("token=opensesame", "Sec-Fetch-Site: same-origin\r\n");
    assert_eq!((given.code, given.header("location")), (303, "./"));
    let (cookie, rest) = given.header("set-cookie").split_once(';').unwrap();
    assert_eq!(rest, " SameSite=Strict; HttpOnly");
    assert!(!cookie.contains("opensesame"), "the cookie is not the token: {cookie}");
    for (path, detail) in [("/", target.as_str()), ("/status?verbose", &target), ("/actuator/health/web", "\"details\"")] {
        let (with, without) = (run.ask("GET", path, &format!("Cookie: a=b; {cookie}\r\n")), run.get(path));
        assert!(with.body.contains(detail) && !without.body.contains(detail), "{path}: {} {}", with.body, without.body);
        let wrong = run.ask("GET", path, &format!("Cookie: {cookie}0\r\n"));
        assert!(!wrong.body.contains(detail), "{path}: {}", wrong.body);
    }
    let page = run.ask("GET", "/?hold", &format!("Cookie: {cookie}\r\n")).body;
    assert!(page.contains("Forget the token") && page.contains(&target), "{page}");
    for (body, more, code) in [
        ("token=opensesam", "", 403),
        ("token=opensesame", "Sec-Fetch-Site: cross-site\r\n", 403),
        (&format!("token={}", "x".repeat(9000)), "", 400),
    ] {
        let refused = form(body, more);
        assert_eq!((refused.code, refused.header("set-cookie")), (code, ""), "{}", refused.body);
    }
    assert!(form("token=", "").header("set-cookie").contains("Max-Age=0"), "an empty form forgets the token");
    // A control request needs the token itself, even with the cookie.
    let order = format!("POST /control/reload HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let name = SocketAddr::from_abstract_name(&run.socket).unwrap();
    let mut stream = UnixStream::connect_addr(&name).unwrap();
    stream.write_all(order.as_bytes()).unwrap();
    let mut reported = String::new();
    stream.read_to_string(&mut reported).unwrap();
    assert!(reported.starts_with("HTTP/1.1 403 ") && reported.contains("control requests need the token"), "{reported}");
    // A token in the address is in too many logs already to be worth anything.
    let queried = run.get("/status?token=opensesame");
    assert!(queried.code == 400 && queried.body.contains("must not be in the URL"), "{}", queried.body);
}

#[test]
fn a_terminal_with_colour_support_gets_colour() {
    let http = Http::answering(200, "");
    let run = run(&http, "");
    run.until_status("/healthz", 200, secs(20));
    let socket = format!("@{}", run.socket);
    for (name, value, colour) in [("TERM", "xterm", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)] {
        let (status, terminal) = Portcullis::new().args(["status", "--socket", &socket]).env(name, value).on_terminal();
        let _status = status.start();
        terminal.until("Process", secs(20));
        let shown = terminal.shown();
        assert_eq!(shown.contains("\x1b[32m\u{25cf}"), colour, "{name}={value}: {shown:?}");
    }
    assert!(!run.beside(["status"]).exits(0).stdout.contains('\x1b'));
}

#[test]
fn a_watch_shows_every_change_until_it_is_interrupted() {
    let http = Http::answering(200, "");
    let run = run(&http, "");
    run.until_status("/healthz", 200, secs(20));
    let socket = format!("@{}", run.socket);
    let watch = |more: &[&str]| Portcullis::new().args(["status", "--watch", "--socket", &socket].iter().chain(more));
    let (person, mut terminal) = watch(&[]).env("TERM", "xterm").on_terminal();
    let (mut person, mut script) = (person.start(), watch(&["--json"]).start());
    terminal.until("SERVING", secs(20));
    script.until_stdout("\"overall\":\"UP\"", secs(20));
    http.set(500, "");
    terminal.until(", degraded: web", secs(20));
    script.until_stdout("\"overall\":\"DOWN\"", secs(20));
    // Each look takes the place of the one before, and a script gets a document a line.
    let shown = terminal.shown();
    assert!(shown.matches("\x1b[H\x1b[2J").count() >= 2 && shown.starts_with("\x1b[H"), "{shown:?}");
    let documents = script.streams().0;
    let (whole, _) = documents.rsplit_once('\n').unwrap();
    assert!(whole.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{documents}");
    // It outlives what it looks at, and says so.
    drop(run);
    terminal.until("no answer from", secs(20));
    assert!(person.runs() && script.runs());
    terminal.type_in("\x03");
    assert_eq!(person.wait_exit(secs(20)), Exit::Signal(2));
    script.signal(15);
    assert_eq!(script.wait_exit(secs(20)), Exit::Signal(15));
}

#[test]
fn the_endpoints_of_one_check_are_reported_in_dify_statuss_words() {
    let (well, gone) = (Http::answering(200, ""), Http::answering(404, ""));
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let target = |name: &str, port: u16| format!("[[checks.dify.targets]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/{name}\"\n");
    let toml = format!(
        "mode = \"api\"\n[checks.dify]\nwait = \"0s\"\ninterval = \"100ms\"\n{}{}[modes.api]\ncommand = [\"{}\"]\n",
        target("apps", well.port),
        target("datasets", gone.port),
        child.display()
    );
    let run = run.config(&toml).start();
    run.until_status("/actuator/health/dify", 503, secs(20));
    let reported = eventually("the report", secs(20), || {
        let reported = run.get_over_socket("/actuator/health/dify").json();
        (reported["details"]["totalApis"] == 2 && reported["status"] == "DOWN").then_some(reported)
    });
    let details = &reported["details"];
    assert_eq!((&details["healthyApis"], &details["overallStatus"]), (&1.into(), &"server_error".into()), "{reported}");
    let apis = &details["clientReports"][0]["apiStatuses"];
    assert_eq!((&apis[0]["status"], &apis[1]["status"]), (&"normal".into(), &"not_found_404".into()), "{reported}");
    assert_eq!(apis[1]["httpStatusCode"], 404);
    assert!(!run.get("/actuator/health/dify").body.contains("datasets"), "details need authorization");
}

#[test]
fn each_endpoint_has_its_own_time_its_own_status_and_a_key_or_none() {
    let (created, well) = (Http::answering(201, ""), Http::answering(200, ""));
    let silent = Hostile::new(Manner::Silent);
    let target = |name: &str, port: u16| format!("[[checks.apis.targets]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/{name}\"\n");
    let toml = format!(
        "mode = \"api\"\n[checks.apis]\nwait = \"0s\"\ninterval = \"100ms\"\ntimeout = \"300ms\"\nparallel = 1\n{}{}{}{}bearer = \"${{FLOW_KEY:-}}\"\n\
         [modes.api]\ncommand = [\"@\"]\n",
        target("silent", silent.port),
        target("mute", silent.port),
        target("created", created.port),
        target("flow", well.port),
    );
    let run = Portcullis::new();
    let toml = toml.replace('@', &run.script("child", &polite()).display().to_string());
    let run = run.config(&toml).start();
    run.until_status("/livez", 200, secs(20));
    let reported = eventually("the report", secs(20), || {
        let reported = run.get_over_socket("/actuator/health/apis").json();
        (reported["details"]["totalApis"] == 4).then_some(reported)
    });
    let apis = &reported["details"]["clientReports"][0]["apiStatuses"];
    let of = |key: &str| (0..4).map(|index| apis[index][key].clone()).collect::<Vec<_>>();
    assert_eq!(of("status"), ["timeout", "timeout", "normal", "not_configured"], "{reported}");
    assert_eq!(apis[2]["httpStatusCode"], 201);
    assert!(apis[0].get("httpStatusCode").is_none() && apis[3].get("httpStatusCode").is_none(), "{reported}");
    assert_eq!(
        (&apis[1]["errorMessage"], &apis[3]["errorMessage"]),
        (&"no answer within 300ms".into(), &"it was not called: its key is empty".into())
    );
    assert!(well.seen().is_empty(), "nothing is probed without the required key");
}
