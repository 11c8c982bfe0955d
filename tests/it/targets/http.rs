//! HTTP with certificates, and several endpoints under one name.

use super::{fails, passes};
use crate::support::{Certificates, Hostile, Http, Manner, Portcullis, eventually, free_port, process, secs, wait};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// `openssl s_server`, which answers every GET with a page.
struct Https {
    port: u16,
    child: Child,
}

impl Https {
    fn start(certificates: &Certificates, name: &str, more: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new("openssl");
        command.args(["s_server", "-www", "-quiet", "-accept", &port.to_string()]).current_dir(certificates.path());
        command.arg("-cert").arg(certificates.pem(name)).arg("-key").arg(certificates.key(name)).args(more);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start openssl");
        eventually("openssl listens", secs(20), || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, child }
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        process::send(i32::try_from(self.child.id()).expect("pid"), 9);
        drop(self.child.wait());
    }
}

/// A run that waits for one check and then says `started`.
fn gate(check: &str) -> Portcullis {
    Portcullis::new().config(&format!("{check}\n[modes.api]\ncommand = [\"echo\", \"started\"]\n")).env("MODE", "api")
}

#[test]
fn https_is_verified_against_the_given_authority() {
    let certificates = Certificates::make();
    let server = Https::start(&certificates, "server", &[]);
    let ca = certificates.pem("ca");
    let url = format!("https://localhost:{}/", server.port);
    fails(&url, &["tls handshake failed", "UnknownIssuer", "no trusted authority"]);
    let with = |more: &str| gate(&format!("[checks.it]\nurl = \"{url}\"\nwait = \"2s\"\n{more}")).output();
    assert_eq!(with(&format!("ca = \"{}\"", ca.display())).exits(0).stdout, "started\n");
    assert_eq!(with("insecure = true").exits(0).stdout, "started\n");
    let trusted = Portcullis::new().args(["wait", "--timeout", "2s", &url]).env("SSL_CERT_FILE", &ca);
    trusted.output().exits(0);
    let wait = |more: &[&str]| super::wait_with(&[&["--timeout", "2s"], more].concat());
    wait(&["--ca", &ca.display().to_string(), &url]).exits(0);
    wait(&["--insecure", &url]).exits(0);
    wait(&["--insecure", "--ca", &ca.display().to_string(), &url]).exits(64).says(&["--insecure", "`ca` has no effect"]);
    wait(&["--ca", "/nonexistent.pem", &url]).exits(69).says(&["tls handshake failed", "/nonexistent.pem"]);
    wait(&["--ca", "/ca.pem", "--client-key", "/key.pem", "tcp://h:1"]).exits(64).says(&["--ca, --client-key", "there is none"]);
    let other = Https::start(&certificates, "other", &[]);
    let said =
        gate(&format!("[checks.it]\nurl = \"https://localhost:{}/\"\nwait = \"1s\"\nca = \"{}\"", other.port, ca.display())).output();
    said.exits(69).says(&["tls", "belongs to another host"]);
}

#[test]
fn a_client_certificate_is_shown() {
    let certificates = Certificates::make();
    let server = Https::start(&certificates, "server", &["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"]);
    let own = format!(
        "client_certificate = \"{}\"\nclient_key = \"{}\"",
        certificates.pem("client").display(),
        certificates.key("client").display()
    );
    let check = |more: &str| {
        let ca = certificates.pem("ca");
        let url = format!("https://localhost:{}/", server.port);
        gate(&format!("[checks.it]\nurl = \"{url}\"\nwait = \"1s\"\nca = \"{}\"\n{more}", ca.display())).output()
    };
    assert_eq!(check(&own).exits(0).stdout, "started\n");
    let (ca, certificate, key) = (certificates.pem("ca"), certificates.pem("client"), certificates.key("client"));
    let files = [("--ca", ca), ("--client-certificate", certificate), ("--client-key", key)];
    let flags = files.iter().flat_map(|(flag, file)| [(*flag).to_owned(), file.display().to_string()]);
    let url = format!("https://localhost:{}/", server.port);
    Portcullis::new().args(["wait".to_owned(), "--timeout".to_owned(), "2s".to_owned(), url].into_iter().chain(flags)).output().exits(0);
    check("").exits(69).says(&["tls", "client certificate"]);
}

#[test]
fn several_endpoints_have_a_key_each_and_one_result() {
    let (one, two) = (Http::answering(200, "{}"), Http::answering(401, "{}"));
    let check = format!(
        "[checks.dify]\nwait = \"60s\"\ninterval = \"300ms\"\n\
         [[checks.dify.targets]]\nname = \"chat\"\nurl = \"http://127.0.0.1:{}/v1\"\nbearer = \"${{CHAT_KEY}}\"\n\
         [[checks.dify.targets]]\nname = \"flow\"\nurl = \"http://127.0.0.1:{}/v1\"\nheaders = {{ X-Key = \"${{FLOW_KEY}}\" }}\n",
        one.port, two.port
    );
    let mut run = gate(&check).env("CHAT_KEY", "app-chat-secret").env("FLOW_KEY", "app-flow-secret").start();
    eventually("both were probed", secs(20), || (!one.seen().is_empty() && !two.seen().is_empty()).then_some(()));
    run.until_stderr("1 of 2 failed, first flow: the answer's status is 401", secs(20));
    two.set(200, "{}");
    run.exits(0);
    assert_eq!(run.streams().0, "started\n");
    assert!(one.seen().concat().to_lowercase().contains("authorization: bearer app-chat-secret"));
    assert!(two.seen().concat().to_lowercase().contains("x-key: app-flow-secret"));
    assert!(!run.streams().1.contains("secret"), "{}", run.streams().1);
}

/// A server that keeps every request in hand until it is let go, and counts how many it has had in hand at once.
struct Held {
    port: u16,
    state: Arc<(Mutex<Hands>, Condvar)>,
}

#[derive(Default)]
struct Hands {
    now: usize,
    most: usize,
    all: usize,
    let_go: bool,
}

impl Held {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let (port, state) = (listener.local_addr().unwrap().port(), Arc::<(Mutex<Hands>, Condvar)>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(Self::hold(&stream, &shared)));
            }
        });
        Self { port, state }
    }

    fn hold(mut stream: &TcpStream, (hands, bell): &(Mutex<Hands>, Condvar)) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines();
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        let mut held = hands.lock().unwrap();
        (held.now, held.all) = (held.now + 1, held.all + 1);
        held.most = held.most.max(held.now);
        let mut held = bell.wait_while(held, |held| !held.let_go).unwrap();
        // Counted before it is answered, so that the next request does not overlap with it.
        held.now -= 1;
        drop(held);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }

    /// How many are in hand, were at most, and were at all.
    fn counts(&self) -> (usize, usize, usize) {
        let held = self.state.0.lock().unwrap();
        (held.now, held.most, held.all)
    }

    fn let_go(&self) {
        self.state.0.lock().unwrap().let_go = true;
        self.state.1.notify_all();
    }
}

#[test]
fn as_many_endpoints_are_probed_at_once_as_parallel_permits() {
    for (parallel, at_once) in [("parallel = 2\n", 2), ("", 8)] {
        let server = Held::start();
        let target = |name: usize| format!("[[checks.many.targets]]\nname = \"n{name}\"\nurl = \"http://127.0.0.1:{}/\"\n", server.port);
        let targets: String = (0..12).map(target).collect();
        let mut run = gate(&format!("[checks.many]\nwait = \"60s\"\ntimeout = \"30s\"\ninterval = \"1h\"\n{parallel}{targets}")).start();
        eventually("so many are probed", secs(30), || (server.counts().0 == at_once).then_some(()));
        wait::never("one more is probed", Duration::from_millis(300), || server.counts().0 > at_once);
        server.let_go();
        run.exits(0);
        assert_eq!(run.streams().0, "started\n");
        let (_, most, all) = server.counts();
        assert!(most == at_once && all >= 12, "{most} at a time, {all} in all");
    }
}

#[test]
fn a_slow_head_and_a_slow_body_end_with_the_timeout() {
    let head = Hostile::new(Manner::Dripping(b"HTTP/1.1 200 OK\r\n"));
    fails(&format!("http://127.0.0.1:{}/", head.port), &["timed out"]);
    let body = Hostile::new(Manner::Dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"));
    let check =
        format!("[checks.it]\nurl = \"http://127.0.0.1:{}/\"\nwait = \"1s\"\ntimeout = \"500ms\"\nexpect = {{ body = \"up\" }}", body.port);
    gate(&check).output().exits(69).says(&["timed out"]);
    let server = Http::answering(204, "");
    passes(&format!("http://127.0.0.1:{}/", server.port));
    server.set(302, "");
    fails(&format!("http://127.0.0.1:{}/", server.port), &["the answer's status is 302"]);
}

#[test]
fn a_body_that_is_not_json_or_not_as_expected_is_recognized() {
    let server = Http::answering(200, "{\"status\": gree");
    let check = format!(
        "[checks.it]\nurl = \"http://127.0.0.1:{}/\"\nwait = \"1s\"\nexpect = {{ json = {{ \"/status\" = [\"green\"] }} }}",
        server.port
    );
    gate(&check).output().exits(69).says(&["unexpected answer", "the body is not JSON"]);
    server.set(200, "{\"status\": \"red\"}");
    gate(&check).output().exits(69).says(&["the body has \"red\" at \"/status\""]);
    server.set(200, "{\"status\": \"green\"}");
    assert_eq!(gate(&check).output().exits(0).stdout, "started\n");
}

#[test]
fn a_huge_body_is_read_no_further_than_is_looked_at() {
    let server = Hostile::new(Manner::Flooding(b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n", b"x"));
    let check = format!("[checks.it]\nurl = \"http://127.0.0.1:{}/\"\nwait = \"1s\"\nexpect = {{ body = \"up\" }}", server.port);
    gate(&check).output().exits(69).says(&["the body does not contain"]);
}

#[test]
fn an_expected_word_is_enough_of_an_answer_that_never_ends() {
    let server = Hostile::new(Manner::Dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nit is up"));
    let check = format!("[checks.it]\nurl = \"http://127.0.0.1:{}/\"\nwait = \"20s\"\nexpect = {{ body = \"up\" }}", server.port);
    assert_eq!(gate(&check).output().exits(0).stdout, "started\n");
}

#[test]
fn many_headers_are_an_answer() {
    let answer = format!("HTTP/1.1 204 No Content\r\n{}\r\n", (0..150).fold(String::new(), |text, n| text + &format!("x-{n}: a\r\n")));
    let server = Hostile::new(Manner::Dripping(answer.leak().as_bytes()));
    passes(&format!("http://127.0.0.1:{}/", server.port));
}
