//! One call of a Dify, with limits for time, size and parallelism.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONNECTION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use crate::outcome::{ErrorKind, Failure, Private};
use crate::plan::target::{DifyTarget, Tls};
use crate::probe::dial::shown;
use crate::probe::http::client;
use crate::probe::tls;
use crate::secret::Secret;

/// The longest response that is read completely. A page of fifty apps is a tenth of it.
const LONGEST: usize = 2 * 1024 * 1024;

/// The shared state of the calls of one Dify.
#[derive(Debug)]
pub(super) struct Callers {
    url: String,
    timeout: Duration,
    turns: Arc<Semaphore>,
    client: Option<Client>,
}

/// Makes the calls of one report.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    client: Client,
    url: Arc<str>,
    timeout: Duration,
    turns: Arc<Semaphore>,
    /// The deadline of the report.
    until: Instant,
}

/// The result of a call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) result: Result<HttpReply, Failure>,
    /// How long it took, without the wait for its turn.
    pub(super) elapsed: Duration,
}

/// A response with status 200 to 299.
#[derive(Debug)]
pub(super) struct HttpReply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

impl Callers {
    pub(super) fn new(target: &DifyTarget) -> Self {
        Self { url: target.url.clone(), timeout: target.timeout, turns: Arc::new(Semaphore::new(target.at_once)), client: None }
    }

    /// A caller for a report with the deadline `until`.
    pub(super) fn caller(&mut self, until: Instant) -> Result<Caller, Failure> {
        let client = match &self.client {
            Some(client) => client,
            None => {
                let tls =
                    if self.url.starts_with("https:") { tls::config(&Tls::default(), &[b"http/1.1"])? } else { tls::trusting_none()? };
                self.client.insert(client::build(tls, false, self.timeout)?)
            }
        };
        let (client, url) = (client.clone(), self.url.as_str().into());
        Ok(Caller { client, url, timeout: self.timeout, turns: Arc::clone(&self.turns), until })
    }

    /// The next report begins with a new client.
    pub(super) fn forget(&mut self) {
        self.client = None;
    }
}

impl Caller {
    /// A GET of this path and query.
    pub(super) async fn get(&self, path: &str, headers: &[(&'static str, HeaderValue)]) -> Call {
        self.call(Method::GET, path, headers, None).await
    }

    /// A POST of JSON, which is used only for the login.
    pub(super) async fn post(&self, path: &str, headers: &[(&'static str, HeaderValue)], json: String) -> Call {
        self.call(Method::POST, path, headers, Some(json)).await
    }

    async fn call(&self, method: Method, path: &str, headers: &[(&'static str, HeaderValue)], json: Option<String>) -> Call {
        let Ok(url) = Url::parse(&format!("{}{path}", self.url)) else {
            return Call::not_probed(Failure::new(ErrorKind::Internal, "the URL cannot be read"));
        };
        let turn = timeout_at(self.until, self.turns.acquire()).await;
        let began = Instant::now();
        if !matches!(turn, Ok(Ok(_))) || began >= self.until {
            return Call::not_probed(Failure::new(
                ErrorKind::Timeout,
                "it was not called: the time of the report was over before its turn",
            ));
        }
        let within = self.timeout.min(self.until.saturating_duration_since(began));
        let mut request = self.client.request(method, url.clone()).header(ACCEPT, "application/json").header(CONNECTION, "close");
        for (name, value) in headers {
            request = request.header(HeaderName::from_static(name), value);
        }
        if let Some(json) = json {
            request = request.header("content-type", "application/json").body(json);
        }
        // A status that arrived before the deadline is reported, too.
        let mut status = None;
        let answered = timeout(within, exchange(request, &url, self.timeout, &mut status)).await;
        let late = |_| Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(within))));
        let result = answered.unwrap_or_else(late).map_err(|failure| Failure { status, ..failure });
        Call { result, elapsed: began.elapsed() }
    }
}

async fn exchange(request: RequestBuilder, url: &Url, within: Duration, status: &mut Option<u16>) -> Result<HttpReply, Failure> {
    let response = request.send().await.map_err(|error| client::ExchangeError::of(&error, url, within).failure)?;
    let code = response.status().as_u16();
    *status = Some(code);
    if !response.status().is_success() {
        let failure = Failure::answered(code);
        let words = format!("{}, a redirect that is not followed: write its target in `url`", failure.private.as_str());
        return Err(if response.status().is_redirection() { Failure { private: Private::new(&words), ..failure } } else { failure });
    }
    let headers = response.headers().clone();
    let (body, whole) = read(response).await?;
    let answer = HttpReply { status: code, headers, body };
    if whole && code != 204 {
        answer.read::<IgnoredAny>()?;
    }
    Ok(answer)
}

/// The body, and whether it is complete.
async fn read(mut response: Response) -> Result<(Vec<u8>, bool), Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| client::response_failure(&error))? {
        if body.len().saturating_add(chunk.len()) > LONGEST {
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

impl Call {
    /// The result of an API that was not called.
    pub(super) const fn not_probed(failure: Failure) -> Self {
        Self { result: Err(failure), elapsed: Duration::ZERO }
    }

    /// The received status.
    pub(super) fn status(&self) -> Option<u16> {
        match &self.result {
            Ok(answer) => Some(answer.status),
            Err(failure) => failure.status,
        }
    }

    #[cfg(test)]
    pub(super) fn answered(status: u16, body: &[u8]) -> Self {
        let answer = HttpReply { status, headers: HeaderMap::new(), body: body.to_vec() };
        Self { result: Ok(answer), elapsed: Duration::ZERO }
    }
}

impl HttpReply {
    /// The parsed body. Neither its text nor the parser's message about it is repeated in errors.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let failure = Failure::new(ErrorKind::Protocol, "the answer is not the expected JSON");
            Failure { status: Some(self.status), ..failure }
        })
    }
}

/// A header value that is marked as sensitive.
pub(super) fn header(before: &str, secret: &Secret) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("{before}{}", secret.expose()))
        .map_err(|_| Failure::new(ErrorKind::Protocol, "a key or token that cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
