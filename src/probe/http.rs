//! Asks an HTTP endpoint and compares its answer with what is expected of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, redirect};

use super::dial::{class_of_chain, resolve, words_of_chain};
use super::tls;
use crate::outcome::{Class, Failure};
use crate::plan::target::{Address, Expect, HttpTarget, Tls, Verify};

/// The longest body that is read: what is expected has to stand in its first 256 KiB.
const LONGEST_BODY: usize = 256 * 1024;

/// A check of an HTTP endpoint. No connection is kept: whether the server accepts a new one is part of the question.
#[derive(Debug)]
pub(super) struct HttpProbe {
    target: HttpTarget,
    client: Option<Client>,
    names: Arc<Names>,
}

impl HttpProbe {
    pub(super) fn new(target: HttpTarget) -> Self {
        Self { target, client: None, names: Arc::default() }
    }

    /// Sends the request. Redirects are answers, not followed: the status that was expected is the one that is compared.
    pub(super) async fn ask(&mut self, within: Duration) -> Result<(), Failure> {
        self.names.within_ms.store(within.as_millis() as u64, Ordering::Relaxed);
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(client(&self.target, &self.names)?),
        };
        let request = client
            .request(method(&self.target.method)?, self.target.url.expose())
            .headers(headers(&self.target)?)
            .build()
            .map_err(|error| Failure::new(Class::Internal, &words_of_chain(&error.without_url())))?;
        let result = match client.execute(request).await {
            Ok(response) => judge(&self.target.expect, response).await,
            Err(error) => Err(failure(&error.without_url())),
        };
        if result.as_ref().is_err_and(|failure| failure.class == Class::Tls) {
            // The files of the certificates are read again: they may have been renewed.
            self.client = None;
        }
        result
    }
}

/// A client that does nothing on its own: no proxy from the environment, no redirects, no pool.
fn client(target: &HttpTarget, names: &Arc<Names>) -> Result<Client, Failure> {
    // Without https there is no need of certificates, which take milliseconds to read.
    let plain = !target.url.expose().starts_with("https:");
    let tls = if plain { Tls { verify: Verify::Nothing, ..Tls::default() } } else { target.tls.clone() };
    Client::builder()
        .tls_backend_preconfigured(tls::config(&tls, &[b"http/1.1"])?)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::clone(names))
        .build()
        .map_err(|error| Failure::new(Class::Internal, &words_of_chain(&error)))
}

fn method(name: &str) -> Result<Method, Failure> {
    Method::from_bytes(name.as_bytes()).map_err(|error| Failure::new(Class::Internal, &format!("method {name}: {error}")))
}

fn headers(target: &HttpTarget) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &target.headers {
        // The value may be a token, so the error says the name only.
        let wrong = || Failure::new(Class::Internal, &format!("header {name} is not one that can be sent"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

/// Reads no more of the answer than it takes to judge it.
async fn judge(expect: &Expect, mut response: Response) -> Result<(), Failure> {
    let status = response.status().as_u16();
    let accepted = if expect.status.is_empty() { (200..300).contains(&status) } else { expect.status.contains(&status) };
    if !accepted {
        return Err(Failure::answered(status));
    }
    if expect.body.is_none() && expect.json.is_empty() {
        return Ok(());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error.without_url()))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST_BODY {
            body.truncate(LONGEST_BODY);
            break;
        }
    }
    matches_body(expect, &body).map_err(|words| Failure::new(Class::Status, &words))
}

/// Whether a body holds what is expected, else what is missing.
fn matches_body(expect: &Expect, body: &[u8]) -> Result<(), String> {
    if let Some(text) = &expect.body
        && !String::from_utf8_lossy(body).contains(text.as_str())
    {
        return Err(format!("the body does not hold {text:?}"));
    }
    if expect.json.is_empty() {
        return Ok(());
    }
    let document: serde_json::Value = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
    for (pointer, accepted) in &expect.json {
        match document.pointer(pointer) {
            Some(found) if accepted.contains(found) => {}
            Some(found) => return Err(format!("the body has {found} at {pointer:?}")),
            None => return Err(format!("the body has nothing at {pointer:?}")),
        }
    }
    Ok(())
}

/// What an error of the client means; the caller has taken the URL off it, which may hold a key.
fn failure(error: &reqwest::Error) -> Failure {
    let class = if is_nameless(error) {
        Class::Dns
    } else if let Some(words) = tls_words(error) {
        return Failure::new(Class::Tls, &words);
    } else if let Some(class) = class_of_chain(error) {
        class
    } else if error.is_timeout() {
        Class::Timeout
    } else if is_cut_short(error) {
        Class::Refused
    } else {
        Class::Protocol
    };
    Failure::new(class, &words_of_chain(error))
}

fn is_nameless(error: &reqwest::Error) -> bool {
    causes(error).any(<dyn std::error::Error + 'static>::is::<Nameless>)
}

/// What rustls says, wherever in the chain of causes it stands.
fn tls_words(error: &reqwest::Error) -> Option<String> {
    causes(error).find_map(|cause| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let rustls = cause.downcast_ref::<rustls::Error>().or_else(|| innermost(inner?));
        rustls.map(tls::words)
    })
}

/// hyper wraps one error of the socket layer in another.
fn innermost<'e>(error: &'e (dyn std::error::Error + Send + Sync + 'static)) -> Option<&'e rustls::Error> {
    error.downcast_ref().or_else(|| innermost(error.downcast_ref::<std::io::Error>()?.get_ref()?))
}

fn is_cut_short(error: &reqwest::Error) -> bool {
    causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>()).any(hyper::Error::is_incomplete_message)
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}

/// Resolves names as every other probe does, so that a missing one has its class.
#[derive(Debug, Default)]
struct Names {
    /// What the question at hand leaves for it; the client outlives the question.
    within_ms: AtomicU64,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let within = Duration::from_millis(self.within_ms.load(Ordering::Relaxed));
        Box::pin(async move {
            // The client puts the URL's port in place of 0.
            let address = Address { host: name.as_str().to_owned(), port: 0 };
            let addresses = resolve(&address, within).await.map_err(Nameless)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// A host without an address.
#[derive(Debug)]
struct Nameless(Failure);

impl fmt::Display for Nameless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.private.as_str())
    }
}

impl std::error::Error for Nameless {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_compared_with_what_is_expected() {
        let body = br#"{"status":"green","nodes":3,"a/b":[true]}"#;
        let expect = |text: Option<&str>, json: Vec<(&str, Vec<serde_json::Value>)>| Expect {
            status: vec![],
            body: text.map(str::to_owned),
            json: json.into_iter().map(|(pointer, values)| (pointer.to_owned(), values)).collect(),
        };
        for (passes, expect) in [
            (true, expect(Some("green"), vec![])),
            (false, expect(Some("red"), vec![])),
            (true, expect(None, vec![("/status", vec![json!("green"), json!("yellow")]), ("/nodes", vec![json!(3)])])),
            (true, expect(None, vec![("/a~1b/0", vec![json!(true)])])),
            (false, expect(None, vec![("/status", vec![json!("red")])])),
            (false, expect(None, vec![("/nodes", vec![json!("3")])])),
            (false, expect(None, vec![("/missing", vec![json!(null)])])),
        ] {
            assert_eq!(matches_body(&expect, body).is_ok(), passes, "{expect:?}");
        }
        assert!(matches_body(&expect(None, vec![("", vec![json!(1)])]), b"<html>").is_err());
    }
}
