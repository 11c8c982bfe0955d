//! No share of the serving thread for clients that do not read.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::time::{Sleep, sleep};

use crate::hooked_stream::{HookedStream, StreamHook};

/// How long a peer may read nothing of a response.
pub(super) const UNREAD: Duration = Duration::from_secs(5);

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
}
