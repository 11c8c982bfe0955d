//! Fair shares of the serving thread: one response per connection and turn, half of the time for long responses, none for clients that do
//! not read.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::time::{Sleep, sleep};

use crate::clock::Moment;
use crate::hooked_stream::{HookedStream, StreamHook};

/// How long a peer may read nothing of a response.
pub(super) const UNREAD: Duration = Duration::from_secs(5);

/// How much time long responses may use in advance.
const AHEAD: Duration = Duration::from_millis(50);

/// The share of long responses: half of the thread's time.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// When the used time is compensated, in nanoseconds of [`Moment::mono`].
    paid: AtomicU64,
}

impl Budget {
    /// Counts the time of a long response.
    pub(super) fn use_up(&self, used: Duration, now: Moment) {
        let paid = Duration::from_nanos(self.paid.load(Ordering::Relaxed)).max(now.mono.saturating_sub(AHEAD));
        self.paid.store((paid + used * 2).as_nanos() as u64, Ordering::Relaxed);
    }

    /// Whether the next long response does not have to wait.
    pub(super) fn is_paid(&self, now: Moment) -> bool {
        self.wait(now).is_zero()
    }

    /// How long the next long response has to wait.
    pub(super) fn wait(&self, now: Moment) -> Duration {
        Duration::from_nanos(self.paid.load(Ordering::Relaxed)).saturating_sub(now.mono)
    }
}

/// A connection whose writes fail once its peer has read nothing for [`UNREAD`].
pub(super) type Impatient<S> = HookedStream<S, Patience>;

/// How long a peer has read nothing.
#[derive(Debug, Default)]
pub(super) struct Patience(Option<Pin<Box<Sleep>>>);

impl<S: AsFd> StreamHook<S> for Patience {
    fn written<T>(&mut self, stream: &S, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.0 = None;
            return written;
        }
        let stalled = self.0.get_or_insert_with(|| Box::pin(sleep(UNREAD)));
        ready!(stalled.as_mut().poll(context));
        // Unread data is dropped with the connection; otherwise the kernel would keep it for minutes.
        let _ = setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_for_five_seconds_is_cut_and_a_slow_one_is_not() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let writing = tokio::spawn(async move {
            let mut ours = Impatient::new(ours, Patience::default());
            loop {
                if let Err(error) = ours.write_all(&vec![0; 64 * 1024]).await {
                    return error.kind();
                }
            }
        });
        let began = tokio::time::Instant::now();
        for _ in 0..5 {
            sleep(UNREAD / 5 * 4).await;
            theirs.read_exact(&mut vec![0; 256 * 1024]).await.unwrap();
        }
        assert!(!writing.is_finished());
        assert_eq!(writing.await.unwrap(), io::ErrorKind::TimedOut);
        let lasted = began.elapsed();
        assert!(lasted >= UNREAD * 4 && lasted < UNREAD * 6, "{lasted:?}");
    }

    #[test]
    fn long_answers_have_half_of_the_time_and_a_little_ahead() {
        let (budget, mut now) = (Budget::default(), Moment::default().after(Duration::from_secs(9)));
        let (start, mut used) = (now, Duration::ZERO);
        while now.since(start) < Duration::from_secs(10) {
            let piece = Duration::from_millis(3);
            budget.use_up(piece, now);
            used += piece;
            now = now.after(piece.max(budget.wait(now)));
        }
        assert!((4900..=5100).contains(&used.as_millis()), "{used:?}");
        assert!(budget.wait(now.after(Duration::from_secs(1))).is_zero(), "nothing is held against who asks later");
    }
}
