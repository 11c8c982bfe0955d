//! A thousand probes of each kind: one kept connection, or none that is left, and nothing written.

use crate::support::postgres::{PASSWORD, percent};
use crate::support::redis::Reply;
use crate::support::{Certificates, Grpc, Http, MariaDb, Portcullis, Postgres, Redis, Secure, eventually, free_port, secs};
use portcullis::config::source::Environment;
use portcullis::outcome::ErrorKind;
use portcullis::plan::resolve::{self, TlsFlags};
use portcullis::probe::Probe;

/// Asks once, and 999 times more; what `look` sees after the first one and after the last one.
fn asks_a_thousand_times<T>(url: &str, look: impl Fn() -> T) -> (T, T) {
    let flags = TlsFlags { insecure: url.starts_with("https:") || url.starts_with("grpcs:"), ..TlsFlags::default() };
    let (targets, _) = resolve::targets_with(&[url.to_owned()], &flags, &Environment::new::<&str, &str>([])).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut probe = Probe::new(&targets[0]);
    runtime.block_on(async {
        assert_eq!(probe.probe(secs(5)).await.kind(), ErrorKind::Ok, "{url}");
        let first = look();
        for _ in 1..1000 {
            assert_eq!(probe.probe(secs(5)).await.kind(), ErrorKind::Ok, "{url}");
        }
        let last = look();
        probe.close().await;
        (first, last)
    })
}

#[test]
fn postgres_sees_one_session_and_no_change() {
    let certificates = Certificates::make();
    let mut server = Postgres::reserve();
    server.certificate(&certificates, "server");
    server.launch();
    server.until_up();
    let sessions = || server.psql("SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'portcullis'");
    for parameters in ["sslmode=disable", "sslmode=require"] {
        let (first, last) = asks_a_thousand_times(&format!("{}?{parameters}", server.url()), sessions);
        assert_eq!((first.lines().count(), &first), (1, &last), "{parameters}");
        eventually("the session is gone", secs(20), || sessions().is_empty().then_some(()));
    }
    let changes = "SELECT sum(tup_inserted + tup_updated + tup_deleted) FROM pg_stat_database WHERE datname = 'app'";
    assert_eq!(server.psql(changes), "0");
}

#[test]
fn mariadb_sees_one_session_and_no_change() {
    let certificates = Certificates::make();
    let (pem, key) = (certificates.pem("server"), certificates.key("server"));
    let server = MariaDb::start(PASSWORD, &[&format!("--ssl-cert={}", pem.display()), &format!("--ssl-key={}", key.display())]);
    let sessions = || server.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'");
    let changes = "SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS \
        WHERE VARIABLE_NAME IN ('HANDLER_WRITE', 'HANDLER_UPDATE', 'HANDLER_DELETE', 'COM_SET_OPTION', 'COM_INSERT', 'COM_CREATE_TABLE')";
    let before = server.sql(changes);
    for parameters in ["sslmode=disable", "sslmode=require"] {
        let url = format!("mysql://app:{}@127.0.0.1:{}/app?{parameters}", percent(PASSWORD), server.port);
        let (first, last) = asks_a_thousand_times(&url, sessions);
        assert_eq!((first.lines().count(), &first), (1, &last), "{parameters}");
        eventually("the session is gone", secs(20), || sessions().is_empty().then_some(()));
    }
    assert_eq!(server.sql(changes), before);
}

/// A figure that the server tells of itself.
fn figure(server: &Redis, name: &str) -> i64 {
    let Reply::Text(reported) = server.command(&["INFO"]) else { panic!("no text") };
    let line = reported.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} is not in {reported}")).parse().unwrap()
}

/// How many connections these servers have ever taken, less those that ask for it, and how many changes they have seen.
fn connections(servers: &[&Redis]) -> Vec<(i64, i64)> {
    servers.iter().map(|server| (figure(server, "total_connections_received"), figure(server, "rdb_changes_since_last_save"))).collect()
}

/// Fails if there were connections other than the two that read the figures, or if anything was written.
#[track_caller]
fn stays(url: &str, servers: &[&Redis]) {
    let (first, last) = asks_a_thousand_times(url, || connections(servers));
    let expected: Vec<_> = first.iter().map(|(connections, changes)| (connections + 2, *changes)).collect();
    assert_eq!(last, expected, "{url}");
}

#[test]
fn redis_sees_one_connection_and_no_key() {
    let certificates = Certificates::make();
    let (tls, dir) = (free_port(), Portcullis::new());
    let socket = dir.dir().join("redis.sock");
    let ca = certificates.pem("ca");
    let server = Redis::reserve().speaking_tls(&certificates, tls, "no").option(&format!("--unixsocket {}", socket.display())).started();
    stays(&server.url(), &[&server]);
    stays(&format!("redis+unix://{}?db=1", socket.display()), &[&server]);
    stays(&format!("rediss://127.0.0.1:{tls}/0?ssl_ca_certs={}", ca.display()), &[&server]);
    assert_eq!(server.command(&["DBSIZE"]), Reply::Number(0));
}

#[test]
fn redis_sees_one_connection_however_it_is_found() {
    let master = Redis::start();
    let sentinel = Redis::sentinel("mymaster", master.port);
    eventually("the sentinel has its two connections", secs(30), || match master.command(&["CLIENT", "LIST"]) {
        Reply::Text(clients) => (clients.matches("name=sentinel-").count() == 2).then_some(()),
        other => panic!("{other:?}"),
    });
    // A Sentinel knows nothing of changes.
    let (first, last) = asks_a_thousand_times(&format!("redis+sentinel://127.0.0.1:{}/mymaster/0", sentinel.port), || {
        (connections(&[&master]), figure(&sentinel, "total_connections_received"))
    });
    assert_eq!(last, (first.0.iter().map(|(connections, changes)| (connections + 2, *changes)).collect(), first.1 + 1));
    let node = Redis::whole_cluster(None);
    stays(&format!("redis+cluster://127.0.0.1:{}", node.port), &[&node]);
    let server = Redis::start();
    // A record that expires in an hour, by the server's own clock; one that never does would count for nothing.
    let record = "local now = redis.call('TIME') return redis.call('ZADD', KEYS[1], now[1] * 1000 + 3600000, 'one')";
    server.command(&["EVAL", record, "1", "portcullis:{api_service_status}:ready"]);
    stays(&format!("redis+ready://127.0.0.1:{}/0?service=api&min=1", server.port), &[&server]);
}

/// How many connections to this port of ours are open on the server's side.
fn open(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ours = format!("0100007F:{port:04X}");
    // 01 is ESTABLISHED, 08 CLOSE_WAIT.
    let counts = |fields: &[&str]| fields[1] == ours && ["01", "08"].contains(&fields[3]);
    table.lines().skip(1).filter(|line| counts(&line.split_whitespace().collect::<Vec<_>>())).count()
}

/// Fails unless each probe over this port closes what it opened.
#[track_caller]
fn keeps_none(scheme: &str, port: u16) {
    let (first, last) = asks_a_thousand_times(&format!("{scheme}://127.0.0.1:{port}"), || open(port));
    assert!(first <= 1 && last <= 1, "{scheme}: {first}, then {last}");
    eventually("none is left", secs(20), || (open(port) == 0).then_some(()));
}

#[test]
fn http_keeps_no_connection() {
    let (http, certificates) = (Http::answering(200, "{}"), Certificates::make());
    keeps_none("http", http.port);
    keeps_none("https", Secure::before(http.port, &certificates).port);
    assert_eq!(http.seen().len(), 2000, "each probe sent one request");
}

#[test]
fn grpc_keeps_no_connection() {
    let (grpc, certificates) = (Grpc::saying(1), Certificates::make());
    keeps_none("grpc", grpc.port);
    keeps_none("grpcs", Secure::before(grpc.port, &certificates).port);
}
