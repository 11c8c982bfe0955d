//! A stream that gives up on a peer which answers without end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest answer to one question in bytes; what drivers collect of an unfinished one stays below a mebibyte with it.
pub(super) const LONGEST_ANSWER: usize = 256 * 1024;

/// What may still be read until the next question.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    whole: AtomicUsize,
    left: AtomicUsize,
}

impl Allowance {
    /// For an answer of [`LONGEST_ANSWER`].
    pub(super) fn new() -> Self {
        Self(Arc::new(Bytes { whole: AtomicUsize::new(LONGEST_ANSWER), left: AtomicUsize::new(LONGEST_ANSWER) }))
    }

    /// Begins another question.
    pub(super) fn renew(&self) {
        self.renew_to(LONGEST_ANSWER);
    }

    /// Begins another question, whose answer has `whole` bytes at most.
    pub(super) fn renew_to(&self, whole: usize) {
        self.0.whole.store(whole, Ordering::Relaxed);
        self.0.left.store(whole, Ordering::Relaxed);
    }
}

/// A stream under an allowance.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    allowance: Allowance,
}

impl<S> Bounded<S> {
    pub(super) const fn new(stream: S, allowance: Allowance) -> Self {
        Self { stream, allowance }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.allowance.0.left.load(Ordering::Relaxed);
        if left == 0 {
            let words = format!("the answer is longer than {} KiB", self.allowance.0.whole.load(Ordering::Relaxed) / 1024);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        self.allowance.0.left.store(left.saturating_sub(read), Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn an_endless_answer_ends_with_an_error_and_a_new_question_may_be_answered() {
        let allowance = Allowance::new();
        let mut stream = Bounded::new(tokio::io::repeat(7), allowance.clone());
        let mut taken = Vec::new();
        assert_eq!(stream.read_to_end(&mut taken).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(taken.len() <= 2 * LONGEST_ANSWER, "{}", taken.len());
        allowance.renew();
        assert_eq!(stream.read_u8().await.unwrap(), 7);
    }
}
