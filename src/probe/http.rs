//! Requests an HTTP endpoint and compares its response with the expected one.

pub(super) mod client;

use std::time::Duration;

use reqwest::header::{ACCEPT, CONNECTION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response};
use rustls::ClientConfig;
use url::Url;

use super::tls;
use crate::outcome::{Detail, ErrorKind, Failure, Private};
use crate::plan::target::{Expectation, HttpTarget};

/// The maximum size of a body that is read: the expected content has to be in its first 256 KiB.
const LONGEST_BODY: usize = 256 * 1024;

/// How many redirects are followed by default, if scheme, host and port stay the same.
const REDIRECTS: u8 = 5;

/// A check of an HTTP endpoint. No connection is kept, because accepting a new one is part of the check.
#[derive(Debug)]
pub(super) struct HttpProbe {
    target: HttpTarget,
    /// The client, kept between requests, with its connect timeout.
    client: Option<(Duration, Client)>,
    /// The TLS configuration, read once because that takes milliseconds; none if TLS is not possible.
    tls: Option<ClientConfig>,
    /// Whether the server may have received the last request.
    reached: bool,
    /// The status of the last response to it; none without a response.
    status: Option<u16>,
}

impl HttpProbe {
    pub(super) const fn new(target: HttpTarget) -> Self {
        Self { target, client: None, tls: None, reached: true, status: None }
    }

    /// Whether the server may have received the last request; false only if there certainly was no connection.
    pub(super) const fn reached(&self) -> bool {
        self.reached
    }

    /// The status of the last response to the last request, also if its body is missing; none without a response.
    pub(super) const fn status(&self) -> Option<u16> {
        self.status
    }

    /// Sends the request and follows redirects according to the target; connecting may take `within`, and the caller limits the total time.
    pub(super) async fn probe(&mut self, within: Duration) -> Result<(), Failure> {
        (self.reached, self.status) = (true, None);
        let result = self.exchange(within).await;
        if result.as_ref().is_err_and(|failure| failure.kind == ErrorKind::Tls) {
            // The files of the certificates are read again: they may have been renewed.
            (self.client, self.tls) = (None, None);
        }
        result
    }

    async fn exchange(&mut self, within: Duration) -> Result<(), Failure> {
        let mut url = Url::parse(self.target.url.expose()).map_err(|_| internal("the URL cannot be read"))?;
        let client = self.client(within)?;
        let mut method = Method::from_bytes(self.target.method.as_bytes())
            .map_err(|error| internal(&format!("method {}: {error}", self.target.method)))?;
        let (mut left, elsewhere) = self.redirects();
        // Credentials are only for the host of the check; after a redirect to another host they are never sent again.
        let (mut trusted, mut answered) = (true, false);
        loop {
            let request = client.request(method.clone(), url.clone()).headers(headers(&self.target, trusted)?);
            let response = request.send().await.map_err(|error| {
                let error = client::ExchangeError::of(&error, &url, within);
                self.reached = error.connected || answered;
                error.failure
            })?;
            answered = true;
            self.status = Some(response.status().as_u16());
            match next(&response, &url) {
                Some(mut to) if left > 0 && (elsewhere || same_origin(&url, &to)) => {
                    left = left.saturating_sub(1);
                    if trusted && same_origin(&url, &to) {
                        // Neither can fail for a URL that has a host.
                        let _ = (to.set_username(url.username()), to.set_password(url.password()));
                    } else {
                        trusted = false;
                    }
                    if method != Method::HEAD && [301, 302, 303].contains(&response.status().as_u16()) {
                        // So do browsers and curl (RFC 9110, 15.4).
                        method = Method::GET;
                    }
                    url = to;
                }
                to => return judge(&self.target.expect, response, to.is_some()).await,
            }
        }
    }

    /// How many redirects are followed, and whether scheme, host or port may change.
    fn redirects(&self) -> (u8, bool) {
        match self.target.redirects {
            Some(most) => (most, true),
            None if self.target.expect.status.iter().any(|status| (300..400).contains(status)) => (0, false),
            None => (REDIRECTS, false),
        }
    }

    /// The client of this check; created again if the connect timeout has changed.
    fn client(&mut self, within: Duration) -> Result<Client, Failure> {
        if let Some((time, client)) = &self.client
            && *time == within
        {
            return Ok(client.clone());
        }
        let secure = self.target.url.expose().starts_with("https:") || self.target.redirects.is_some() || self.target.environment_proxy;
        let tls = match &self.tls {
            Some(config) => config,
            None if secure => self.tls.insert(tls::config(&self.target.tls, &[b"http/1.1"])?),
            None => self.tls.insert(tls::trusting_none()?),
        };
        let client = client::build(tls.clone(), self.target.environment_proxy, within)?;
        self.client = Some((within, client.clone()));
        Ok(client)
    }
}

fn internal(words: &str) -> Failure {
    Failure::new(ErrorKind::Internal, words)
}

/// The headers of the target; none for a host that is not `trusted`.
fn headers(target: &HttpTarget, trusted: bool) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in target.headers.iter().filter(|_| trusted) {
        // The value may be a token, so the error contains only the name.
        let wrong = || internal(&format!("header {name} cannot be sent"));
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.insert(key, HeaderValue::from_str(value.expose()).map_err(|_| wrong())?);
    }
    Ok(headers)
}

/// The target of a redirect, without credentials in it; none if the response is not a redirect (RFC 9110, 15.4).
fn next(response: &Response, from: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let mut to = from.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()?;
    let _ = (to.set_username(""), to.set_password(None));
    matches!(to.scheme(), "http" | "https").then_some(to)
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Reads only as much of the response as is needed.
async fn judge(expect: &Expectation, mut response: Response, redirect: bool) -> Result<(), Failure> {
    let status = response.status().as_u16();
    let accepted = if expect.status.is_empty() { (200..300).contains(&status) } else { expect.status.contains(&status) };
    if !accepted {
        let failure = Failure::answered(status);
        let words = format!("{}, a redirect that is not followed", failure.private.as_str());
        return Err(if redirect { Failure { private: Private::new(&words), ..failure } } else { failure });
    }
    if expect.body.is_none() && expect.json.is_empty() {
        return Ok(());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| client::response_failure(&error))? {
        let known = body.len();
        body.extend_from_slice(&chunk);
        if expect.json.is_empty() && expect.body.as_ref().is_some_and(|text| holds_since(&body, known, text.as_bytes())) {
            return Ok(());
        }
        if body.len() > LONGEST_BODY {
            body.truncate(LONGEST_BODY);
            break;
        }
    }
    matches_body(expect, &body).map_err(|words| Failure::new(ErrorKind::Status, &words).because(Detail::Body))
}

/// Whether `text` occurs in `body` with its end after the first `known` bytes.
fn holds_since(body: &[u8], known: usize, text: &[u8]) -> bool {
    let from = known.saturating_sub(text.len());
    !text.is_empty() && body.get(from..).is_some_and(|tail| tail.windows(text.len()).any(|window| window == text))
}

/// Checks that a body has the expected content; returns what is missing.
fn matches_body(expect: &Expectation, body: &[u8]) -> Result<(), String> {
    if let Some(text) = &expect.body
        && !String::from_utf8_lossy(body).contains(text.as_str())
    {
        return Err(format!("the body does not contain {text:?}"));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_compared_with_what_is_expected() {
        let body = br#"{"status":"green","nodes":3,"a/b":[true]}"#;
        let expect = |text: Option<&str>, json: Vec<(&str, Vec<serde_json::Value>)>| Expectation {
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
