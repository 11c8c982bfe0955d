//! The body of a response: a shared text, sent in pieces, so that a long one does not delay others.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::task::AbortHandle;

use super::response_cache::SharedText;

/// The size of a piece in bytes. hyper gets copies, because otherwise its buffer would keep the whole text.
const PIECE: usize = 32 * 1024;

/// The rest of a text that a connection still has to send.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    text: Arc<SharedText>,
    sent: usize,
    /// Whether others had their turn since the last piece.
    yielded: bool,
    reader: Option<u64>,
}

impl Pieces {
    /// The text for this connection, which is closed if the memory is needed.
    pub(super) fn new(text: Arc<SharedText>, connection: Option<AbortHandle>) -> Self {
        let reader = connection.filter(|_| text.bytes().len() > PIECE).map(|connection| text.join(connection));
        Self { text, sent: 0, yielded: true, reader }
    }

    /// The next piece; none after the last one.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let left = self.text.bytes().get(self.sent..).filter(|left| !left.is_empty())?;
        let piece = left.get(..PIECE).unwrap_or(left);
        self.sent += piece.len();
        Some(piece)
    }

    /// Whether that was the last piece.
    pub(super) fn is_sent(&self) -> bool {
        self.sent >= self.text.bytes().len()
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(reader) = self.reader {
            self.text.leave(reader);
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.yielded && !self.is_sent() {
            self.yielded = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.yielded = false;
        Poll::Ready(self.next().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_sent()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.bytes().len().saturating_sub(self.sent) as u64)
    }
}
