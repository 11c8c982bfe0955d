//! Parameters of a URL with the real server and with an impostor: parameters for security are enforced, the others change the request.

use super::{fails, passes, wait_with};
use crate::support::postgres::{PASSWORD, percent};
use crate::support::{Certificates, Impostor, Portcullis, Postgres, Redis, free_port};

/// A PostgreSQL that is none: it has no TLS, and answers everything by these messages, e.g. a request for the password.
fn impostor_with(asks: &'static [u8]) -> Impostor {
    Impostor::start(None, move |_, heard| if heard == [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f] { b"N".to_vec() } else { asks.to_vec() })
}

const CLEAR: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

#[test]
fn an_impostor_never_gets_the_password_if_security_was_requested() {
    for parameters in [
        "sslrootcert=system",
        "channel_binding=require",
        "sslmode=prefer&channel_binding=require",
        "require_auth=scram-sha-256",
        "require_auth=!password",
        "require_auth=md5,scram-sha-256",
        "ssl=true",
        "ssl=require",
        "sslmode=no-verify",
        "sslmode=require&sslnegotiation=direct",
        "sslmode=require&ssl_min_protocol_version=TLSv1.3",
        "requiressl=1",
        "gssencmode=require",
        "sslcrl=/crl.pem",
        "sslcertmode=require",
        "requirepeer=postgres",
        "sslmod=require",
    ] {
        let impostor = impostor_with(CLEAR);
        let url = format!("postgres://app:open-sesame@127.0.0.1:{}/app?{parameters}", impostor.port);
        let said = wait_with(&["--timeout", "300ms", &url]);
        assert!(!said.stderr.contains("is ready after") && !impostor.has_received("open-sesame"), "{parameters}: {}", said.stderr);
    }
    // Without the parameter this impostor gets the password.
    let impostor = impostor_with(CLEAR);
    wait_with(&["--timeout", "300ms", &format!("postgres://app:open-sesame@127.0.0.1:{}/app", impostor.port)]);
    assert!(impostor.has_received("open-sesame"));
    // An MD5 of it is a proof, and not required here.
    let impostor = impostor_with(b"R\0\0\0\x0c\0\0\0\x05abcd");
    let url = format!("postgres://app:open-sesame@127.0.0.1:{}/app?require_auth=scram-sha-256", impostor.port);
    fails(&url, &["authentication failed", "MD5", "require_auth"]);
    assert!(!impostor.has_received("md5"));
}

#[test]
fn a_login_is_bound_to_the_certificate_and_made_in_the_ways_that_are_allowed() {
    let certificates = Certificates::make();
    let mut server = Postgres::reserve();
    server.certificate(&certificates, "server");
    server.launch();
    server.until_up();
    let of = |parameters: &str| format!("{}?{parameters}", server.url());
    passes(&of("sslmode=require&channel_binding=require"));
    passes(&of("channel_binding=require&require_auth=scram-sha-256"));
    passes(&of("sslmode=require&ssl_min_protocol_version=TLSv1.3"));
    fails(&of("sslmode=disable&channel_binding=require"), &["not encrypted"]);
    fails(&of("require_auth=md5"), &["SCRAM", "require_auth"]);
    fails(&of("require_auth=none"), &["SCRAM", "require_auth"]);
    server.psql(&format!("SET password_encryption = md5; ALTER ROLE app PASSWORD '{}'", PASSWORD.replace('\'', "''")));
    server.access("local all all trust\nhost all all 127.0.0.1/32 md5\n");
    server.psql("SELECT pg_reload_conf()");
    crate::support::eventually("MD5 is requested", crate::support::secs(30), || {
        wait_with(&["--timeout", "1s", &of("require_auth=md5")]).stderr.contains("is ready after").then_some(())
    });
    fails(&of("sslmode=require&channel_binding=require"), &["does not bind the login"]);
    server.access("local all all trust\nhost all all 127.0.0.1/32 trust\n");
    server.psql("SELECT pg_reload_conf()");
    crate::support::eventually("nothing is requested", crate::support::secs(30), || {
        wait_with(&["--timeout", "1s", &of("require_auth=none")]).stderr.contains("is ready after").then_some(())
    });
    fails(&of("require_auth=scram-sha-256"), &["without authentication"]);
}

#[test]
fn tls_begins_at_once_where_the_server_can() {
    let test = "targets::parameters::tls_begins_at_once_where_the_server_can";
    let certificates = Certificates::make();
    let Some(mut server) = Postgres::current(test) else { return };
    server.stop();
    server.certificate(&certificates, "server");
    server.launch();
    server.until_up();
    let ca = certificates.pem("ca");
    passes(&format!("{}?sslmode=require&sslnegotiation=direct&channel_binding=require", server.url()));
    passes(&format!("{}?sslmode=verify-full&sslrootcert={}&sslnegotiation=direct", server.url(), ca.display()));
    let mut older = Postgres::reserve();
    older.certificate(&certificates, "server");
    older.launch();
    older.until_up();
    fails(&format!("{}?sslmode=require&sslnegotiation=direct", older.url()), &["connection closed"]);
}

#[test]
fn options_are_sent_with_the_login() {
    let server = Postgres::start();
    passes(&format!("{}?options=-csearch_path%3Dtenant", server.url()));
    fails(&format!("{}?options=-cno_such_setting%3D1", server.url()), &["no_such_setting"]);
}

#[test]
fn of_several_hosts_the_first_that_will_do_is_taken() {
    let (primary, mut standby) = (Postgres::start(), Postgres::reserve());
    standby.standby();
    standby.launch();
    standby.until_up();
    let url = |ports: &[u16], parameters: &str| {
        let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("postgres://app:{}@{}/app?{parameters}", percent(PASSWORD), hosts.join(","))
    };
    let dead = free_port();
    passes(&url(&[dead, primary.port], ""));
    for (role, well) in [("read-write", true), ("standby", true), ("prefer-standby", true), ("any", true)] {
        for ports in [[primary.port, standby.port], [standby.port, primary.port]] {
            let said = wait_with(&["--timeout", "2s", &url(&ports, &format!("target_session_attrs={role}"))]);
            assert_eq!(said.stderr.contains("is ready after"), well, "{role}: {}", said.stderr);
        }
    }
    passes(&url(&[dead, primary.port], "target_session_attrs=prefer-standby"));
    fails(&url(&[dead, standby.port], "target_session_attrs=primary"), &["peer not ready", "refused", "is a standby"]);
    passes(&url(&[dead, dead, primary.port], "load_balance_hosts=random"));
    passes(&format!("postgres://app:{}@no-such-host.invalid:{}/app?hostaddr=127.0.0.1", percent(PASSWORD), primary.port));
    // Who refuses the login refuses it for all.
    let wrong = url(&[primary.port, standby.port], "").replace(&percent(PASSWORD), "wrong");
    let said = wait_with(&["--timeout", "10s", "--fail-fast", &wrong]).exits(69).says(&["28P01"]);
    assert!(!said.stderr.contains(&standby.port.to_string()) || said.stderr.contains(&format!("127.0.0.1:{}: ", primary.port)));
}

#[test]
fn a_redis_user_without_a_password_logs_in_as_redis_py_does() {
    let server = Redis::with_password("secret");
    server.command(&["ACL", "SETUSER", "me", "on", "nopass", "+@all"]);
    server.command(&["ACL", "SETUSER", "you", "on", ">open-sesame", "+@all"]);
    let url = |login: &str, query: &str| format!("redis://{login}127.0.0.1:{}/0{query}", server.port);
    passes(&url("me:@", ""));
    passes(&url("me@", ""));
    passes(&url("", "?username=you&password=open-sesame"));
    passes(&url("you:open-sesame@", "?username=me&password=wrong"));
    fails(&url("you@", ""), &["authentication failed", "WRONGPASS"]);
    fails(&url("", ""), &["authentication failed", "NOAUTH"]);
}

#[test]
fn wait_reads_passwords_from_variables_and_files_like_the_servers_own_clients() {
    let (postgres, redis) = (Postgres::start(), Redis::with_password("right password"));
    let database = format!("postgres://app@127.0.0.1:{}/app", postgres.port);
    let cache = format!("redis://127.0.0.1:{}/0", redis.port);
    let wait = |variables: &[(&str, &str)], url: &str| {
        let run = variables.iter().fold(Portcullis::new(), |run, (name, value)| run.env(name, *value));
        let said = run.args(&["wait", "--timeout", "2s", url]).output();
        assert!(!said.stderr.contains("right password") && !said.stderr.contains(PASSWORD), "{}", said.stderr);
        said
    };
    wait(&[("PGPASSWORD", PASSWORD)], &database).exits(0);
    wait(&[("REDISCLI_AUTH", "right password")], &cache).exits(0);
    // What the URL names stands above it.
    wait(&[("PGPASSWORD", PASSWORD)], &database.replace("app@", "app:wrong@")).exits(69);
    wait(&[("DB_PASSWORD", PASSWORD)], &database.replace("app@", "app:${DB_PASSWORD}@")).exits(0);
    let file = Portcullis::new();
    let path = file.script("secret", "").with_file_name("password");
    std::fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    let path = path.to_str().unwrap();
    wait(&[("PGPASSWORD_FILE", path)], &database).exits(0);
    wait(&[("DB_PASSWORD_FILE", path)], &database.replace("app@", "app:${DB_PASSWORD}@")).exits(0);
    wait(&[], &database.replace("app@", "app:${DB_PASSWORD}@")).exits(64).says(&["target 1", "DB_PASSWORD is not set"]);
    // A dollar alone is one.
    wait(&[("PGPASSWORD", PASSWORD)], &database.replace("app@", "app:$DB$$@")).exits(69).says(&["28P01"]);
}
