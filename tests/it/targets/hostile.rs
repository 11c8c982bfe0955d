//! A peer that never answers, sends nonsense, drips, floods or closes: each probe ends in time, in little memory, without an internal
//! error.

use crate::support::portcullis::binary;
use crate::support::{
    Certificates, Exit, Grpc, Hostile, Http, Manner, MariaDb, Opening, Portcullis, Postgres, Redis, Secure, Socket, eventually, free_port,
    process, secs, slow,
};
use portcullis::config::source::Environment;
use portcullis::outcome::ErrorKind;
use portcullis::plan::resolve::{self, TlsFlags};
use portcullis::probe::Probe;
use std::time::Duration;

/// Every kind that listens to what a peer says.
const KINDS: [&str; 16] = [
    "postgres://u:p@127.0.0.1:PORT/x?sslmode=disable",
    "postgres://u:p@127.0.0.1:PORT/x?sslmode=prefer",
    "mysql://u:p@127.0.0.1:PORT/x",
    "redis://:p@127.0.0.1:PORT/0",
    "redis://127.0.0.1:PORT/1",
    "rediss://127.0.0.1:PORT/0",
    "redis+sentinel://127.0.0.1:PORT/m",
    "redis+cluster://127.0.0.1:PORT",
    "redis+ready://127.0.0.1:PORT/0?service=api",
    "http://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "grpc://127.0.0.1:PORT",
    "grpcs://127.0.0.1:PORT",
    "amqp://127.0.0.1:PORT",
    "mongodb://127.0.0.1:PORT",
    "kafka://127.0.0.1:PORT",
];

#[test]
fn a_server_that_closes_in_place_of_an_answer_has_not_refused_the_connection() {
    let peer = Hostile::new(Manner::Closing);
    for url in KINDS {
        let url = url.replace("PORT", &peer.port.to_string());
        let insecure = ["https:", "rediss:", "grpcs:"].iter().any(|scheme| url.starts_with(scheme)).then_some("--insecure");
        let options = ["wait", "--timeout", "0s", "--try-timeout", "10s", &url].into_iter().chain(insecure);
        let said = Portcullis::new().args(options).output().exits(69).says(&["connection closed", "check that the server"]);
        assert!(!said.stderr.contains("connection refused"), "{url}: {}", said.stderr);
    }
    // The word for programs stays the class.
    let said = Portcullis::new().args(["wait", "--json", "--timeout", "0s", &format!("redis://127.0.0.1:{}", peer.port)]).output();
    assert!(said.stdout.contains("\"class\":\"refused\""), "{}", said.stdout);
}

/// Asks for a second, looking at the memory meanwhile: the most that it owned, in KiB.
fn suffers(url: &str, manner: Manner) -> u64 {
    let peer = Hostile::new(manner);
    suffers_from(url, manner, peer.port)
}

fn suffers_from(url: &str, manner: Manner, port: u16) -> u64 {
    let url = url.replace("PORT", &port.to_string());
    let insecure = ["https:", "rediss:", "grpcs:"].iter().any(|scheme| url.starts_with(scheme)).then_some("--insecure");
    let options = ["wait", "--timeout", "1s", "--try-timeout", "400ms", &url].into_iter().chain(insecure);
    ends_in_time(Portcullis::new().args(options), &format!("{url} {manner:?}"))
}

fn ends_in_time(run: Portcullis, what: &str) -> u64 {
    let mut run = run.start();
    let mut most = 0;
    // Until it has its own program a new process shows the memory of the tests, which it shares as vfork(2) has it.
    let own = binary().canonicalize().unwrap();
    let (exe, status) = (format!("/proc/{}/exe", run.pid()), format!("/proc/{}/status", run.pid()));
    eventually("the program is exec'd", secs(20), || (!run.runs() || std::fs::read_link(&exe).is_ok_and(|exe| exe == own)).then_some(()));
    while run.runs() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let anonymous = text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse().ok());
        most = most.max(anonymous.unwrap_or(0));
        std::thread::park_timeout(Duration::from_millis(2));
    }
    let exit = run.wait_exit(secs(5));
    let (_, stderr) = run.streams();
    assert_eq!(exit, Exit::Code(69), "{what}: {stderr}");
    assert!(run.since.elapsed() < secs(4), "{what}: {:?}", run.since.elapsed());
    assert!(!stderr.contains("panicked") && !stderr.contains("internal error"), "{what}: {stderr}");
    most
}

/// What begins an answer of the kind that promises no end, and what goes on for ever.
fn floods(url: &str) -> Vec<(&'static [u8], &'static [u8])> {
    let redis: &[(&[u8], &[u8])] =
        &[(b"$1073741824\r\n", b"x"), (b"*1073741824\r\n", b"+\r\n"), (b"", b"*1\r\n"), (b"", b"+OK\r\n"), (b"*2000000000\r\n", b"_\r\n")];
    let own: &[(&[u8], &[u8])] = match url.split(':').next().unwrap_or_default() {
        "postgres" => &[(b"R\x7f\xff\xff\xff", b"x"), (b"", b"N\0\0\0\x05\0"), (b"", b"S\0\0\0\x08a\0b\0")],
        "mysql" => &[(b"\xff\xff\xff\x00\x0a", b"x")],
        "http" | "https" => &[(b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n")],
        "grpc" | "grpcs" => &[(b"\0\0\0\x04\0\0\0\0\0", b"x"), (b"\0\0\0\x04\0\0\0\0\0", b"\0\0\0\x04\0\0\0\0\0")],
        "amqp" => &[(b"\x01\0\0\x7f\xff\xff\xff", b"x"), (b"", b"\x08\0\0\0\0\0\0\xce")],
        "mongodb" => &[(b"\xff\xff\xff\x7f\0\0\0\0\x01\0\0\0\xdd\x07\0\0", b"x")],
        "kafka" => &[(b"\x7f\xff\xff\xff", b"x")],
        _ => redis,
    };
    own.iter().copied().chain([(b"".as_slice(), b"\0".as_slice()), (b"", b"*"), (b"+", b"a")]).collect()
}

/// What a probe may take under this flood in KiB. A debug build's frames are some ten times a release's, and the parser of lists in lists
/// has a hundred of them. The head of an HTTP answer may have the 400 KiB at which hyper stops, in a buffer that doubles.
fn bound(url: &str, more: &[u8]) -> u64 {
    let debug = binary().components().any(|part| part.as_os_str() == "debug");
    if url.starts_with("http") || (debug && more == b"*1\r\n") { 2048 } else { 1024 }
}

#[test]
fn a_server_that_never_answers_or_drips_is_a_timeout() {
    for url in KINDS {
        for manner in [Manner::Silent, Manner::Dripping(b"")] {
            suffers(url, manner);
        }
    }
}

#[test]
fn a_flooding_peer_gets_no_memory() {
    for url in KINDS {
        let quiet = suffers(url, Manner::Garbage);
        for (words, more) in floods(url) {
            let flooded = suffers(url, Manner::Flooding(words, more));
            assert!(flooded < quiet + bound(url, more), "{url}: {flooded} KiB under {words:?} {more:?}, {quiet} KiB in peace");
        }
    }
}

#[test]
fn redis_on_a_unix_socket_that_misbehaves_gets_no_memory() {
    let suffers = |manner| {
        let peer = Hostile::new(manner);
        let socket = Socket::before(peer.port);
        suffers_from(&format!("redis+unix://{}", socket.path().display()), manner, 0)
    };
    let quiet = suffers(Manner::Garbage);
    suffers(Manner::Silent);
    suffers(Manner::Dripping(b""));
    // What is read is read as over TCP: one flood of each shape.
    for (words, more) in [(b"$1073741824\r\n".as_slice(), b"x".as_slice()), (b"", b"+OK\r\n"), (b"+", b"a")] {
        let flooded = suffers(Manner::Flooding(words, more));
        assert!(flooded < quiet + bound("redis+unix", more), "{flooded} KiB under {words:?} {more:?}, {quiet} KiB in peace");
    }
}

#[test]
fn a_command_that_floods_gets_no_memory_and_is_gone() {
    let mark = format!("y{}", std::process::id());
    let run = |script: &str| {
        let url = format!(r#"exec:["sh", "-c", "{script}"]"#);
        let run = Portcullis::new().args(["wait", "--timeout", "1s", "--try-timeout", "400ms", &url]);
        let nowhere = || std::fs::File::options().write(true).open("/dev/null").unwrap();
        ends_in_time(run.stdout_to(nowhere()), script)
    };
    let quiet = run("exit 1");
    let flooded = run(&format!("yes {mark} & exec yes {mark}"));
    assert!(flooded < quiet + 1024, "{flooded} KiB, {quiet} KiB in peace");
    eventually("nothing is left", secs(10), || process::all().iter().all(|pid| !process::command_line(*pid).contains(&mark)).then_some(()));
}

/// Everything that may happen behind TLS, once it was agreed on.
fn no_memory_behind_tls(url: &str, opening: Opening) {
    let certificates = Certificates::make();
    let behind = |manner| {
        let peer = Hostile::new(manner);
        let secure = Secure::after(opening, peer.port, &certificates);
        suffers_from(url, manner, secure.port)
    };
    let quiet = behind(Manner::Garbage);
    behind(Manner::Silent);
    behind(Manner::Dripping(b""));
    for (words, more) in floods(url) {
        let flooded = behind(Manner::Flooding(words, more));
        assert!(flooded < quiet + bound(url, more), "{url}: {flooded} KiB under {words:?} {more:?}, {quiet} KiB in peace");
    }
}

#[test]
fn a_flooding_peer_behind_tls_gets_no_memory() {
    for url in ["https://127.0.0.1:PORT/", "rediss://127.0.0.1:PORT/0", "grpcs://127.0.0.1:PORT"] {
        no_memory_behind_tls(url, Opening::Nothing);
    }
}

#[test]
fn postgres_that_floods_behind_tls_gets_no_memory() {
    no_memory_behind_tls("postgres://u:p@127.0.0.1:PORT/x?sslmode=require", Opening::Postgres);
}

#[test]
fn mysql_that_floods_behind_tls_gets_no_memory() {
    no_memory_behind_tls("mysql://u:p@127.0.0.1:PORT/x?sslmode=require", Opening::Mysql);
}

/// Cuts the answers of the real server behind `url` after each number of bytes, `step` apart, until nothing is missing.
fn survives_cuts(url: &str, port: u16, step: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut reached = false;
    for after in (0..4000).step_by(step) {
        let peer = Hostile::new(Manner::Cutting(port, after));
        let socket = url.contains("SOCKET").then(|| Socket::before(peer.port));
        let path = socket.as_ref().map(|socket| socket.path().display().to_string()).unwrap_or_default();
        let urls = [url.replace("PORT", &peer.port.to_string()).replace("SOCKET", &path)];
        let flags = TlsFlags { insecure: url.starts_with("https:") || url.starts_with("grpcs:"), ..TlsFlags::default() };
        let (targets, _) = resolve::targets_with(&urls, &flags, &Environment::new::<&str, &str>([])).unwrap();
        let outcome = runtime.block_on(async { Probe::new(&targets[0]).probe(Duration::from_secs(5)).await });
        assert!(outcome.elapsed < Duration::from_secs(4), "{url} cut after {after}: {outcome:?}");
        assert!(!matches!(outcome.kind(), ErrorKind::Internal), "{url} cut after {after}: {outcome:?}");
        if outcome.kind() == ErrorKind::Ok {
            reached = true;
            break;
        }
    }
    assert!(reached, "{url} never passed");
}

/// How far apart the cuts of a whole handshake are, which is some thousand bytes long.
fn stride(test: &str) -> usize {
    if slow(&format!("{test}: every byte; every 23rd is cut now")) { 1 } else { 23 }
}

/// One that lets everybody in, with and without TLS.
fn trusting_postgres(certificates: &Certificates) -> Postgres {
    let mut server = Postgres::reserve();
    server.access("local all all trust\nhost all all 127.0.0.1/32 trust\n");
    server.certificate(certificates, "server");
    server.launch();
    server.until_up();
    server
}

#[test]
fn a_peer_that_closes_at_any_byte_is_survived() {
    let server = trusting_postgres(&Certificates::make());
    survives_cuts("postgres://app@127.0.0.1:PORT/app?sslmode=disable", server.port, 1);
    let redis = Redis::with_password("secret");
    survives_cuts("redis://:secret@127.0.0.1:PORT/3", redis.port, 1);
    survives_cuts("redis+unix://:secret@SOCKET?db=3", redis.port, 1);
    let mariadb = MariaDb::start("secret", &[]);
    mariadb.sql("SET GLOBAL max_connect_errors = 100000");
    survives_cuts("mysql://app:secret@127.0.0.1:PORT/app", mariadb.port, 1);
    let http = Http::answering(200, "{}");
    survives_cuts("http://127.0.0.1:PORT/", http.port, 1);
    let grpc = Grpc::saying(1);
    survives_cuts("grpc://127.0.0.1:PORT", grpc.port, 1);
}

#[test]
fn a_peer_that_closes_at_any_byte_of_tls_is_survived() {
    let certificates = Certificates::make();
    let (http, grpc) = (Http::answering(200, "{}"), Grpc::saying(1));
    let (web, rpc) = (Secure::before(http.port, &certificates), Secure::before(grpc.port, &certificates));
    survives_cuts("https://127.0.0.1:PORT/", web.port, 1);
    survives_cuts("grpcs://127.0.0.1:PORT", rpc.port, 1);
}

#[test]
fn databases_that_hang_up_at_any_byte_of_tls_are_survived() {
    let step = stride("databases_that_hang_up_at_any_byte_of_tls_are_survived");
    let certificates = Certificates::make();
    let server = trusting_postgres(&certificates);
    survives_cuts("postgres://app@127.0.0.1:PORT/app?sslmode=require", server.port, step);
    let (pem, key) = (certificates.pem("server"), certificates.key("server"));
    let mariadb = MariaDb::start("secret", &[&format!("--ssl-cert={}", pem.display()), &format!("--ssl-key={}", key.display())]);
    mariadb.sql("SET GLOBAL max_connect_errors = 100000");
    survives_cuts("mysql://app:secret@127.0.0.1:PORT/app?sslmode=require", mariadb.port, step);
}

#[test]
fn redis_that_hangs_up_at_any_byte_of_tls_is_survived() {
    let step = stride("redis_that_hangs_up_at_any_byte_of_tls_is_survived");
    let certificates = Certificates::make();
    let (ca, tls) = (certificates.pem("ca"), free_port());
    let _secure = Redis::reserve().speaking_tls(&certificates, tls, "no").started();
    survives_cuts(&format!("rediss://127.0.0.1:PORT/0?ssl_ca_certs={}", ca.display()), tls, step);
}

#[test]
fn redis_that_hangs_up_at_any_byte_is_survived_however_it_is_found() {
    let master = Redis::start();
    let sentinel = Redis::sentinel("mymaster", master.port);
    survives_cuts("redis+sentinel://127.0.0.1:PORT/mymaster/0", sentinel.port, 1);
    let node = Redis::whole_cluster(None);
    survives_cuts("redis+cluster://127.0.0.1:PORT", node.port, 1);
    let config = format!("mode = \"api\"\n[heartbeat]\nurl = \"{}\"\n[modes.api]\ncommand = [\"sleep\", \"600\"]\n", master.url());
    let _replica = Portcullis::new().config(&config).start();
    let ready = "redis+ready://127.0.0.1:PORT/0?service=api&min=1";
    super::wait_with(&["--timeout", "30s", &ready.replace("PORT", &master.port.to_string())]).exits(0);
    survives_cuts(ready, master.port, 1);
}
