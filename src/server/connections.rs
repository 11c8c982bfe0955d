//! The open connections of one listener: accepted without a busy loop, and never more than a fixed number.

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

/// The kernel's send buffer in bytes for data that a peer has not read yet; the kernel doubles it.
const SEND_BUFFER: usize = 32 * 1024;

/// The peer of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A client of the TCP port.
    Network,
    /// Another user of this host on the unix socket; none if the user is unknown.
    Local(Option<u32>),
    /// Root or our own user on the unix socket: authorized without a token.
    Trusted,
}

/// A listener that identifies its peers.
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
        // Best effort: otherwise the buffer for a peer that does not read could grow to megabytes, which count for the container's memory.
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

/// State that only the connection itself changes.
#[derive(Debug, Default)]
struct Own {
    task: OnceLock<AbortHandle>,
    /// Whether there was a response in this turn.
    answered: AtomicBool,
}

impl Usage {
    /// Sets the task of the connection.
    pub(super) fn is_of(&self, task: AbortHandle) {
        let _ = self.own.task.set(task);
    }

    /// The connection's task.
    pub(super) fn connection(&self) -> Option<AbortHandle> {
        self.own.task.get().cloned()
    }

    /// Records that it is the connection's turn.
    pub(super) fn turn(&self) {
        self.own.answered.store(false, Ordering::Relaxed);
    }

    /// Whether there was already a response in this turn.
    pub(super) fn has_answered(&self) -> bool {
        self.own.answered.load(Ordering::Relaxed)
    }

    /// Records a response in this turn.
    pub(super) fn answers(&self) {
        self.own.answered.store(true, Ordering::Relaxed);
    }

    /// Records that the connection waits for a control request: it is the last one to be replaced.
    pub(super) fn hold(&self) {
        self.last.store(u64::MAX, Ordering::Relaxed);
    }

    /// Records that the connection is used.
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

    /// The next connection of the listener. After a failure it pauses: without free descriptors, accepting again at once would only waste
    /// time.
    pub(super) async fn next<L: Accept>(&self, listener: &L) -> (L::Stream, Peer) {
        let mut pause = FIRST_PAUSE;
        loop {
            match listener.accept().await {
                Ok(connection) => return connection,
                // The peer disconnected before it was accepted; the next one may already wait.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if pause == FIRST_PAUSE {
                        tracing::warn!("accepting a health request failed: {error}; check the limit of open files");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// The usage of a new connection.
    pub(super) fn usage(&self) -> Usage {
        let usage = Usage { counter: Arc::clone(&self.counter), last: Arc::default(), own: Arc::default() };
        usage.touch();
        usage
    }

    /// Registers a connection, and closes the least recently used one if there are too many.
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
        // In a flood, pending requests are answered before the next connection is accepted.
        tokio::task::yield_now().await;
    }
}
