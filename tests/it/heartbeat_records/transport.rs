//! The connections to Redis of a heartbeat: TLS with a private authority, a unix socket, and the variables of an application.

use super::{KEY, replica, until_key};
use crate::support::child::polite;
use crate::support::{Certificates, Portcullis, Redis, Running, free_port, secs};

fn stops(mut run: Running, redis: &Redis) {
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.exits(0);
    assert_eq!(redis.get(KEY), None, "withdrawn");
}

/// A Redis that wants a client's certificate on this port, beside the plain one by which the tests look.
fn with_tls(certificates: &Certificates, tls: u16) -> Redis {
    Redis::reserve().speaking_tls(certificates, tls, "yes").started()
}

#[test]
fn a_heartbeat_over_tls_verifies_the_server_and_shows_its_own_certificate() {
    let certificates = Certificates::make();
    let tls = free_port();
    let redis = with_tls(&certificates, tls);
    let files = format!(
        "ca = \"{}\"\nclient_certificate = \"{}\"\nclient_key = \"{}\"\n",
        certificates.pem("ca").display(),
        certificates.pem("client").display(),
        certificates.key("client").display()
    );
    let url = format!("rediss://localhost:{tls}/0");
    let beating = |name: &str, files: &str| {
        let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name);
        let child = run.script("child", &polite());
        let config = format!("mode = \"api\"\n[heartbeat]\nurl = \"{url}\"\n{files}[modes.api]\ncommand = [\"{}\"]\n", child.display());
        run.config(&config).start()
    };
    for wrong in ["", "insecure = true\n"] {
        let run = beating("wrong", wrong);
        run.until_stderr("is not written yet", secs(20));
        run.until_status("/readyz", 200, secs(20));
        assert_eq!(redis.get(KEY), None, "{wrong}");
        stops(run, &redis);
    }
    let run = beating("one", &files);
    until_key(&redis, Some("ready"));
    stops(run, &redis);
}

#[test]
fn the_variables_of_an_application_alone_lead_through_tls() {
    let certificates = Certificates::make();
    let tls = free_port();
    let redis = with_tls(&certificates, tls);
    let child = Portcullis::new();
    let path = child.script("child", &polite()).display().to_string();
    let run = Portcullis::new().env("MODE", "api").env("REDIS_HOST", "localhost").env("REDIS_PORT", tls.to_string());
    let run = run.env("REDIS_USE_SSL", "true").env("REDIS_SSL_CERT_REQS", "CERT_REQUIRED");
    let run = run.env("REDIS_SSL_CA_CERTS", certificates.pem("ca")).env("REDIS_SSL_CERTFILE", certificates.pem("client"));
    let run = run.env("REDIS_SSL_KEYFILE", certificates.key("client")).args(["run", "--", &path]).start();
    until_key(&redis, Some("ready"));
    stops(run, &redis);
}

#[test]
fn the_variables_of_an_application_alone_lead_past_its_sentinels() {
    let master = Redis::with_password("of the master");
    let sentinel = Redis::sentinel("main", master.port);
    let child = Portcullis::new();
    let path = child.script("child", &polite()).display().to_string();
    let run = Portcullis::new().env("MODE", "api").env("REDIS_USE_SENTINEL", "true").env("REDIS_SENTINEL_SERVICE_NAME", "main");
    let run = run.env("REDIS_SENTINELS", format!("127.0.0.1:1,127.0.0.1:{}", sentinel.port)).env("REDIS_PASSWORD", "of the master");
    let run = run.args(["run", "--", &path]).start();
    until_key(&master, Some("ready"));
    stops(run, &master);
}

#[test]
fn the_variables_of_an_application_alone_log_in_at_its_sentinels() {
    let master = Redis::with_password("of the master");
    let sentinel = Redis::guarded_sentinel("main", master.port, Some("of/default"), "user watch on >secret/1 +@all allchannels\n");
    let child = Portcullis::new();
    let path = child.script("child", &polite()).display().to_string();
    let beating = |login: &[(&str, &str)]| {
        let run = Portcullis::new().env("MODE", "api").env("REDIS_USE_SENTINEL", "true").env("REDIS_SENTINEL_SERVICE_NAME", "main");
        let run = run.env("REDIS_SENTINELS", format!("127.0.0.1:{}", sentinel.port)).env("REDIS_PASSWORD", "of the master");
        login.iter().fold(run, |run, (name, value)| run.env(name, *value)).args(["run", "--", &path]).start()
    };
    let refused = beating(&[("REDIS_SENTINEL_PASSWORD", "wrong")]);
    refused.until_stderr("WRONGPASS", secs(20));
    assert_eq!(master.get(KEY), None);
    drop(refused);
    for login in [
        [("REDIS_SENTINEL_PASSWORD", "of/default")].as_slice(),
        &[("REDIS_SENTINEL_USERNAME", "watch"), ("REDIS_SENTINEL_PASSWORD", "secret/1")],
    ] {
        let run = beating(login);
        until_key(&master, Some("ready"));
        stops(run, &master);
    }
}

#[test]
fn the_variables_of_an_application_alone_lead_into_its_cluster() {
    let node = Redis::whole_cluster(Some("of the cluster"));
    let child = Portcullis::new();
    let path = child.script("child", &polite()).display().to_string();
    let run = Portcullis::new().env("MODE", "api").env("REDIS_USE_CLUSTERS", "true").env("REDIS_CLUSTERS_PASSWORD", "of the cluster");
    let run = run.env("REDIS_CLUSTERS", format!("127.0.0.1:1,127.0.0.1:{}", node.port)).args(["run", "--", &path]).start();
    until_key(&node, Some("ready"));
    stops(run, &node);
}

#[test]
fn a_heartbeat_through_a_unix_socket() {
    let dir = Portcullis::new();
    let socket = dir.dir().join("redis.sock");
    let redis = Redis::reserve().option(&format!("--unixsocket {}", socket.display())).started();
    let run = replica(&format!("redis+unix://{}?db=0", socket.display()), "one", "").start();
    until_key(&redis, Some("ready"));
    stops(run, &redis);
}
