//! The token in a browser: a form sends it once, and a cookie that is derived from it then shows details.
//!
//! The cookie is `SameSite=Strict`, so that pages of other sites cannot send it, and `HttpOnly`. It is not `Secure`: TLS, if any, ends in
//! front of portcullis, and a browser drops a `Secure` cookie that arrives over plain HTTP. It contains a digest, because cookies are sent
//! to all ports of a host, and another service there must not get the token itself. It does not allow control requests.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::connections::Peer;
use super::{HEAD_TIMEOUT, Shared, has_token, head, hosts, same};
use crate::plan::{Details, ViewSwitch};
use crate::secret::Secret;
use crate::view::TEXT;

/// Where the form sends the token.
const PATH: &str = "/token";

/// The cookie's name.
const COOKIE: &str = "portcullis_details";

/// The longest form that is read.
const LONGEST_FORM: usize = 8 * 1024;

/// How long it may take.
const PATIENCE: Duration = HEAD_TIMEOUT;

type Response = Result<hyper::Response<Full<Bytes>>, hyper::http::Error>;

/// Whether the request is for this path, which exists only with the page and if a token shows anything.
pub(super) fn is_for<B>(request: &hyper::Request<B>, peer: Peer, shared: &Shared) -> bool {
    let is_there = has_token(&shared.plan) && (peer != Peer::Network || shared.plan.views.has(ViewSwitch::Page));
    is_there && request.uri().path() == PATH && matches!(shared.plan.details, Details::WhenAuthorized)
}

/// Handles the form: the right token sets the cookie, an empty one deletes it, a wrong one is refused.
pub(super) async fn take(request: hyper::Request<Incoming>, peer: Peer, shared: &Shared) -> Response {
    let hosts = if peer == Peer::Network { shared.plan.hosts.as_slice() } else { &[] };
    if let Some((status, sentence)) = hosts::refusal(&request, hosts) {
        return answer(status, sentence, None);
    }
    if request.method() != hyper::Method::POST {
        return answer(405, "send the token by POST: use the form of the page\n", Some((header::ALLOW, HeaderValue::from_static("POST"))));
    }
    // Browsers send the origin of a form; pages of other sites are refused.
    let site = request.headers().get(HeaderName::from_static("sec-fetch-site")).map(HeaderValue::as_bytes);
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return answer(403, "the form has to come from the page itself\n", None);
    }
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), LONGEST_FORM).collect()).await;
    let Ok(Ok(body)) = body else { return answer(400, "the form is too long, too slow or incomplete\n", None) };
    let body = body.to_bytes();
    let sent = url::form_urlencoded::parse(&body).find(|(key, _)| key == "token").map(|(_, token)| token).unwrap_or_default();
    let token = shared.plan.token.as_ref().map(|token| token.expose().as_bytes()).unwrap_or_default();
    let cookie = if sent.is_empty() {
        format!("{COOKIE}=; Max-Age=0; SameSite=Strict; HttpOnly")
    } else if same(sent.as_bytes(), token) {
        format!("{COOKIE}={}; SameSite=Strict; HttpOnly", value(token))
    } else {
        return answer(403, "this is not the token of [health]; go back and try again\n", None);
    };
    // Relative, like the cookie's path: a proxy may remove a prefix from the path of the page.
    answer(303, "", Some((header::LOCATION, HeaderValue::from_static("./")))).map(|mut answer| {
        answer.headers_mut().extend(HeaderValue::from_str(&cookie).map(|cookie| (header::SET_COOKIE, cookie)));
        answer
    })
}

/// Whether the request has the cookie of the right token.
pub(super) fn has_cookie(token: Option<&Secret>, headers: &HeaderMap) -> bool {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return false };
    let all = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let sent = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    // Cookies of two paths may arrive; more are not from us.
    let wanted = value(token.expose().as_bytes());
    sent.take(2).any(|sent| same(sent.as_bytes(), wanted.as_bytes()))
}

/// The cookie's value for this token: it proves the token without containing it.
fn value(token: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(b"portcullis details\0").chain_update(token).finalize())
}

fn answer(status: u16, body: &'static str, more: Option<(HeaderName, HeaderValue)>) -> Response {
    let mut head = head(status, TEXT, body.len());
    head.extend(more);
    super::response(status, head, Full::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cookie_of_this_token_counts() {
        let right = format!("{COOKIE}={}", value(b"sesame"));
        for (token, cookies, counts) in [
            ("sesame", vec![right.as_str()], true),
            ("sesame", vec!["a=b; c", &format!("x=y;{right} ; z=")], true),
            ("sesame", vec![&format!("{COOKIE}=old; {right}")], true),
            ("other", vec![right.as_str()], false),
            ("", vec![&format!("{COOKIE}={}", value(b""))], false),
            ("sesame", vec![&format!("{COOKIE}=sesame")], false),
            ("sesame", vec![&format!("x{right}")], false),
            ("sesame", vec![], false),
        ] {
            let mut headers = HeaderMap::new();
            for cookie in &cookies {
                headers.append(header::COOKIE, cookie.parse().unwrap());
            }
            assert_eq!(has_cookie(Some(&Secret::new(token)), &headers), counts, "{token} {cookies:?}");
        }
    }
}
