//! The five documents over real HTTP (docs/seeds.md): versions, several listeners, keys, modules under Koupleless' names.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::child::polite;
use crate::support::redis::Reply;
use crate::support::{Http, Portcullis, Redis, Running, eventually, free_port, http, process, secs};

fn keys(document: &Value) -> Vec<&str> {
    document.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_articles_version_is_the_applications_in_every_answer() {
    let redis = Redis::start();
    let run = Portcullis::new().env("REDIS_HOST", "127.0.0.1").env("REDIS_PORT", redis.port.to_string()).env("MODE", "api");
    let run = run.env("VERSION", "0.15.3").sh(&polite()).start();
    run.until_status("/readyz", 200, secs(30));
    let health = run.until_status("/health", 200, secs(20)).json();
    assert_eq!(health, json!({ "status": "healthy", "redis": "healthy", "version": "0.15.3" }));
    let info = run.get("/actuator/info").json();
    assert_eq!((&info["app"]["version"], &info["build"]["name"]), (&"0.15.3".into(), &"portcullis".into()), "{info}");
    assert_eq!(info["build"]["version"], env!("CARGO_PKG_VERSION"));
    let record = eventually("its record", secs(20), || {
        let Reply::List(found) = redis.command(&["KEYS", "portcullis:*:i:*"]) else { return None };
        let Some(Reply::Text(key)) = found.first() else { return None };
        let Reply::Text(payload) = redis.command(&["HGET", key, "p"]) else { return None };
        serde_json::from_str::<Value>(&payload).ok()
    });
    assert_eq!((&record["version"], &record["build"]), (&"0.15.3".into(), &env!("CARGO_PKG_VERSION").into()), "{record}");
    assert!(run.get("/").body.contains("0.15.3</strong>"));
    assert!(run.beside(["status"]).stdout.contains(" 0.15.3"));
}

#[test]
fn ragflows_answer_is_exactly_its_dependencies_while_all_is_well() {
    let (store, run) = (Http::answering(200, ""), Portcullis::new());
    let child = run.script("child", &polite());
    let toml = format!(
        "mode = \"api\"\n[checks.storage]\nurl = \"http://127.0.0.1:{}/\"\ninterval = \"100ms\"\nfailure_threshold = 1\n\
         [modes.api]\ncommand = [\"{child}\"]\n[modules.executor]\ncommand = [\"{child}\"]\nrestart = \"never\"\n",
        store.port,
        child = child.display()
    );
    let run = run.config(&toml).start();
    let well = run.until_status("/v1/system/healthz", 200, secs(30));
    assert_eq!(well.body, r#"{"storage":"ok","status":"ok"}"#);
    assert_eq!(well.header("content-type"), "application/json");
    store.set(503, "");
    let ill = run.until_status("/v1/system/healthz", 500, secs(20)).json();
    assert_eq!((keys(&ill), keys(&ill["_meta"])), (vec!["storage", "status", "_meta"], vec!["storage"]));
    store.set(200, "");
    run.until_status("/healthz", 200, secs(20));
    run.beside(["status"]).exits(0);
    let pid: i32 = run.get_over_socket("/status?verbose").json()["modules"][0]["pid"].as_i64().unwrap().try_into().unwrap();
    process::send(pid, 9);
    let joined = run.until_status("/healthz", 500, secs(20)).json();
    assert_eq!((&joined["storage"], &joined["executor"], keys(&joined["_meta"])), (&"ok".into(), &"nok".into(), vec!["executor"]));
}

#[test]
fn every_address_that_is_written_is_listened_on() {
    let (one, two) = (free_port(), free_port());
    let with = |listen: &str, more: &str| {
        let run = Portcullis::new().without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
        let child = run.script("child", &polite());
        run.config(&format!("mode = \"api\"\n[health]\nlisten = {listen}\n{more}\n[modes.api]\ncommand = [\"{}\"]\n", child.display()))
    };
    let both = format!("[\"127.0.0.1:{one}\", \"127.0.0.2:{two}\"]");
    let mut run = with(&both, "").start();
    run.until_stdout("ready", secs(20));
    eventually("the first answers", secs(20), || http::ask(one, "GET", "/readyz", "").ok().filter(|reported| reported.code == 200));
    // The second address is not this one's.
    assert!(http::ask(two, "GET", "/readyz", "").is_err());
    let second = std::net::TcpStream::connect(("127.0.0.2", two)).expect("the second is bound, too");
    drop(second);
    assert_eq!(http::ask_abstract(&format!("portcullis/{one}"), "/readyz").unwrap().code, 200, "the socket is named after the first");
    let requested = with(&both, "").args(["healthcheck"]).output().exits(0).stdout;
    assert!(requested.starts_with("healthy"), "{requested}");
    run.signal(15);
    run.exits(0);

    let holder = TcpListener::bind(("127.0.0.2", two)).unwrap();
    with(&both, "").output().exits(78).says(&[&format!("127.0.0.2:{two}: address in use")]);
    let mut rest = with(&both, "required = false").start();
    rest.until_stderr("continuing without it", secs(20));
    rest.until_stdout("ready", secs(20));
    eventually("the first answers", secs(20), || http::ask(one, "GET", "/readyz", "").ok().filter(|reported| reported.code == 200));
    rest.signal(15);
    rest.exits(0);
    drop(holder);
}

#[test]
fn a_key_is_shown_masked_and_the_whole_is_down_when_every_source_is() {
    let (one, two, run) = (Http::answering(503, ""), Http::answering(503, ""), Portcullis::new());
    let child = run.script("child", &polite());
    let check = |name: &str, port: u16| {
        format!("[checks.{name}]\nurl = \"http://127.0.0.1:{port}/\"\nwait = \"0s\"\ninterval = \"100ms\"\naffects = \"none\"\n")
    };
    let toml = format!(
        "mode = \"api\"\n{}bearer = \"configcat-sdk-1/0123456789/hwTYg\"\n{}headers = {{ X-Sdk = \"short\" }}\nkey_header = \"x-sdk\"\n\
         [modes.api]\ncommand = [\"{}\"]\n",
        check("my_sdk", one.port),
        check("another_sdk", two.port),
        child.display()
    );
    let run = run.config(&toml).start();
    run.until_status("/readyz", 200, secs(20));
    let reported = eventually("every source is down", secs(20), || {
        let reported = run.get_over_socket("/status").json();
        (reported["status"] == "down").then_some(reported)
    });
    let sdk = &reported["checks"]["my_sdk"];
    assert_eq!((&sdk["key"], &sdk["mode"]), (&format!("{}hwTYg", "*".repeat(27)).into(), &"online".into()), "{reported}");
    assert_eq!((&sdk["source"]["type"], &sdk["source"]["status"]), (&"remote".into(), &"down".into()));
    assert_eq!(reported["checks"]["another_sdk"]["key"], "*****");
    assert!(run.get("/status").json()["checks"]["my_sdk"].get("key").is_none(), "it is a detail");
    assert!(two.seen().concat().to_lowercase().contains("x-sdk: short"));
    one.set(200, "");
    eventually("one is there again", secs(20), || (run.get("/status").json()["status"] == "degraded").then_some(()));
    let metrics = run.get("/metrics").body;
    for line in ["check=\"my_sdk\",result=\"error\",le=\"+Inf\"}", "check=\"my_sdk\",result=\"ok\",le=\"0.001\"}"] {
        assert!(metrics.contains(&format!("portcullis_dependency_duration_seconds_bucket{{{line}")), "{metrics}");
    }
}

#[test]
fn a_header_that_shall_hold_the_key_has_to_be_there() {
    let check = |rest: &str| {
        let run = Portcullis::new().sh("true");
        run.config(&format!("[checks.it]\nurl = \"http://h/\"\n{rest}\n")).output().exits(78)
    };
    check("key_header = \"X-Key\"").says(&["key_header", "is `X-Key`, which is not one of the `headers`"]);
    check("headers = { X-Key = \"k\" }\nkey_header = \"X-Key\"\nbearer = \"b\"").says(&["key_header", "keep one of them"]);
}

/// A base, a module that runs and one that cannot be started; `health` is what `[health]` says.
fn koupleless(health: &str) -> Running {
    let run = Portcullis::new();
    let child = run.script("child", &polite()).display().to_string();
    let toml = format!(
        "service = \"base\"\nversion = \"1.0.0\"\nmode = \"api\"\n[health]\n{health}\n[modes.api]\ncommand = [\"{child}\"]\n\
         [modules.biz1]\ncommand = [\"{child}\"]\nversion = \"0.0.1-SNAPSHOT\"\nweb_path = \"biz1\"\n\
         [modules.biz1.checks.disk]\nkind = \"disk\"\npath = \"/\"\nfree = \"10MiB\"\ninterval = \"100ms\"\n\
         [modules.biz2]\ncommand = [\"/nowhere/biz2\"]\nversion = \"0.0.1-SNAPSHOT\"\nrestart = \"never\"\nstart = \"on-demand\"\n"
    );
    let run = run.config(&toml).start();
    run.until_status("/readyz", 200, secs(20));
    run.until_status("/biz1/actuator/health", 200, secs(20));
    let _ = run.beside(["start", "biz2"]);
    run
}

#[test]
fn koupleless_document_is_answered_by_real_modules() {
    let run = koupleless("");
    let reported = eventually("the start of biz2 has failed", secs(20), || {
        let reported = run.get_over_socket("/actuator/health").json();
        let starts = &reported["components"]["masterBizStartUp"]["details"];
        (starts["biz2:0.0.1-SNAPSHOT"]["status"] == "DOWN").then_some(reported)
    });
    assert_eq!(reported["status"], "UP", "{reported}");
    let (up, down) = (json!({ "status": "UP" }), json!({ "status": "DOWN" }));
    let starts = json!({ "base:1.0.0": up, "biz1:0.0.1-SNAPSHOT": up, "biz2:0.0.1-SNAPSHOT": down });
    assert_eq!(reported["components"]["masterBizStartUp"], json!({ "status": "UP", "details": starts }));
    let aggregate = &reported["components"]["arkBizAggregate"];
    assert_eq!((&aggregate["status"], keys(&aggregate["details"])), (&"UP".into(), vec!["biz1:0.0.1-SNAPSHOT"]));
    let biz1 = &aggregate["details"]["biz1:0.0.1-SNAPSHOT"];
    assert_eq!((&biz1["status"], keys(&biz1["details"])), (&"UP".into(), vec!["disk", "ping"]));
    let disk = &biz1["details"]["disk"]["details"];
    assert_eq!((&disk["threshold"], &disk["exists"]), (&10_485_760.into(), &true.into()), "{disk}");
    assert!(disk["total"].as_u64() >= disk["free"].as_u64() && disk["free"].as_u64() > Some(10_485_760), "{disk}");

    let own = run.get("/biz1/actuator/info").json();
    assert_eq!(own, json!({ "status": "UP", "components": { "disk": { "status": "UP" }, "ping": { "status": "UP" } } }));
    assert_eq!(own, run.get("/biz1/actuator/health").json());
    assert_eq!(run.get("/biz2/actuator/health").code, 404, "it says no path");

    let info = run.get("/actuator/info").json();
    assert_eq!(info["arkPluginInfo"], json!([]));
    let biz = |name: &str, version: &str, state: &str, path: &str| json!({ "bizName": name, "bizVersion": version, "bizState": state, "webContextPath": path });
    let all = [
        biz("base", "1.0.0", "ACTIVATED", "/"),
        biz("biz1", "0.0.1-SNAPSHOT", "ACTIVATED", "biz1"),
        biz("biz2", "0.0.1-SNAPSHOT", "BROKEN", ""),
    ];
    assert_eq!(info["arkBizInfo"], json!(all));
}

#[test]
fn with_all_modules_a_start_that_fails_counts_and_the_names_are_the_present_ones() {
    let run = koupleless("with_all_modules = true\ncomponent_names = \"current\"");
    let reported = run.until_status("/actuator/health", 503, secs(20)).json();
    assert_eq!(reported["status"], "DOWN", "{reported}");
    let parts = &reported["components"];
    assert_eq!((&parts["baseStartUp"]["status"], &parts["compositeAllBiz"]["status"]), (&"DOWN".into(), &"UP".into()), "{reported}");
    assert_eq!(run.get("/readyz").code, 200, "health, not readiness");
}

#[test]
fn a_base_that_fails_to_start_is_down_everywhere_while_a_module_still_starts() {
    let run = Portcullis::new();
    let child = run.script("child", &polite()).display().to_string();
    let toml = format!(
        "mode = \"api\"\n[process]\non_startup_failure = \"hold\"\n[modes.api]\ncommand = [\"{child}\"]\n\
         started = {{ url = \"file:///nowhere/up\", within = \"500ms\" }}\n\
         [modules.slow]\ncommand = [\"{child}\"]\nstarted = {{ url = \"file:///nowhere/slow\", within = \"10m\" }}\n"
    );
    let run = run.config(&toml).start();
    run.until_status("/actuator/health", 503, secs(20));
    let reported =
        eventually("it is down", secs(20), || Some(run.get("/actuator/health").json()).filter(|reported| reported["status"] == "DOWN"));
    for part in ["startup", "masterBizStartUp"] {
        assert_eq!(reported["components"][part]["status"], "DOWN", "{reported}");
    }
    assert_eq!(run.get("/status").json()["status"], "down");
    assert_eq!(run.get("/actuator/info").json()["arkBizInfo"][0]["bizState"], "BROKEN");
    assert_eq!((run.get("/healthz").code, run.get("/health").code), (500, 503));
}
