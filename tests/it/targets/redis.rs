//! Redis in every state and deployment form, and the registry in it.

use super::{fails, passes};
use crate::support::redis::Reply;
use crate::support::{Certificates, Portcullis, Redis, eventually, free_port, secs};
use std::process::Command;

#[test]
fn a_missing_and_a_wrong_password_are_distinguished() {
    let server = Redis::with_password("right password");
    passes(&server.url().replace("right password", "right%20password"));
    fails(&format!("redis://127.0.0.1:{}/0", server.port), &["authentication failed", "NOAUTH"]);
    fails(&format!("redis://:wrong@127.0.0.1:{}/0", server.port), &["authentication failed", "WRONGPASS"]);
    fails(&format!("redis://:right%20password@127.0.0.1:{}/99", server.port), &["authentication failed", "DB index"]);
}

#[test]
fn tls_and_unix_sockets_are_spoken() {
    let certificates = Certificates::make();
    let (tls, dir) = (free_port(), Portcullis::new());
    let socket = dir.dir().join("redis.sock");
    let ca = certificates.pem("ca");
    let server = Redis::reserve().speaking_tls(&certificates, tls, "no").option(&format!("--unixsocket {}", socket.display())).started();
    passes(&format!("redis+unix://{}?db=1", socket.display()));
    passes(&format!("rediss://127.0.0.1:{tls}/0?ssl_ca_certs={}", ca.display()));
    passes(&format!("rediss://localhost:{tls}/0?ssl_cert_reqs=none"));
    fails(&format!("rediss://127.0.0.1:{tls}/0"), &["tls handshake failed", "UnknownIssuer"]);
    fails(&format!("rediss://127.0.0.1:{}/0", server.port), &["timed out"]);
    fails(&format!("redis://127.0.0.1:{tls}/0"), &["connection closed"]);
}

#[test]
fn a_server_that_loads_or_lost_its_master_is_not_ready() {
    let mut server =
        Redis::reserve().option("--enable-debug-command yes --key-load-delay 5000 --loading-process-events-interval-bytes 1024").started();
    server.command(&["DEBUG", "POPULATE", "2000", "key", "1000"]);
    server.command(&["SAVE"]);
    server.stop();
    server.launch();
    eventually("it loads", secs(30), || match server.try_command(&["PING"]) {
        Ok(Reply::Error(words)) => words.starts_with("LOADING").then_some(()),
        _ => None,
    });
    fails(&server.url(), &["peer not ready", "LOADING"]);
    let mut replica = Redis::reserve().option(&format!("--replicaof 127.0.0.1 {} --replica-serve-stale-data no", free_port()));
    replica.launch();
    eventually("it answers", secs(30), || replica.try_command(&["PING"]).ok());
    fails(&replica.url(), &["peer not ready", "MASTERDOWN"]);
}

#[test]
fn a_frozen_server_is_a_timeout() {
    let server = Redis::start();
    server.signal(19);
    let said = super::wait_with(&["--try-timeout", "300ms", "--timeout", "1s", &server.url()]).exits(69).says(&["timed out"]);
    assert!(said.took < secs(5), "{:?}", said.took);
    server.signal(18);
    passes(&server.url());
}

#[test]
fn the_master_is_found_through_its_sentinels_after_a_failover_too() {
    let master = Redis::start();
    let replica = Redis::reserve().option(&format!("--replicaof 127.0.0.1 {}", master.port)).started();
    let sentinel = Redis::sentinel("mymaster", master.port);
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/mymaster/0", free_port(), sentinel.port);
    passes(&url);
    fails(&url.replace("mymaster", "other"), &["does not know the master other"]);
    eventually("the sentinel knows the replica", secs(60), || match sentinel.command(&["SENTINEL", "REPLICAS", "mymaster"]) {
        Reply::List(replicas) => (!replicas.is_empty()).then_some(()),
        _ => None,
    });
    eventually("the failover begins", secs(60), || {
        (sentinel.command(&["SENTINEL", "FAILOVER", "mymaster"]) == Reply::Text("OK".into())).then_some(())
    });
    // The sentinel has the replica close every connection as it becomes the master.
    eventually("the replica is the master", secs(60), || match replica.try_command(&["ROLE"]) {
        Ok(Reply::List(role)) => (role.first() == Some(&Reply::Text("master".into()))).then_some(()),
        _ => None,
    });
    drop(master);
    super::wait_with(&["--timeout", "30s", &url]).exits(0);
}

#[test]
fn sentinels_may_want_a_login_of_their_own() {
    let master = Redis::with_password("of the master");
    let sentinel = Redis::guarded_sentinel("mymaster", master.port, Some("of/default"), "user watch on >secret/1 +@all allchannels\n");
    let url = |parameters: &str| format!("redis+sentinel://:of%20the%20master@127.0.0.1:{}/mymaster/0{parameters}", sentinel.port);
    passes(&url("?sentinel_password=of%2Fdefault"));
    passes(&url("?sentinel_user=watch&sentinel_password=secret%2F1"));
    fails(&url(""), &["authentication failed", "sentinel", "NOAUTH"]);
    fails(&url("?sentinel_password=wrong"), &["authentication failed", "sentinel", "WRONGPASS"]);
    fails(&url("?sentinel_user=nobody&sentinel_password=secret%2F1"), &["authentication failed", "sentinel", "WRONGPASS"]);
    // That of the master is another one.
    let wrong = url("?sentinel_password=of%2Fdefault").replace("of%20the%20master", "wrong");
    fails(&wrong, &["authentication failed", "the master", "WRONGPASS"]);
}

#[test]
fn a_cluster_is_ready_when_all_its_slots_are_served() {
    let nodes: Vec<Redis> = (0..3).map(|_| Redis::of_cluster()).collect();
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let url = format!("redis+cluster://{}", addresses.join(","));
    fails(&url, &["peer not ready", "cluster's state is fail"]);
    let output = Command::new("redis-cli").args(["--cluster", "create"]).args(&addresses).arg("--cluster-yes").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    super::wait_with(&["--timeout", "30s", &url]).exits(0);
    let mut nodes = nodes;
    nodes.remove(0);
    eventually("the others miss it", secs(60), || match nodes[0].command(&["CLUSTER", "INFO"]) {
        Reply::Text(text) => text.contains("cluster_state:fail").then_some(()),
        _ => None,
    });
    fails(&url, &["cluster's state is fail"]);
}

#[test]
fn the_registry_is_read_as_it_is_written() {
    read_as_written(&Redis::start());
}

#[test]
fn a_current_valkey_is_waited_for_and_keeps_the_registry() {
    let test = "targets::redis::a_current_valkey_is_waited_for_and_keeps_the_registry";
    let Some(server) = Redis::valkey(test).map(Redis::started) else { return };
    passes(&server.url());
    passes(&server.url().replace("redis://", "valkey://"));
    read_as_written(&server);
}

fn read_as_written(server: &Redis) {
    let url = format!("redis+ready://127.0.0.1:{}/0?service=api&min=", server.port);
    fails(&format!("{url}1"), &["too few are ready (0 of 1 instances are ready in ", "write their heartbeat to this Redis"]);
    let replica = |id: &str| {
        let config = format!("mode = \"api\"\n[heartbeat]\nurl = \"{}\"\n[modes.api]\ncommand = [\"sleep\", \"600\"]\n", server.url());
        Portcullis::new().config(&config).env("PORTCULLIS_INSTANCE_ID", id).start()
    };
    let mut one = replica("one");
    super::wait_with(&["--timeout", "30s", &format!("{url}1")]).exits(0);
    fails(&format!("{url}2"), &["1 of 2 instances are ready"]);
    let two = replica("two");
    super::wait_with(&["--timeout", "30s", &format!("{url}2")]).exits(0);
    one.signal(15);
    one.wait_exit(secs(30));
    fails(&format!("{url}2"), &["1 of 2"]);
    drop(two);
}

/// A server that answers every question with this word in it by `answer`, and everything else as Redis does.
fn rogue(word: &'static str, answer: String) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut heard = [0; 4096];
            while let Ok(count @ 1..) = std::io::Read::read(&mut stream, &mut heard) {
                let question = String::from_utf8_lossy(heard.get(..count).unwrap_or_default()).into_owned();
                let usual = if question.contains("PING") { "+PONG\r\n" } else { "+OK\r\n" };
                let _ = std::io::Write::write_all(&mut stream, if question.contains(word) { answer.as_bytes() } else { usual.as_bytes() });
            }
        }
    });
    port
}

#[test]
fn a_sentinel_that_names_a_path_gets_no_password_anywhere() {
    let dir = Portcullis::new();
    let socket = dir.dir().join("redis.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    for host in [socket.display().to_string(), String::new(), "a b".to_owned(), "@abstract".to_owned()] {
        let address = format!("*2\r\n${}\r\n{host}\r\n$4\r\n6379\r\n", host.len());
        let url = format!("redis+sentinel://:s3cret@127.0.0.1:{}/mymaster/0", rogue("SENTINEL", address));
        fails(&url, &["the address that the sentinel gives", "neither a name nor an IP address"]);
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "no connection was made");
}

#[test]
fn a_cluster_node_that_moves_a_key_to_a_path_gets_no_password_anywhere() {
    let dir = Portcullis::new();
    let socket = dir.dir().join("redis.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    for (word, host) in [("MOVED", socket.display().to_string()), ("ASK", socket.display().to_string()), ("MOVED", "@abstract".to_owned())]
    {
        let port = rogue("EXISTS", format!("-{word} 15838 {host}:6379\r\n"));
        let url = format!("redis+cluster://:s3cret@127.0.0.1:{port}");
        let words = ["the key's owner that the node names", "neither a name nor an IP address"];
        Portcullis::new().args(["ready", "api", "--url", &url]).output().exits(69).says(&words);
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "no connection was made");
}
