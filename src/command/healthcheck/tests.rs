//! The subcommand's connection to the server and its output line.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixListener};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{DEFAULT_TIMEOUT, Endpoint, HttpResponse, LONGEST_LINE, Options, ServerLocation, http_client, judge, query, run, shortened};
use crate::clock::Moment;
use crate::outcome::{ErrorKind, Outcome};
use crate::plan::{Affects, Details, HealthPlan, Plan, Service, SocketName, Views};
use crate::published::Published;
use crate::server::{Listeners, serve};
use crate::state::check::Check;
use crate::state::snapshot::{Level, Phase, Snapshot};

fn options() -> Options {
    Options { level: Level::Deep, timeout: DEFAULT_TIMEOUT, place: ServerLocation::default(), file: None }
}

/// The options for an endpoint or a file: `--listen`, `--socket` or `-c` with the word after it.
fn naming(line: &str) -> Options {
    let mut options = options();
    let words: Vec<&str> = line.split_whitespace().collect();
    for pair in words.chunks(2) {
        match pair {
            ["--listen", listen] => options.place.listen = Some((*listen).to_owned()),
            ["--socket", socket] => options.place.socket = Some((*socket).to_owned()),
            ["--socket"] => options.place.socket = Some(String::new()),
            ["-c", file] => options.file = Some(file.into()),
            other => panic!("{other:?}"),
        }
    }
    options
}

fn find(
    options: &Options,
    environment: impl Fn(&str) -> Option<OsString>,
    file_settings: impl FnOnce(Option<&OsStr>) -> Option<ServerLocation>,
) -> Result<Vec<Endpoint>, String> {
    http_client::find(&options.place, options.file.as_deref().map(Path::as_os_str), environment, file_settings)
}

/// The endpoints as they are written, for a command line, an environment and a file.
fn ways(line: &str, environment: &[(&str, &str)], file: Option<ServerLocation>) -> String {
    let lookup = |name: &str| environment.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(*value));
    let endpoints = find(&naming(line), lookup, |_| file).unwrap();
    endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn place(listen: Option<&str>, socket: Option<&str>) -> ServerLocation {
    ServerLocation { listen: listen.map(str::to_owned), socket: socket.map(str::to_owned) }
}

#[test]
fn the_server_is_looked_for_where_it_is_configured() {
    const LISTEN: &str = "PORTCULLIS_HEALTH__LISTEN";
    const SOCKET: &str = "PORTCULLIS_HEALTH__SOCKET";
    let file = || Some(place(Some("0.0.0.0:7000"), Some("/run/file.sock")));
    for (line, environment, file, expected) in [
        ("", &[][..], None, "@portcullis/8051 127.0.0.1:8051 [::1]:8051"),
        ("", &[], file(), "/run/file.sock 127.0.0.1:7000 [::1]:7000"),
        ("", &[], Some(place(Some("[::]:7000, 0.0.0.0:7000"), None)), "@portcullis/7000 127.0.0.1:7000 [::1]:7000"),
        ("", &[], Some(place(Some("10.0.0.1:7000"), Some(""))), "10.0.0.1:7000"),
        ("", &[], Some(place(None, Some("@x"))), "@x"),
        ("", &[(LISTEN, "0.0.0.0:6000")], file(), "@portcullis/6000 127.0.0.1:6000 [::1]:6000"),
        ("", &[(SOCKET, "@env")], file(), "@env"),
        ("", &[(SOCKET, "@env"), (LISTEN, ":6000")], file(), "@env 127.0.0.1:6000 [::1]:6000"),
        ("", &[(LISTEN, "localhost:6000")], file(), "/run/file.sock 127.0.0.1:7000 [::1]:7000"),
        ("", &[(SOCKET, "")], file(), "/run/file.sock 127.0.0.1:7000 [::1]:7000"),
        ("--listen 9000", &[(SOCKET, "@env")], file(), "127.0.0.1:9000 [::1]:9000"),
        ("--socket @flag", &[(LISTEN, "0.0.0.0:6000")], file(), "@flag"),
    ] {
        assert_eq!(ways(line, environment, file,), expected, "{line} {environment:?}");
    }
    assert_eq!(
        find(&naming("--listen localhost:1"), |_| None, |_| None),
        Err("localhost:1 is not an address like 127.0.0.1:8051".to_owned())
    );
    assert!(find(&naming("--socket"), |_| None, |_| None).is_err());
}

#[test]
fn the_file_is_read_only_when_nothing_else_says_where() {
    let unread = |_: Option<&OsStr>| panic!("the file was read");
    assert!(find(&naming("--socket @x -c file"), |_| None, unread).is_ok());
    assert!(find(&naming("-c file"), |name| name.ends_with("SOCKET").then(|| OsString::from("@x")), unread).is_ok());
    let read = find(&naming("-c file"), |_| None, |file| Some(place(None, file.and_then(|file| file.to_str()))));
    assert_eq!(read, Ok(vec![Endpoint::Unix(SocketName::new("file"))]));
}

fn line_of(level: Level, status: u16, body: &str) -> (bool, String) {
    judge(level, &HttpResponse { status, body: body.to_owned() })
}

#[test]
fn the_line_says_what_is_wrong_in_fixed_words() {
    let meta = r#"{"redis":"nok","app":"nok","status":"nok","_meta":{"redis":{"elapsed":"5.2","error":"authentication failed"},"startup":{"error":"waiting"},"db":{"error":"password=hunter2"},"<b>":{"error":"timed out"}}}"#;
    let failed = r#"{"_meta":{"app":{"error":"process not running"},"supervisor":{"error":"process not running"},"startup":{"error":"failed"},"shutdown":{"error":"peer not ready"}}}"#;
    let stopping = r#"{"_meta":{"shutdown":{"error":"peer not ready"}}}"#;
    for (level, status, body, healthy, line) in [
        (Level::Deep, 200, "{}", true, "healthy"),
        (Level::Deep, 500, meta, false, "not healthy: redis: authentication failed, startup: waiting, db"),
        (Level::Deep, 500, failed, false, "not healthy: app: process not running, the start failed"),
        (Level::Deep, 500, stopping, false, "not healthy: it is being stopped"),
        (Level::Deep, 500, "nonsense", false, "not healthy: the response has status 500"),
        (Level::Ready, 200, "ok", true, "ready"),
        (
            Level::Ready,
            500,
            "[+]ping ok\n[-]redis failed: reason withheld\n[-]app failed: x\nreadyz check failed\n",
            false,
            "not ready: redis, app",
        ),
        (Level::Live, 500, "[-]scheduler failed: reason withheld\n", false, "not live: scheduler"),
        (Level::Live, 404, "404 page not found\n", false, "not live: the response has status 404"),
    ] {
        assert_eq!(line_of(level, status, body), (healthy, line.to_owned()));
    }
}

#[test]
fn the_line_is_never_longer_than_its_limit() {
    let body = (0..100).map(|index| format!("[-]check-{index:03} failed: reason withheld")).collect::<Vec<_>>().join("\n");
    let line = shortened(line_of(Level::Ready, 500, &body).1);
    assert!(line.len() < LONGEST_LINE && line.len() > LONGEST_LINE - 30, "{}", line.len());
    assert!(line.starts_with("not ready: check-000, check-001,") && line.ends_with(" and more"), "{line}");
    assert!(shortened("ä".repeat(600)).len() < LONGEST_LINE);
}

/// A server that answers one request with these bytes, after having checked it.
fn one_answer(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 512];
        let count = stream.read(&mut request).unwrap();
        let request = String::from_utf8_lossy(&request[..count]).into_owned();
        assert!(request.starts_with("GET /healthz HTTP/1.1\r\n") && request.contains("\r\nPrefer: return=minimal\r\n"), "{request}");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    address
}

#[test]
fn the_first_that_answers_decides() {
    let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let address = one_answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    let endpoints = [Endpoint::Unix(SocketName::new("@portcullis-test/nobody")), Endpoint::Tcp(unused), Endpoint::Tcp(address)];
    assert_eq!(query(&endpoints, &options()), (true, "healthy".to_owned()));
    let (healthy, line) = query(&endpoints[..2], &options());
    assert!(!healthy);
    assert_eq!(line, format!("not healthy: no answer from @portcullis-test/nobody: connection refused, {unused}: connection refused"));
}

#[test]
fn nonsense_and_silence_are_not_healthy() {
    let endpoints = [Endpoint::Tcp(one_answer("SSH-2.0-OpenSSH_9.2\r\n"))];
    assert!(query(&endpoints, &options()).1.ends_with(": invalid data"));
    let name = format!("portcullis-test/{}/silent", std::process::id());
    let silent = UnixListener::bind_addr(&UnixSocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let endpoints = [Endpoint::Unix(SocketName::Abstract(name))];
    let (healthy, line) = query(&endpoints, &Options { timeout: Duration::from_millis(50), ..options() });
    assert!(!healthy && line.ends_with(": timed out"), "{line}");
    drop(silent);
}

/// The peer of the unix socket is trusted, so the server would send it all details.
#[test]
fn a_real_server_tells_the_subcommand_public_words_only() {
    let name = SocketName::Abstract(format!("portcullis-test/{}/healthcheck", std::process::id()));
    let socket = Some(name.clone());
    let plan = HealthPlan {
        listen: Vec::new(),
        socket,
        required: true,
        details: Details::Always,
        token: None,
        views: Views::default(),
        hosts: Vec::new(),
        max_connections: 1,
        control: false,
    };
    let now = Moment::now();
    let mut redis = Check::event("redis", "redis", Affects::Readiness);
    redis.feed(now, Outcome::failed(ErrorKind::Auth, "WRONGPASS for app", Duration::from_millis(5)));
    let service =
        Service { name: "api".to_owned(), mode: None, instance: "one".to_owned(), host: String::new(), version: None, build: "0.1.0" };
    let snapshot = Snapshot { phase: Phase::Running, started: true, checks: vec![redis.into()].into(), ..Snapshot::new(service, now) };
    let known = Plan::of((*snapshot.service).clone());
    let published = Published::new(snapshot, Arc::new(known));
    let listeners = Listeners::bind(&plan).unwrap();
    thread::spawn(move || serve(listeners, Arc::new(plan), Arc::new(published), None));
    for (level, healthy, line) in [
        (Level::Deep, false, "not healthy: redis: authentication failed"),
        (Level::Ready, false, "not ready: redis"),
        (Level::Live, true, "live"),
    ] {
        let place = ServerLocation { listen: None, socket: Some(name.to_string()) };
        let options = Options { level, place, ..options() };
        assert_eq!(query(&[Endpoint::Unix(name.clone())], &options), (healthy, line.to_owned()));
        assert_eq!(run(&options, |_| None, |_| None), u8::from(!healthy));
    }
}
