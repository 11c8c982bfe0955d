//! The health responses, byte for byte if other programs parse them, over TCP and the unix socket.

use crate::support::child::{polite, stubborn};
use crate::support::{Http, Portcullis, Redis, eventually, secs};
use std::collections::BTreeMap;
use std::io::{Read, Write};

/// A process with the checks of `toml`, which are probed often.
fn with_checks(toml: &str) -> Portcullis {
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    run.config(&format!("service = \"api\"\nmode = \"api\"\n{toml}\n[modes.api]\ncommand = [\"{}\"]\n", child.display()))
}

fn two_checks(http: &Http, redis: &Redis) -> Portcullis {
    with_checks(&format!(
        "[checks.web]\nurl = \"http://127.0.0.1:{}/\"\ninterval = \"200ms\"\n[checks.redis]\nurl = \"redis://127.0.0.1:{}/0\"\ninterval = \"200ms\"\nfailure_threshold = 2",
        http.port, redis.port
    ))
}

#[test]
fn healthz_is_the_flat_json_and_500_while_a_dependency_is_down() {
    let (http, mut redis) = (Http::answering(200, ""), Redis::start());
    let run = two_checks(&http, &redis).start();
    let well = run.until_status("/healthz", 200, secs(20));
    assert_eq!(well.header("content-type"), "application/json");
    let json = well.json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!((keys[0].as_str(), keys[1].as_str(), keys[keys.len() - 1].as_str()), ("web", "redis", "status"));
    assert!(json.as_object().unwrap().values().all(|value| value == "ok"), "{json}");
    redis.stop();
    let ill = run.until_status("/healthz", 500, secs(20)).json();
    assert_eq!((&ill["web"], &ill["redis"], &ill["status"]), (&"ok".into(), &"nok".into(), &"nok".into()));
    let last = ill.as_object().unwrap().keys().next_back().unwrap();
    assert_eq!(last, "_meta");
    let meta = ill["_meta"].as_object().unwrap();
    assert_eq!(meta.keys().collect::<Vec<_>>(), ["redis"]);
    let elapsed = meta["redis"]["elapsed"].as_str().unwrap();
    assert_eq!(elapsed.split_once('.').unwrap().1.len(), 1, "{elapsed}");
    elapsed.parse::<f64>().unwrap();
    assert_eq!(meta["redis"]["error"], "connection refused");
    for path in ["/v1/system/healthz", "/api/v1/system/healthz", "/healthz/"] {
        assert_eq!(run.get(path).code, 500, "{path}");
    }
    assert_eq!(run.get("/readyz").code, 200, "a dependency affects health alone by default");
    assert_eq!(run.get("/livez").code, 200);
    redis.restart();
    run.until_status("/healthz", 200, secs(20));
}

#[test]
fn the_text_answers_have_the_bytes_that_kubernetes_writes() {
    let run = with_checks("").start();
    run.until_status("/readyz", 200, secs(20));
    for name in ["livez", "readyz", "startupz"] {
        let answer = run.get(&format!("/{name}"));
        assert_eq!((answer.code, answer.body.as_str()), (200, "ok"), "{name}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-length"), "2");
        for query in ["verbose", "verbose=false", "other&verbose=1"] {
            let body = run.get(&format!("/{name}?{query}")).body;
            assert!(body.starts_with("[+]ping ok\n") && body.ends_with(&format!("\n{name} check passed\n")), "{body}");
        }
        let excluded = run.get(&format!("/{name}?verbose&exclude=ping&exclude=nosuch")).body;
        assert!(excluded.starts_with("[+]ping excluded: ok\n"), "{excluded}");
        let warning = "warn: some health checks cannot be excluded: no matches for \"nosuch\"\n";
        assert!(excluded.contains(warning), "{excluded}");
        assert_eq!(run.get(&format!("/{name}?exclude=nosuch")).body, "ok");
        assert_eq!(run.get(&format!("/{name}/ping")).body, "ok");
        let unknown = run.get(&format!("/{name}/nosuch"));
        assert_eq!((unknown.code, unknown.body.as_str()), (404, "404 page not found\n"));
    }
}

#[test]
fn a_failed_check_is_named_and_can_be_excluded() {
    let http = Http::answering(200, "");
    let check = "affects = \"readiness\"\ninterval = \"200ms\"\nfailure_threshold = 2";
    let run = with_checks(&format!("[checks.bad]\nurl = \"http://127.0.0.1:{}/\"\n{check}", http.port)).start();
    run.until_status("/readyz", 200, secs(20));
    http.set(503, "");
    let answer = run.until_status("/readyz", 500, secs(20));
    assert!(answer.body.contains("[-]bad failed: reason withheld\n") && answer.body.ends_with("readyz check failed\n"), "{}", answer.body);
    assert_eq!(run.get("/readyz?exclude=bad").body, "ok");
    let one = run.get("/readyz/bad");
    assert_eq!((one.code, one.body.as_str()), (500, "internal server error: unexpected status\n"));
    assert_eq!(run.get("/livez").code, 200);
}

#[test]
fn while_it_waits_it_is_live_and_nothing_else() {
    let run = with_checks(&format!("[checks.late]\nurl = \"tcp://127.0.0.1:{}\"", crate::support::free_port())).start();
    run.until_status("/livez", 200, secs(20));
    for path in ["/startupz", "/readyz", "/healthz"] {
        assert_eq!(run.get(path).code, 500, "{path}");
    }
    assert_eq!(run.get("/healthz").json()["status"], "nok");
    assert_eq!(run.get("/metrics").code, 200);
}

#[test]
fn while_it_stops_it_is_live_and_not_ready() {
    let run = Portcullis::new().env("PORTCULLIS_PROCESS__STOP_TIMEOUT", "20s").sh(&stubborn()).start();
    run.until_status("/readyz", 200, secs(20));
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.until_status("/readyz", 500, secs(10));
    assert_eq!(run.get("/livez").code, 200);
    assert_eq!(run.get("/healthz").code, 500);
    assert_eq!(run.get("/startupz").code, 200);
}

#[test]
fn methods_and_paths_are_answered_as_written() {
    let run = Portcullis::new().sh(&polite()).start();
    run.until_status("/readyz", 200, secs(20));
    for path in ["/healthz", "/livez", "/readyz", "/metrics"] {
        let (get, head) = (run.get(path), run.ask("HEAD", path, ""));
        assert_eq!((head.code, head.body.as_str()), (get.code, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        let options = run.ask("OPTIONS", path, "");
        assert_eq!((options.code, options.header("allow"), options.body.as_str()), (204, "GET, HEAD, OPTIONS", ""), "{path}");
        for method in ["POST", "DELETE", "PUT", "QUERY"] {
            let other = run.ask(method, path, "Content-Length: 0\r\n");
            assert_eq!((other.code, other.header("allow")), (405, "GET, HEAD, OPTIONS"), "{method} {path}");
        }
        assert_eq!(run.get(&format!("{path}/")).code, 200, "{path}/");
    }
    for path in ["/nosuch", "/HEALTHZ", "/healthz/x", "/livez/ping/x", "//"] {
        assert_eq!(run.get(path).code, 404, "{path}");
    }
    let long = format!("X-Long: {}\r\n", "x".repeat(20_000));
    assert_eq!(run.ask("GET", "/livez", &long).code, 431);
    assert_eq!(run.get("/livez").code, 200);
}

#[test]
fn metrics_are_prometheus_text_with_each_family_once() {
    let (http, redis) = (Http::answering(200, ""), Redis::start());
    let run = two_checks(&http, &redis).start();
    run.until_status("/healthz", 200, secs(20));
    let answer = run.get("/metrics");
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.body.ends_with('\n'));
    let mut types = BTreeMap::new();
    let mut series = BTreeMap::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            *types.entry(rest.split(' ').next().unwrap()).or_insert(0) += 1;
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            *series.entry(name).or_insert(0) += 1;
        }
    }
    assert!(types.values().chain(series.values()).all(|count| *count == 1), "{types:?}\n{series:?}");
    for family in
        ["portcullis_build_info", "portcullis_phase", "portcullis_live", "portcullis_ready", "portcullis_started", "portcullis_check_state"]
    {
        assert!(types.contains_key(family), "{family} is not in {types:?}");
    }
    for line in ["portcullis_ready 1\n", "portcullis_live 1\n", "portcullis_started 1\n", "portcullis_phase{phase=\"running\"} 1\n"] {
        assert!(answer.body.contains(line), "{line} is not in:\n{}", answer.body);
    }
    assert!(answer.body.contains("portcullis_check_state{check=\"redis\",state=\"up\"} 1\n"), "{}", answer.body);
}

#[test]
fn the_unix_socket_gives_the_same_answers() {
    let run = Portcullis::new().sh(&polite()).start();
    run.until_status("/readyz", 200, secs(20));
    for path in ["/livez", "/readyz", "/startupz", "/healthz"] {
        let (over_tcp, over_socket) = (run.get(path), run.get_over_socket(path));
        assert_eq!((over_tcp.code, over_tcp.body), (over_socket.code, over_socket.body), "{path}");
    }
}

#[test]
fn a_socket_with_a_path_is_served_and_replaced_after_a_crash() {
    let run = Portcullis::new().without("PORTCULLIS_HEALTH__SOCKET");
    let path = run.dir().join("health.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let run = run.env("PORTCULLIS_HEALTH__SOCKET", &path).sh(&polite()).start();
    run.until_status("/readyz", 200, secs(20));
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
}

#[test]
fn a_startup_check_that_does_not_pass_in_time_is_69() {
    let app = Http::answering(503, "");
    let started = format!("[modes.api.started]\nurl = \"http://127.0.0.1:{}/\"\nwithin = \"1s\"", app.port);
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let mut run = run.config(&format!("mode = \"api\"\n[modes.api]\ncommand = [\"{}\"]\n{started}\n", child.display())).start();
    run.exits(69);
    run.leaves_nothing();
}

#[test]
fn hundreds_of_idle_connections_leave_livez_answering() {
    let run = Portcullis::new().sh(&polite()).start();
    run.until_status("/readyz", 200, secs(20));
    let open = || {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", run.port)).unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ").unwrap();
        stream
    };
    let held: Vec<_> = (0..200).map(|_| open()).collect();
    eventually("/livez answers", secs(5), || (run.get("/livez").code == 200).then_some(()));
    drop(held);
}

#[test]
fn as_many_connections_as_configured_stay_open_and_the_process_has_its_own_limit_of_files() {
    let run = Portcullis::new().config("[health]\nmax_connections = 300\n").through("prlimit --nofile=200:4096");
    let run = run.sh(&format!("echo \"$(ulimit -Sn) files\"; {}", polite())).start();
    run.until_stdout("200 files", secs(20));
    run.until_status("/readyz", 200, secs(20));
    let request = |stream: &mut std::net::TcpStream| {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).map(|()| assert_eq!(&answer, b"HTTP/1.1 200"))
    };
    let mut kept: Vec<_> = (0..250).map(|_| std::net::TcpStream::connect(("127.0.0.1", run.port)).unwrap()).collect();
    assert!(kept.iter_mut().all(|stream| request(stream).is_ok()));
    // One more in each round would have closed the oldest ones.
    assert!(kept.iter_mut().all(|stream| stream.peek(&mut [0]).is_ok_and(|length| length > 0)));
}
