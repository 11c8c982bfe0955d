//! A check that keeps its session with the server from one run to the next.

use std::time::Duration;

use crate::outcome::Failure;

/// A logged-in connection; dropping it closes it.
pub(super) trait KeptSession: std::fmt::Debug {
    /// The session's number, which no other session of this process has.
    fn number(&self) -> u64;

    /// Whether the session is already known to have ended.
    fn is_over(&mut self) -> bool;
}

/// A server with which a check keeps a session.
pub(super) trait Server {
    /// The session that is kept.
    type Session: KeptSession;

    /// Probes the server over the kept session.
    async fn probe(&self, session: &mut Self::Session) -> Result<(), Failure>;

    /// Opens a session and probes over it. Connecting may take `within`.
    async fn open(&self, within: Duration) -> Result<Self::Session, Failure>;
}

/// A check of a server, with the session that it keeps between two runs.
#[derive(Debug)]
pub(super) struct Kept<S: Server> {
    server: S,
    session: Option<S::Session>,
}

impl<S: Server> Kept<S> {
    pub(super) const fn new(server: S) -> Self {
        Self { server, session: None }
    }

    /// The number of the kept session, if there is one.
    pub(super) fn session(&self) -> Option<u64> {
        self.session.as_ref().map(KeptSession::number)
    }

    /// Probes over the kept session. If that fails, it probes over a new one within the same run, because perhaps only the old connection
    /// was closed.
    ///
    /// During a run the session belongs to its future: dropping the run closes the session.
    pub(super) async fn probe(&mut self, within: Duration) -> Result<(), Failure> {
        if let Some(mut session) = self.take()
            && self.server.probe(&mut session).await.is_ok()
        {
            self.session = Some(session);
            return Ok(());
        }
        self.session = Some(self.server.open(within).await?);
        Ok(())
    }

    /// Takes the kept session out; none if it has ended.
    pub(super) fn take(&mut self) -> Option<S::Session> {
        self.session.take().and_then(|mut session| (!session.is_over()).then_some(session))
    }
}
