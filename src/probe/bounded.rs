//! A stream that limits the size of a peer's response.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::hooked_stream::{HookedStream, StreamHook};

/// The longest response in bytes; drivers then buffer less than a mebibyte of an unfinished one.
pub(super) const LONGEST_ANSWER: usize = 256 * 1024;

/// How much may still be read until the next request.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    whole: AtomicUsize,
    left: AtomicUsize,
}

impl Allowance {
    /// A limit of [`LONGEST_ANSWER`].
    pub(super) fn new() -> Self {
        Self(Arc::new(Bytes { whole: AtomicUsize::new(LONGEST_ANSWER), left: AtomicUsize::new(LONGEST_ANSWER) }))
    }

    /// Begins another request.
    pub(super) fn renew(&self) {
        self.renew_to(LONGEST_ANSWER);
    }

    /// Begins another request, whose response has at most `whole` bytes.
    pub(super) fn renew_to(&self, whole: usize) {
        self.0.whole.store(whole, Ordering::Relaxed);
        self.0.left.store(whole, Ordering::Relaxed);
    }
}

/// A stream with this limit.
pub(super) type Bounded<S> = HookedStream<S, Allowance>;

impl<S> StreamHook<S> for Allowance {
    fn before_read(&mut self) -> io::Result<()> {
        if self.0.left.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        let words = format!("the answer is longer than {} KiB", self.0.whole.load(Ordering::Relaxed) / 1024);
        Err(io::Error::new(io::ErrorKind::InvalidData, words))
    }

    fn read(&mut self, come: &[u8]) -> io::Result<()> {
        let left = self.0.left.load(Ordering::Relaxed);
        self.0.left.store(left.saturating_sub(come.len()), Ordering::Relaxed);
        Ok(())
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
