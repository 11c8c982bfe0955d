//! Which redirects of an HTTP endpoint are followed, and which server then gets the check's credentials.

use super::{fails, passes};
use crate::support::{Portcullis, free_port};
use portcullis::outcome::{ErrorKind, Failure};
use portcullis::plan::target::{Expectation, HttpTarget, Target, Tls};
use portcullis::probe::Probe;
use portcullis::secret::Secret;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server that sends `/to/LOCATION` there and counts `/down/N` to 0; everything else is well.
struct Redirecting {
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Redirecting {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let (port, seen) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                let head = lines.collect::<Vec<_>>().join("\n");
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                shared.lock().unwrap().push(head);
                let down = path.strip_prefix("/down/").and_then(|count| count.parse::<u8>().ok()).filter(|count| *count > 0);
                let to = match (path.strip_prefix("/to/"), down) {
                    (Some(place), _) => Some(place.to_owned()),
                    (_, Some(count)) => Some(format!("/down/{}", count - 1)),
                    _ => None,
                };
                let answer = to.map_or("200 OK\r\n".to_owned(), |to| format!("302 Found\r\nLocation: {to}\r\n"));
                drop(write!(stream, "HTTP/1.1 {answer}Content-Length: 0\r\n\r\n"));
            }
        });
        Self { port, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().join("\n\n").to_lowercase()
    }
}

#[test]
fn up_to_five_redirects_are_followed_within_scheme_host_and_port() {
    let (server, other) = (Redirecting::start(), Redirecting::start());
    passes(&server.url("/to//new"));
    passes(&server.url("/down/5"));
    fails(&server.url("/down/6"), &["the answer's status is 302, a redirect that is not followed"]);
    for elsewhere in [other.url("/"), format!("http://localhost:{}/", server.port), format!("https://127.0.0.1:{}/", server.port)] {
        fails(&server.url(&format!("/to/{elsewhere}")), &["the answer's status is 302, a redirect that is not followed"]);
    }
    assert_eq!(other.seen(), "");
    // Credentials of the URL go along.
    passes(&format!("http://me:open-sesame@127.0.0.1:{}/to//mine", server.port));
    let mine = server.seen().split("\n\n").find(|head| head.starts_with("get /mine ")).map(str::to_owned);
    assert!(mine.is_some_and(|head| head.contains("\nauthorization: basic ")), "{}", server.seen());
}

#[test]
fn a_redirect_that_is_expected_is_not_followed() {
    let server = Redirecting::start();
    let check = format!("[checks.it]\nurl = \"{}\"\nwait = \"2s\"\nexpect = {{ status = 302 }}\n", server.url("/to//new"));
    let run = Portcullis::new().config(&format!("{check}[modes.api]\ncommand = [\"echo\", \"started\"]\n")).env("MODE", "api");
    assert_eq!(run.output().exits(0).stdout, "started\n");
    assert!(!server.seen().contains("get /new http"), "{}", server.seen());
}

#[test]
fn the_key_of_a_check_sets_how_many_are_followed() {
    let (server, other) = (Redirecting::start(), Redirecting::start());
    for (redirects, code) in [(0, 69), (1, 0)] {
        let url = server.url(&format!("/to/{}", other.url("/there")));
        let check = format!("[checks.it]\nurl = \"{url}\"\nwait = \"1s\"\nredirects = {redirects}\n");
        let run = Portcullis::new().config(&format!("{check}[modes.api]\ncommand = [\"echo\", \"started\"]\n")).env("MODE", "api");
        run.output().exits(code);
        assert_eq!(other.seen().contains("get /there http"), redirects > 0, "{}", other.seen());
    }
}

/// Asks `url` once with an account in the URL, a bearer token and a key, following so many redirects.
fn requested(url: &str, redirects: Option<u8>) -> Result<(), Failure> {
    let target = HttpTarget {
        url: Secret::unlisted(url.replace("://", "://me:open-sesame@")),
        shown: url.to_owned(),
        method: "GET".to_owned(),
        masked_key: None,
        headers: [("X-Key", "key-of-ours"), ("Cookie", "session=ours")]
            .map(|(name, value)| (name.to_owned(), Secret::unlisted(value)))
            .into(),
        expect: Expectation::default(),
        tls: Tls::default(),
        redirects,
        environment_proxy: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { Probe::new(&Target::Http(target)).probe(Duration::from_secs(20)).await.result })
}

#[test]
fn another_host_that_may_be_followed_to_gets_no_credentials() {
    let (server, other) = (Redirecting::start(), Redirecting::start());
    requested(&server.url(&format!("/to/{}", other.url("/to//new"))), Some(2)).unwrap();
    let seen = other.seen();
    assert!(seen.contains("get /new http"), "{seen}");
    for secret in ["authorization", "x-key", "cookie", "referer", "sesame"] {
        assert!(!seen.contains(secret), "{seen}");
    }
    // Neither does the first host when it is led back to.
    let before = server.seen().len();
    requested(&server.url(&format!("/to/{}", other.url(&format!("/to/{}", server.url("/home"))))), Some(2)).unwrap();
    let home = server.seen()[before..].split("\n\n").find(|head| head.starts_with("get /home")).map(str::to_owned);
    assert!(home.is_some_and(|head| !head.contains("x-key")), "{}", server.seen());
    let refused = requested(&server.url(&format!("/to/{}", other.url("/to//new"))), Some(1)).unwrap_err();
    assert_eq!((refused.kind, refused.status), (ErrorKind::Status, Some(302)));
    assert_eq!(requested(&server.url("/to//new"), Some(0)).unwrap_err().status, Some(302));
}
