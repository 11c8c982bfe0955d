//! The token in a browser: a form gives it once, and a cookie that is made from it shows details from then on.
//!
//! The cookie is `SameSite=Strict`, so that no other site's page has it sent along, and `HttpOnly`. It is not `Secure`: TLS ends before
//! portcullis, where it does at all, and a browser drops a `Secure` cookie that comes over plain HTTP. It holds a digest, so that another
//! service on the same host, whose port a cookie does not know, never gets the token itself; and it gives no orders.

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

/// Whether the request is for here; only where the page is there, and a token shows anything, is there such a path.
pub(super) fn is_for<B>(request: &hyper::Request<B>, peer: Peer, shared: &Shared) -> bool {
    let is_there = has_token(&shared.plan) && (peer != Peer::Network || shared.plan.views.has(ViewSwitch::Page));
    is_there && request.uri().path() == PATH && matches!(shared.plan.details, Details::WhenAuthorized)
}

/// Takes the token from the form: the right one sets the cookie, none removes it, another one is refused.
pub(super) async fn take(request: hyper::Request<Incoming>, peer: Peer, shared: &Shared) -> Response {
    let hosts = if peer == Peer::Network { shared.plan.hosts.as_slice() } else { &[] };
    if let Some((status, sentence)) = hosts::refusal(&request, hosts) {
        return answer(status, sentence, None);
    }
    if request.method() != hyper::Method::POST {
        return answer(
            405,
            "the token is sent by POST: use the form of the page\n",
            Some((header::ALLOW, HeaderValue::from_static("POST"))),
        );
    }
    // A browser says where a form came from; another site's page has nothing to try here.
    let site = request.headers().get(HeaderName::from_static("sec-fetch-site")).map(HeaderValue::as_bytes);
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return answer(403, "the form has to come from the page itself\n", None);
    }
    let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), LONGEST_FORM).collect()).await;
    let Ok(Ok(body)) = body else { return answer(400, "the form is too long, too slow or broken off\n", None) };
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
    // Relative, as the cookie's path is: the page may stand below a prefix that a proxy takes away.
    answer(303, "", Some((header::LOCATION, HeaderValue::from_static("./")))).map(|mut answer| {
        answer.headers_mut().extend(HeaderValue::from_str(&cookie).map(|cookie| (header::SET_COOKIE, cookie)));
        answer
    })
}

/// Whether the request has the cookie that the right token was exchanged for.
pub(super) fn has_cookie(token: Option<&Secret>, headers: &HeaderMap) -> bool {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return false };
    let all = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let sent = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    // One under this path and one under another may both come; more are none of ours.
    let wanted = value(token.expose().as_bytes());
    sent.take(2).any(|sent| same(sent.as_bytes(), wanted.as_bytes()))
}

/// What the cookie holds for this token: it proves that somebody had it, and is not it.
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
