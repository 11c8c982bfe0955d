//! The account's session at Dify's console: login and refresh, limited so that the account is not locked.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::caller::{Call, Caller, HttpReply, header};
use crate::outcome::{Detail, ErrorKind, Failure};
use crate::plan::target::DifyAccount;
use crate::secret::Secret;

/// How often a call is repeated that gets 401.
const TRIES: usize = 3;

/// Dify locks an account for a day after five wrong logins (`LOGIN_MAX_ERROR_LIMITS`, `LOGIN_LOCKOUT_DURATION`). A person may also need
/// some attempts.
const MOST_REFUSALS: u32 = 3;
const REST: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum length of a token: a longer one does not fit into a header.
const LONGEST_TOKEN: usize = 8 * 1024;

/// The session, and the failed logins.
#[derive(Debug)]
pub(super) struct Session {
    account: Option<DifyAccount>,
    tokens: Tokens,
    /// Why there is no further login in this report.
    failed: Option<Failure>,
    /// Refused logins in a row.
    refusals: u32,
    /// When the last one was.
    refused: Option<(Instant, Failure)>,
}

/// The tokens of a session, with the names of the console.
#[derive(Debug, Default)]
struct Tokens {
    access: Option<Secret>,
    refresh: Option<Secret>,
    csrf: Option<Secret>,
}

impl Session {
    pub(super) const fn new(account: Option<DifyAccount>) -> Self {
        Self { account, tokens: Tokens { access: None, refresh: None, csrf: None }, failed: None, refusals: 0, refused: None }
    }

    /// Begins a report: a failed login of the last one may be retried.
    pub(super) fn begin(&mut self) {
        self.failed = match &self.refused {
            Some((at, failure)) if self.refusals >= MOST_REFUSALS && at.elapsed() < REST => Some(failure.clone()),
            Some(_) if self.refusals >= MOST_REFUSALS => {
                self.refusals = 0;
                None
            }
            _ => None,
        };
    }

    /// A GET with the session, which is created or refreshed as needed.
    pub(super) async fn get(&mut self, caller: &Caller, path: &str) -> Call {
        let mut left = TRIES.saturating_sub(1);
        loop {
            if self.tokens.access.is_none()
                && let Err(failure) = self.login(caller).await
            {
                return Call::not_probed(failure);
            }
            let headers = match self.tokens.headers() {
                Ok(headers) => headers,
                Err(failure) => return Call::not_probed(failure),
            };
            let call = caller.get(path, &headers).await;
            if call.status() != Some(401) || left == 0 {
                return call;
            }
            // If a refreshed token does not help, a new login is needed.
            if left < TRIES.saturating_sub(1) || !self.refresh(caller).await {
                self.tokens = Tokens::default();
            }
            left = left.saturating_sub(1);
        }
    }

    async fn login(&mut self, caller: &Caller) -> Result<(), Failure> {
        let Some(DifyAccount { email, password }) = &self.account else {
            return Err(Failure::new(ErrorKind::Missing, "no account is configured").because(Detail::NotConfigured));
        };
        if let Some(failure) = &self.failed {
            return Err(failure.clone());
        }
        let body = json!({ "email": email, "password": password.expose(), "language": "en-US", "remember-me": true });
        let call = caller.post("/console/api/login", &[], body.to_string()).await;
        let (status, tokens) = (call.status(), call.result.map(|answer| Tokens::of(&answer)));
        let failure = match tokens {
            Ok(tokens) if tokens.access.is_some() => {
                (self.tokens, self.refusals, self.refused) = (tokens, 0, None);
                return Ok(());
            }
            Ok(_) => Failure { status, ..Failure::new(ErrorKind::Protocol, "the answer has no token") },
            Err(failure) => failure,
        };
        let mut failure = failure.of("the login");
        if matches!(status, Some(200..300 | 400 | 401 | 403 | 429)) {
            self.refusals = if status == Some(429) { MOST_REFUSALS } else { self.refusals.saturating_add(1) };
            if self.refusals >= MOST_REFUSALS {
                let status = failure.status;
                let rests =
                    Failure { status, ..failure.of("not tried again for a day or until a restart, so that the account is not locked") };
                failure = rests;
            }
            self.refused = Some((Instant::now(), failure.clone()));
        }
        self.failed = Some(failure.clone());
        Err(failure)
    }

    /// Refreshes the tokens; returns whether that succeeded.
    async fn refresh(&mut self, caller: &Caller) -> bool {
        let Some(refresh) = &self.tokens.refresh else { return false };
        let body = json!({ "refresh_token": refresh.expose() });
        // Older versions read the body, newer ones the cookie.
        let tokens = [("access_token", &self.tokens.access), ("csrf_token", &self.tokens.csrf), ("refresh_token", &self.tokens.refresh)];
        let (Ok(mut headers), Ok(cookies)) = (self.tokens.headers(), cookies(&tokens)) else { return false };
        headers.retain(|(name, _)| *name != "cookie");
        headers.push(("cookie", cookies));
        let Ok(answer) = caller.post("/console/api/refresh-token", &headers, body.to_string()).await.result else { return false };
        let new = Tokens::of(&answer);
        if new.access.is_none() {
            return false;
        }
        self.tokens = Tokens {
            access: new.access,
            refresh: new.refresh.or_else(|| self.tokens.refresh.take()),
            csrf: new.csrf.or_else(|| self.tokens.csrf.take()),
        };
        true
    }
}

/// The response of the console to a login.
#[derive(Deserialize)]
struct LoggedIn {
    data: InBody,
}

#[derive(Deserialize)]
struct InBody {
    #[serde(default, rename = "access_token")]
    access: String,
    #[serde(default, rename = "refresh_token")]
    refresh: String,
    #[serde(default, rename = "csrf_token")]
    csrf: String,
}

impl Tokens {
    /// The tokens in the body, else those in the cookies.
    fn of(answer: &HttpReply) -> Self {
        let secret = |text: &str| (!text.is_empty() && text.len() <= LONGEST_TOKEN).then(|| Secret::unlisted(text));
        let body = answer.read::<LoggedIn>().ok().map(|answer| answer.data);
        let of = |name: &str, in_body: Option<&str>| in_body.and_then(secret).or_else(|| cookie(&answer.headers, name).and_then(secret));
        Self {
            access: of("access_token", body.as_ref().map(|body| body.access.as_str())),
            refresh: of("refresh_token", body.as_ref().map(|body| body.refresh.as_str())),
            csrf: of("csrf_token", body.as_ref().map(|body| body.csrf.as_str())),
        }
    }

    /// The access token as a bearer, the other as a header, and both as cookies under either name: with https Dify reads the one with
    /// `__Host-`, otherwise the other.
    fn headers(&self) -> Result<Vec<(&'static str, HeaderValue)>, Failure> {
        let mut headers = Vec::new();
        if let Some(access) = &self.access {
            headers.push(("authorization", header("Bearer ", access)?));
        }
        if let Some(csrf) = &self.csrf {
            headers.push(("x-csrf-token", header("", csrf)?));
        }
        let tokens = [("access_token", &self.access), ("csrf_token", &self.csrf)];
        headers.push(("cookie", cookies(&tokens)?));
        Ok(headers)
    }
}

/// A header of these cookies, each under either name.
fn cookies(tokens: &[(&str, &Option<Secret>)]) -> Result<HeaderValue, Failure> {
    let mut cookies = String::new();
    for (name, token) in tokens {
        let Some(token) = token else { continue };
        for before in ["", "__Host-"] {
            let between = if cookies.is_empty() { "" } else { "; " };
            cookies.extend([between, before, name, "=", token.expose()]);
        }
    }
    header("", &Secret::unlisted(cookies))
}

/// The value of the cookie of this name, with the prefix `__Host-` or without.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get_all(SET_COOKIE).iter().find_map(|cookie| {
        let (key, value) = cookie.to_str().ok()?.split(';').next()?.split_once('=')?;
        let key = key.trim();
        (key.strip_prefix("__Host-").unwrap_or(key) == name && !value.trim().is_empty()).then(|| value.trim())
    })
}
