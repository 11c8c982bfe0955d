//! A response in the bytes of HTTP/1.1, written without a copy for each client.

use std::io;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hyper::{Method, StatusCode};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;

use super::body::Pieces;
use super::connections::Usage;
use super::handler::Answer;
use super::response_cache::{SharedText, Stamp};
use crate::clock::Moment;

/// A response, cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    /// The head, and the first piece of the body.
    begin: Arc<[u8]>,
    /// The text, of which the first piece is sent; none if that is all.
    text: Option<Arc<SharedText>>,
    /// Its labels in the metrics.
    pub(super) route: &'static str,
    pub(super) method: &'static str,
    pub(super) status: u16,
    /// None for a response that depends on no snapshot.
    pub(super) rendered: Option<Stamp>,
}

impl Reply {
    /// The response to a request with this method, `GET` or `HEAD`, with a `Date` of `now`.
    pub(super) fn new(Answer { response, route }: &Answer, method: &Method, now: Moment) -> Self {
        let is_head = method == Method::HEAD;
        let mut begin = Vec::with_capacity(1024);
        let reason = StatusCode::from_u16(response.status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
        begin.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", response.status).as_bytes());
        for (name, value) in &*response.head {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                begin.extend_from_slice(part);
            }
        }
        begin.extend_from_slice(format!("date: {}\r\n\r\n", httpdate::fmt_http_date(UNIX_EPOCH + now.wall)).as_bytes());
        let mut pieces = Pieces::new(Arc::clone(&response.text), None);
        if !is_head {
            begin.extend_from_slice(pieces.next().unwrap_or_default());
        }
        let text = (!is_head && !pieces.is_sent()).then(|| Arc::clone(&response.text));
        let method = if is_head { "HEAD" } else { "GET" };
        Self { begin: begin.into(), text, route, method, status: response.status, rendered: response.rendered }
    }

    /// The size of its body in bytes.
    pub(super) fn length(&self) -> usize {
        self.text.as_ref().map_or(self.begin.len(), |text| text.bytes().len())
    }

    /// Sends it; the other connections have their turn before each further piece.
    pub(super) async fn send(&self, stream: &mut (impl AsyncWrite + Unpin), usage: &Usage) -> io::Result<()> {
        let Some(text) = &self.text else { return stream.write_all(&self.begin).await };
        let mut pieces = Pieces::new(Arc::clone(text), usage.connection());
        stream.write_all(&self.begin).await?;
        pieces.next();
        while let Some(piece) = pieces.next() {
            yield_now().await;
            stream.write_all(piece).await?;
        }
        Ok(())
    }
}
