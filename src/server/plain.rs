//! Plain requests, which are nearly all: `GET` and `HEAD` without a body, on a connection that is kept. They are answered here, a repeated
//! one at once; the first other request on a connection, and all after it, belong to hyper. Both parse heads with the same library.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep};

use super::connections::{Peer, Usage};
use super::handler::answer;
use super::reply::Reply;
use super::{HEAD_TIMEOUT, LONGEST_HEAD, Shared, control, figures, token};
use crate::clock::Moment;

/// The space for a usual head in bytes.
const USUAL_HEAD: usize = 1024;

/// The maximum number of headers, which is hyper's: it refuses more at once.
const MOST_HEADERS: usize = 100;

/// What the received bytes begin with.
enum Head {
    /// A plain request, and its length.
    Plain(Box<Request<()>>, usize),
    /// A part of a head.
    Incomplete,
    /// Anything else.
    Other,
}

/// Answers plain requests. The result is the first bytes of a request for hyper; none if the connection is over.
pub(super) async fn converse<S>(stream: &mut S, peer: Peer, usage: &Usage, shared: &Shared) -> Option<Vec<u8>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut sent = Vec::with_capacity(USUAL_HEAD);
    let mut silence = pin!(sleep(HEAD_TIMEOUT));
    let mut since = Instant::now();
    loop {
        // However many requests wait on this connection, the others have their turn first.
        if !sent.is_empty() && usage.has_answered() {
            yield_now().await;
        }
        let (length, reply) = match found(&sent, peer, shared) {
            Some(found) => found,
            None => match head(&sent) {
                Head::Plain(request, _) if is_special(&request, peer, shared) => return Some(sent),
                Head::Plain(request, length) => (length, rendered(&request, sent.get(..length)?, peer, shared).await),
                Head::Other => return Some(sent),
                Head::Incomplete => {
                    if sent.len() == sent.capacity() {
                        sent.reserve_exact(LONGEST_HEAD - sent.len());
                    }
                    match before(silence.as_mut(), since, stream.read_buf(&mut sent)).await? {
                        Ok(0) if !sent.is_empty() => return Some(sent),
                        Ok(0) | Err(_) => return None,
                        Ok(_) => continue,
                    }
                }
            },
        };
        usage.touch();
        usage.answers();
        sent.drain(..length);
        reply.send(stream, usage).await.ok()?;
        since = Instant::now();
    }
}

/// The result of reading; none if there was none in time.
async fn before<T>(mut silence: Pin<&mut Sleep>, since: Instant, reading: impl Future<Output = T>) -> Option<T> {
    let mut reading = pin!(reading);
    let wait = |context: &mut Context<'_>| {
        if let Poll::Ready(read) = reading.as_mut().poll(context) {
            return Poll::Ready(Some(read));
        }
        // The timer is set again only when it has fired, because most requests come earlier.
        loop {
            ready!(silence.as_mut().poll(context));
            if since + HEAD_TIMEOUT <= Instant::now() {
                return Poll::Ready(None);
            }
            silence.as_mut().reset(since + HEAD_TIMEOUT);
        }
    };
    std::future::poll_fn(wait).await
}

/// The recent response to the same request, and the request's length.
fn found(sent: &[u8], peer: Peer, shared: &Shared) -> Option<(usize, Reply)> {
    if sent.is_empty() {
        return None;
    }
    let (snapshot, look) = shared.published.look();
    let (length, reply) = shared.recent().find(sent, peer, &snapshot, look)?;
    figures::observe(reply.route, reply.method, reply.status, Moment::now().since(look.now));
    Some((length, reply))
}

/// The response to a plain request, kept for equal ones.
async fn rendered(request: &Request<()>, sent: &[u8], peer: Peer, shared: &Shared) -> Reply {
    let began = Moment::now();
    let answer = answer(request, peer, shared).await;
    let (snapshot, look) = shared.published.look();
    let reply = Reply::new(&answer, request.method(), look.now);
    figures::observe(reply.route, reply.method, reply.status, look.now.since(began));
    // A kept request is compared byte by byte, so it must not contain the token.
    if ![header::AUTHORIZATION, header::COOKIE].iter().any(|name| request.headers().contains_key(name)) {
        shared.recent().keep(sent, peer, &reply, &snapshot, look);
    }
    reply
}

/// Whether it is no request for a view.
fn is_special(request: &Request<()>, peer: Peer, shared: &Shared) -> bool {
    token::is_for(request, peer, shared) || request.uri().path().starts_with(control::ROOT)
}

/// What `sent` begins with.
fn head(sent: &[u8]) -> Head {
    if sent.is_empty() {
        return Head::Incomplete;
    }
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(sent) {
        Ok(httparse::Status::Complete(length)) => plain(&parsed).map_or(Head::Other, |request| Head::Plain(Box::new(request), length)),
        Ok(httparse::Status::Partial) if sent.len() < LONGEST_HEAD => Head::Incomplete,
        _ => Head::Other,
    }
}

/// The request, if it is plain.
fn plain(parsed: &httparse::Request<'_, '_>) -> Option<Request<()>> {
    let method = [Method::GET, Method::HEAD].into_iter().find(|method| Some(method.as_str()) == parsed.method)?;
    let target = parsed.path.filter(|target| parsed.version == Some(1) && target.starts_with('/'))?;
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut()) = (method, target.parse().ok()?);
    for header in &*parsed.headers {
        let (name, value) = (HeaderName::from_bytes(header.name.as_bytes()).ok()?, HeaderValue::from_bytes(header.value).ok()?);
        request.headers_mut().append(name, value);
    }
    let headers = request.headers();
    let is_kept = headers.get_all(header::CONNECTION).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"keep-alive"));
    let unusual = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT, header::UPGRADE];
    (is_kept && !unusual.iter().any(|name| headers.contains_key(name))).then_some(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hyper_would_answer_in_the_same_way_is_plain() {
        for (sent, expected) in [
            ("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "plain"),
            ("HEAD /?verbose HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\nGET", "plain"),
            ("\r\nGET /livez HTTP/1.1\r\n\r\n", "plain"),
            ("", "part"),
            ("GET /livez HTTP/1.1\r\nHost: x\r\n\r", "part"),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "other"),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: upgrade\r\n\r\n", "other"),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "other"),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "other"),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", "other"),
            ("GET /livez HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n", "other"),
            ("GET /livez HTTP/1.0\r\nHost: x\r\n\r\n", "other"),
            ("GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n", "other"),
            ("POST /livez HTTP/1.1\r\nHost: x\r\n\r\n", "other"),
            ("GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", "other"),
            ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "other"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "other"),
            (&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(MOST_HEADERS + 1)), "other"),
            (&format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(LONGEST_HEAD)), "other"),
        ] {
            let found = match head(sent.as_bytes()) {
                Head::Plain(..) => "plain",
                Head::Incomplete => "part",
                Head::Other => "other",
            };
            assert_eq!(found, expected, "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_be_silent_for_five_seconds_after_each_response() {
        let began = Instant::now();
        let mut silence = pin!(sleep(HEAD_TIMEOUT));
        for wait in [HEAD_TIMEOUT / 2, HEAD_TIMEOUT / 10 * 9] {
            assert_eq!(before(silence.as_mut(), Instant::now(), sleep(wait)).await, Some(()));
        }
        let last = Instant::now();
        assert_eq!(before(silence.as_mut(), last, std::future::pending::<()>()).await, None);
        assert_eq!(last.elapsed().as_millis() / 100, HEAD_TIMEOUT.as_millis() / 100, "{:?}", began.elapsed());
    }
}
