//! A current MySQL: every way to prove a password to it, with TLS and without, and an impostor that wants it in clear.

use super::{fails, passes, wait_with};
use crate::support::postgres::{PASSWORD, percent};
use crate::support::secure::{Opening, Secure};
use crate::support::{Certificates, MySql, Portcullis};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

#[test]
fn a_current_mysql_takes_the_login_with_a_cold_cache_and_without_tls() {
    let test = "targets::mysql::a_current_mysql_takes_the_login_with_a_cold_cache_and_without_tls";
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

/// A MySQL that is none: it switches to a plugin, or wants the password itself, and keeps what it is told.
struct Impostor {
    port: u16,
    told: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    /// Greets, without an offer of TLS, and answers everything by `asks`.
    fn start(asks: &'static [u8]) -> Self {
        let mut greeting = b"\x0a8.0.36\0\x01\0\0\x0012345678\0\xfe\xf7\x2d\x02\0\xff\x81\x15".to_vec();
        greeting.extend_from_slice(b"\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0caching_sha2_password\0");
        Self::with(Some(greeting), asks)
    }

    /// Behind TLS that another has greeted and agreed on, it answers everything by `asks`.
    fn behind_tls(asks: &'static [u8], certificates: &Certificates) -> (Self, Secure) {
        let impostor = Self::with(None, asks);
        let secure = Secure::after(Opening::Mysql, impostor.port, certificates);
        (impostor, secure)
    }

    fn with(greeting: Option<Vec<u8>>, asks: &'static [u8]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let told: Arc<Mutex<Vec<u8>>> = Arc::default();
        let heard = Arc::clone(&told);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, heard, greeting) = (stream.unwrap(), Arc::clone(&heard), greeting.clone());
                std::thread::spawn(move || converse(stream, greeting, asks, &heard));
            }
        });
        Self { port, told }
    }

    fn was_told(&self, text: &str) -> bool {
        let told = self.told.lock().unwrap();
        told.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

fn converse(mut stream: TcpStream, greeting: Option<Vec<u8>>, asks: &[u8], heard: &Mutex<Vec<u8>>) {
    let packet = |sequence: u8, body: &[u8]| [&[body.len() as u8, 0, 0, sequence][..], body].concat();
    // The client asked for TLS in between where somebody else has greeted.
    let first = if greeting.is_some() { 2 } else { 3 };
    if let Some(greeting) = greeting {
        drop(stream.write_all(&packet(0, &greeting)));
    }
    let mut buffer = [0; 4096];
    for sequence in [first, first + 2, first + 4] {
        let Ok(count @ 1..) = stream.read(&mut buffer) else { return };
        heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        drop(stream.write_all(&packet(sequence, asks)));
    }
}

/// A request for the password by the plugin that sends it as it is.
const CLEAR: &[u8] = b"\xfemysql_clear_password\0";

#[test]
fn an_impostor_is_never_told_the_password_in_clear() {
    for asks in [CLEAR, b"\x01\x04", b"\xfesha256_password\0abcdefghijklmnopqrst\0", b"\xfedialog\0"] {
        let impostor = Impostor::start(asks);
        wait_with(&["--timeout", "300ms", &format!("mysql://app:open-sesame@127.0.0.1:{}/app", impostor.port)]).exits(69);
        assert!(impostor.was_told("app") && !impostor.was_told("open-sesame"), "{asks:?}");
    }
}

#[test]
fn over_tls_that_proves_nobody_no_password_is_told_in_clear() {
    let certificates = Certificates::make();
    let ask = |asks: &'static [u8], parameters: &str| {
        let (impostor, secure) = Impostor::behind_tls(asks, &certificates);
        let url = format!("mysql://app:open-sesame@127.0.0.1:{}/app?{parameters}", secure.port);
        let said = wait_with(&["--timeout", "5s", "--fail-fast", &url]).exits(69);
        assert!(impostor.was_told("app"), "{parameters}: the login reaches it: {}", said.stderr);
        (impostor.was_told("open-sesame"), said)
    };
    for parameters in ["", "sslmode=prefer", "sslmode=require", "ssl-mode=REQUIRED"] {
        let (told, said) = ask(CLEAR, parameters);
        assert!(!told, "{parameters}: {}", said.stderr);
        said.says(&["authentication failed", "mysql_clear_password", "verified certificate"]);
        assert!(!ask(b"\xfedialog\0", parameters).0, "{parameters}");
    }
    // Who is proven is told: the impostor would hear it.
    let ca = certificates.pem("ca");
    assert!(ask(CLEAR, &format!("ssl-mode=VERIFY_IDENTITY&ssl-ca={}", ca.display())).0);
}
