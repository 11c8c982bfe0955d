//! Asks an HTTP endpoint and compares its answer with what is expected of it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use url::{Position, Url};

use super::dial::{Duplex, class_of_chain, dial, words_of_chain};
use super::tls;
use crate::outcome::{Cause, Class, Failure};
use crate::plan::target::{Address, Expect, HttpTarget};

/// The longest body that is read: what is expected has to stand in its first 256 KiB.
const LONGEST_BODY: usize = 256 * 1024;

/// The longest head that is read, in bytes; servers and proxies allow 8 to 32 KiB.
const LONGEST_HEAD: usize = 64 * 1024;

/// The most headers that are read; what one takes of the head at the least is not worth more.
const MOST_HEADERS: usize = 1000;

/// A check of an HTTP endpoint. No connection is kept: whether the server accepts a new one is part of the question.
#[derive(Debug)]
pub(super) struct HttpProbe {
    target: HttpTarget,
    /// Read once, for it takes milliseconds; none without https.
    tls: Option<Arc<ClientConfig>>,
    /// Whether the server may have heard the last question.
    reached: bool,
}

impl HttpProbe {
    pub(super) const fn new(target: HttpTarget) -> Self {
        Self { target, tls: None, reached: true }
    }

    /// Whether the server may have heard the last question: a connection to it came about.
    pub(super) const fn reached(&self) -> bool {
        self.reached
    }

    /// Sends the request. Redirects are answers, not followed: the status that was expected is the one that is compared.
    pub(super) async fn ask(&mut self, within: Duration) -> Result<(), Failure> {
        self.reached = false;
        let result = self.exchange(within).await;
        if result.as_ref().is_err_and(|failure| failure.class == Class::Tls) {
            // The files of the certificates are read again: they may have been renewed.
            self.tls = None;
        }
        result
    }

    async fn exchange(&mut self, within: Duration) -> Result<(), Failure> {
        let wrong = |what: &str| Failure::new(Class::Internal, &format!("the URL {what}"));
        let url = Url::parse(self.target.url.expose()).map_err(|_| wrong("cannot be read"))?;
        let host = url.host_str().ok_or_else(|| wrong("names no host"))?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or_else(|| wrong("names no port"))?;
        let request = request(&self.target, &url)?;
        let mut stream: Box<dyn Duplex> = Box::new(dial(&Address { host: host.clone(), port }, within).await?);
        self.reached = true;
        if url.scheme() == "https" {
            let config = match &self.tls {
                Some(config) => config,
                None => self.tls.insert(Arc::new(tls::config(&self.target.tls, &[b"http/1.1"])?)),
            };
            stream = Box::new(tls::wrap(stream, &host, Arc::clone(config)).await?);
        }
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .max_headers(MOST_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| failure(&error))?;
            judge(&self.target.expect, response).await
        };
        tokio::pin!(answer);
        tokio::select! {
            biased;
            judged = &mut answer => judged,
            // What was read before the end of the connection is still there to be judged.
            _ = connection => answer.await,
        }
    }
}

/// The request as the target orders it; nothing of the environment, such as a proxy, has a part in it.
fn request(target: &HttpTarget, url: &Url) -> Result<Request<Empty<Bytes>>, Failure> {
    let internal = |words: &str| Failure::new(Class::Internal, words);
    let method = Method::from_bytes(target.method.as_bytes()).map_err(|error| internal(&format!("method {}: {error}", target.method)))?;
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method;
    *request.uri_mut() =
        url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| internal("the path of the URL cannot be sent"))?;
    let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(|_| internal("the host cannot be sent"))?;
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if !url.username().is_empty() || url.password().is_some() {
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let account = [decoded(url.username()), decoded(url.password().unwrap_or_default())].join(&b':');
        let value =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(account))).map_err(|_| internal("the account cannot be sent"))?;
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in &target.headers {
        // The value may be a token, so the error says the name only.
        let wrong = || internal(&format!("header {name} is not one that can be sent"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.insert(key, HeaderValue::from_str(value.expose()).map_err(|_| wrong())?);
    }
    Ok(request)
}

/// Reads no more of the answer than it takes to judge it.
async fn judge(expect: &Expect, mut response: Response<Incoming>) -> Result<(), Failure> {
    let status = response.status().as_u16();
    let accepted = if expect.status.is_empty() { (200..300).contains(&status) } else { expect.status.contains(&status) };
    if !accepted {
        return Err(Failure::answered(status));
    }
    if expect.body.is_none() && expect.json.is_empty() {
        return Ok(());
    }
    let mut body = Vec::new();
    while let Some(frame) = response.frame().await {
        let known = body.len();
        body.extend_from_slice(frame.map_err(|error| failure(&error))?.data_ref().map_or(&[], |chunk| chunk));
        if expect.json.is_empty() && expect.body.as_ref().is_some_and(|text| holds_since(&body, known, text.as_bytes())) {
            return Ok(());
        }
        if body.len() > LONGEST_BODY {
            body.truncate(LONGEST_BODY);
            break;
        }
    }
    matches_body(expect, &body).map_err(|words| Failure::new(Class::Status, &words).because(Cause::Body))
}

/// Whether `text` ends in what has come behind the first `known` bytes of `body`.
fn holds_since(body: &[u8], known: usize, text: &[u8]) -> bool {
    let from = known.saturating_sub(text.len());
    !text.is_empty() && body.get(from..).is_some_and(|tail| tail.windows(text.len()).any(|window| window == text))
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

/// What an error of the exchange means.
fn failure(error: &hyper::Error) -> Failure {
    let class = if let Some(words) = tls_words(error) {
        return Failure::new(Class::Tls, &words);
    } else if let Some(class) = class_of_chain(error) {
        class
    } else if error.is_incomplete_message() {
        Class::Refused
    } else {
        Class::Protocol
    };
    Failure::new(class, &words_of_chain(error)).once_connected()
}

/// What rustls says, wherever in the chain of causes it stands: a client's certificate is judged after the handshake.
fn tls_words(error: &hyper::Error) -> Option<String> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source()).find_map(|cause| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let rustls = cause.downcast_ref::<rustls::Error>().or_else(|| inner?.downcast_ref());
        rustls.map(tls::words)
    })
}

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
