//! One call of a Dify: bounded in time, in size, and in how many are under way.

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

/// The longest answer that is read to its end. A page of fifty apps is a tenth of it.
const LONGEST: usize = 2 * 1024 * 1024;

/// What the calls of one Dify share from report to report.
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
    /// When the report has to be done.
    until: Instant,
}

/// What came of a call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) result: Result<HttpReply, Failure>,
    /// How long it took, waiting for its turn left out.
    pub(super) elapsed: Duration,
}

/// An answer whose status is from 200 to 299.
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

    /// Who makes the calls of a report that has to be done by `until`.
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
    /// Reads what is at this path and query.
    pub(super) async fn get(&self, path: &str, headers: &[(&'static str, HeaderValue)]) -> Call {
        self.call(Method::GET, path, headers, None).await
    }

    /// Sends JSON, which only logging in does.
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
            return Call::not_probed(Failure::new(ErrorKind::Timeout, "it was not asked: the time of the report was over before its turn"));
        }
        let within = self.timeout.min(self.until.saturating_duration_since(began));
        let mut request = self.client.request(method, url.clone()).header(ACCEPT, "application/json").header(CONNECTION, "close");
        for (name, value) in headers {
            request = request.header(HeaderName::from_static(name), value);
        }
        if let Some(json) = json {
            request = request.header("content-type", "application/json").body(json);
        }
        // Also what came before the time was over is told.
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
        let words = format!("{}, a redirect that is not followed: write where it leads in `url`", failure.private.as_str());
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

/// The body, and whether this is all of it.
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
    /// Of an API that was not asked.
    pub(super) const fn not_probed(failure: Failure) -> Self {
        Self { result: Err(failure), elapsed: Duration::ZERO }
    }

    /// The status that came.
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
    /// The body as what it should be. Its own words, and those of the parser about them, are not repeated.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let failure = Failure::new(ErrorKind::Protocol, "the answer is not the JSON that was expected");
            Failure { status: Some(self.status), ..failure }
        })
    }
}

/// The value of a header that no trace shows.
pub(super) fn header(before: &str, secret: &Secret) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(&format!("{before}{}", secret.expose()))
        .map_err(|_| Failure::new(ErrorKind::Protocol, "a key or token that cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
