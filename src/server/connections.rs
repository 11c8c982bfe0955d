//! The open connections of one listener: accepted without a hot loop, and never more than a fixed number.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;

use crate::sys;

/// The first pause after a failed accept; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two failed accepts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Bytes that the kernel may hold of what a peer has not read yet; it takes twice as much for its own bookkeeping.
const SEND_BUFFER: usize = 32 * 1024;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Somebody who reached the TCP port.
    Network,
    /// Another user of this host who reached the unix socket; none where the kernel does not say which.
    Local(Option<u32>),
    /// Root or our own user on the unix socket: it is authorized by the mere fact of who it is.
    Trusted,
}

/// A listener that says who its peer is.
pub(super) trait Accept {
    /// Its connections.
    type Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static;

    /// The next connection and its peer.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (stream, _) = Self::accept(self).await?;
        stream.set_nodelay(true)?;
        // Best effort: the kernel would let a peer that does not read grow this to megabytes, which count for the container's memory.
        let _ = setsockopt(&stream, sockopt::SndBuf, &SEND_BUFFER);
        Ok((stream, Peer::Network))
    }
}

impl Accept for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        let (stream, _) = Self::accept(self).await?;
        let peer = sys::peer::Peer::of(&stream);
        let trusted = peer.is_some_and(|peer| peer.trust() == sys::peer::Trust::Ours);
        Ok((stream, if trusted { Peer::Trusted } else { Peer::Local(peer.map(|peer| peer.uid)) }))
    }
}

/// When a connection was last used, in requests and accepts of its listener.
#[derive(Clone, Debug)]
pub(super) struct Usage {
    counter: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
    own: Arc<Own>,
}

/// What only the connection itself changes.
#[derive(Debug, Default)]
struct Own {
    task: OnceLock<AbortHandle>,
    /// Whether there was an answer in this turn.
    answered: AtomicBool,
    /// Whether its last question was for a long answer.
    long: AtomicBool,
}

impl Usage {
    /// Says which task the connection is.
    pub(super) fn is_of(&self, task: AbortHandle) {
        let _ = self.own.task.set(task);
    }

    /// The connection's task.
    pub(super) fn connection(&self) -> Option<AbortHandle> {
        self.own.task.get().cloned()
    }

    /// Notes that it is the connection's turn.
    pub(super) fn turn(&self) {
        self.own.answered.store(false, Ordering::Relaxed);
    }

    /// Whether there was an answer in this turn already; the next time there was.
    pub(super) fn has_answered(&self) -> bool {
        self.own.answered.swap(true, Ordering::Relaxed)
    }

    /// Notes whether a long answer is on its way.
    pub(super) fn sending_long(&self, long: bool) {
        self.own.long.store(long, Ordering::Relaxed);
    }

    /// Whether a long answer is on its way.
    pub(super) fn sends_long(&self) -> bool {
        self.own.long.load(Ordering::Relaxed)
    }

    /// Notes that the connection waits for the end of an order: it is the last one to be closed for another.
    pub(super) fn hold(&self) {
        self.last.store(u64::MAX, Ordering::Relaxed);
    }

    /// Notes that the connection is being used.
    pub(super) fn touch(&self) {
        self.last.store(self.counter.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// The open connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    counter: Arc<AtomicU64>,
    open: Vec<(Usage, AbortHandle)>,
}

impl Connections {
    /// No connections yet, and at most `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { most, counter: Arc::default(), open: Vec::new() }
    }

    /// The next connection of the listener. Failures are survived: where files have run out, accepting again at once would only burn time.
    pub(super) async fn next<L: Accept>(&self, listener: &L) -> (L::Stream, Peer) {
        let mut pause = FIRST_PAUSE;
        loop {
            match listener.accept().await {
                Ok(connection) => return connection,
                // The peer was gone before it was accepted; the next one may wait already.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if pause == FIRST_PAUSE {
                        tracing::warn!("accepting a health question failed: {error}; check the limit of open files");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// The usage of a connection that begins now.
    pub(super) fn usage(&self) -> Usage {
        let usage = Usage { counter: Arc::clone(&self.counter), last: Arc::default(), own: Arc::default() };
        usage.touch();
        usage
    }

    /// Counts a connection in, and closes the one that was used the longest ago when that makes too many.
    pub(super) async fn admit(&mut self, usage: Usage, task: AbortHandle) {
        self.open.retain(|(_, task)| !task.is_finished());
        self.open.push((usage, task));
        if self.open.len() <= self.most {
            return;
        }
        let oldest = self.open.iter().enumerate().min_by_key(|(_, (usage, _))| usage.last.load(Ordering::Relaxed)).map(|(index, _)| index);
        if let Some(oldest) = oldest {
            self.open.swap_remove(oldest).1.abort();
        }
        // In a flood everybody who has already asked is answered before the next one is let in.
        tokio::task::yield_now().await;
    }
}
