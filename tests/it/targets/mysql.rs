//! A current MySQL: every authentication method, with and without TLS, and an impostor that requests the password in clear.

use super::{fails, passes, wait_with};
use crate::support::postgres::{PASSWORD, percent};
use crate::support::secure::{Opening, Secure};
use crate::support::{Certificates, Impostor, MySql, Portcullis};

#[test]
fn a_current_mysql_accepts_the_login_with_a_cold_cache_and_without_tls() {
    let test = "targets::mysql::a_current_mysql_accepts_the_login_with_a_cold_cache_and_without_tls";
    let Some(server) = MySql::start(test, PASSWORD, &[]) else { return };
    let url = |parameters: &str| format!("mysql://app:{}@127.0.0.1:{}/app?{parameters}", percent(PASSWORD), server.port);
    let cold = || drop(server.sql("FLUSH PRIVILEGES"));
    fails(&url("sslmode=disable&allowPublicKeyRetrieval=false"), &["authentication failed", "forbids"]);
    passes(&url("sslmode=disable"));
    // It remembers now.
    passes(&url("sslmode=disable&get-server-public-key=0"));
    for parameters in ["sslmode=require", "", "sslmode=disable"] {
        cold();
        passes(&url(parameters));
    }
    cold();
    let key = server.file("public_key.pem");
    passes(&url(&format!("sslmode=disable&server-public-key-path={}", key.display())));
    let other = Portcullis::new();
    let made = std::process::Command::new("sh").args(["-c", "openssl genrsa 2048 2>/dev/null | openssl rsa -pubout 2>/dev/null"]).output();
    let other = other.script("other.pem", "").with_file_name("key.pem");
    std::fs::write(&other, made.unwrap().stdout).unwrap();
    cold();
    fails(&url(&format!("sslmode=disable&server-public-key-path={}", other.display())), &["authentication failed"]);
    passes(&format!("mysql://app:{}@localhost/app?socket={}", percent(PASSWORD), server.socket().display()));
    cold();
    fails(&url("sslmode=disable").replace(&percent(PASSWORD), "wrong"), &["authentication failed", "1045"]);
    let quoted = PASSWORD.replace('\'', "\\'");
    if server.try_sql(&format!("CREATE USER old@'%' IDENTIFIED WITH sha256_password BY '{quoted}'; GRANT ALL ON app.* TO old@'%'")).is_ok()
    {
        for parameters in ["sslmode=disable", "sslmode=require"] {
            passes(&url(parameters).replace("//app:", "//old:"));
        }
    }
}

/// A MySQL that is none: it greets without an offer of TLS, and answers everything by `asks`.
fn impostor_with(asks: &'static [u8]) -> Impostor {
    let mut greeting = b"\x0a8.0.36\0\x01\0\0\x0012345678\0\xfe\xf7\x2d\x02\0\xff\x81\x15".to_vec();
    greeting.extend_from_slice(b"\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0caching_sha2_password\0");
    Impostor::start(Some(packet(0, &greeting)), move |count, _| packet(2 * count as u8, asks))
}

/// One behind TLS after a plain greeting; the client requested TLS in between.
fn impostor_behind_tls(asks: &'static [u8], certificates: &Certificates) -> (Impostor, Secure) {
    let impostor = Impostor::start(None, move |count, _| packet(2 * count as u8 + 1, asks));
    let secure = Secure::after(Opening::Mysql, impostor.port, certificates);
    (impostor, secure)
}

fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
    [&[body.len() as u8, 0, 0, sequence][..], body].concat()
}

/// A request for the password by the plugin that sends it as it is.
const CLEAR: &[u8] = b"\xfemysql_clear_password\0";

#[test]
fn an_impostor_never_gets_the_password_in_clear() {
    for asks in [CLEAR, b"\x01\x04", b"\xfesha256_password\0abcdefghijklmnopqrst\0", b"\xfedialog\0"] {
        let impostor = impostor_with(asks);
        wait_with(&["--timeout", "300ms", &format!("mysql://app:open-sesame@127.0.0.1:{}/app", impostor.port)]).exits(69);
        assert!(impostor.has_received("app") && !impostor.has_received("open-sesame"), "{asks:?}");
    }
}

#[test]
fn over_unverified_tls_no_password_is_sent_in_clear() {
    let certificates = Certificates::make();
    let ask = |asks: &'static [u8], parameters: &str| {
        let (impostor, secure) = impostor_behind_tls(asks, &certificates);
        let url = format!("mysql://app:open-sesame@127.0.0.1:{}/app?{parameters}", secure.port);
        let said = wait_with(&["--timeout", "5s", "--fail-fast", &url]).exits(69);
        assert!(impostor.has_received("app"), "{parameters}: the login reaches it: {}", said.stderr);
        (impostor.has_received("open-sesame"), said)
    };
    for parameters in ["", "sslmode=prefer", "sslmode=require", "ssl-mode=REQUIRED"] {
        let (reported, said) = ask(CLEAR, parameters);
        assert!(!reported, "{parameters}: {}", said.stderr);
        said.says(&["authentication failed", "mysql_clear_password", "verified certificate"]);
        assert!(!ask(b"\xfedialog\0", parameters).0, "{parameters}");
    }
    // To a proven server the password is sent: then the impostor gets it.
    let ca = certificates.pem("ca");
    assert!(ask(CLEAR, &format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={}", ca.display())).0);
}
