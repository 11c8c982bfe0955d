//! A current MySQL: every way to prove a password to it, with TLS and without, and an impostor that wants it in clear.

use super::{fails, passes, wait_with};
use crate::support::postgres::{PASSWORD, percent};
use crate::support::{MySql, Portcullis};
use std::io::{Read, Write};
use std::net::TcpListener;
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
fn impostor(asks: &'static [u8]) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let told: Arc<Mutex<Vec<u8>>> = Arc::default();
    let heard = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, heard) = (stream.unwrap(), Arc::clone(&heard));
            std::thread::spawn(move || {
                let mut greeting = b"\x0a8.0.36\0\x01\0\0\x0012345678\0\xfe\xf7\x2d\x02\0\xff\x81\x15".to_vec();
                greeting.extend_from_slice(b"\0\0\0\0\0\0\0\0\0\0abcdefghijkl\0caching_sha2_password\0");
                let packet = |sequence: u8, body: &[u8]| [&[body.len() as u8, 0, 0, sequence][..], body].concat();
                drop(stream.write_all(&packet(0, &greeting)));
                let mut buffer = [0; 4096];
                for sequence in [2_u8, 4, 6] {
                    let Ok(count @ 1..) = stream.read(&mut buffer) else { return };
                    heard.lock().unwrap().extend_from_slice(&buffer[..count]);
                    drop(stream.write_all(&packet(sequence, asks)));
                }
            });
        }
    });
    (port, told)
}

#[test]
fn an_impostor_is_never_told_the_password_in_clear() {
    for asks in [&b"\xfemysql_clear_password\0"[..], b"\x01\x04", b"\xfesha256_password\0abcdefghijklmnopqrst\0", b"\xfedialog\0"] {
        let (port, told) = impostor(asks);
        wait_with(&["--timeout", "300ms", &format!("mysql://app:open-sesame@127.0.0.1:{port}/app")]).exits(69);
        let told = told.lock().unwrap();
        assert!(!told.is_empty() && !told.windows(11).any(|window| window == b"open-sesame"), "{asks:?}");
    }
}
