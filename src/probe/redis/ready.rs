//! Counts the ready instances of a service in the readiness registry; it only reads.

use std::time::Duration;

use super::Session;
use super::heartbeat_reader::HeartbeatReader;
use crate::outcome::{Detail, ErrorKind, Failure};
use crate::plan::target::ReadyTarget;

/// A reader of the registry with the connection it keeps between two runs.
#[derive(Debug)]
pub(in crate::probe) struct ReadyProbe {
    target: ReadyTarget,
    reader: HeartbeatReader,
    session: Option<Session>,
}

impl ReadyProbe {
    pub(in crate::probe) fn new(target: ReadyTarget) -> Self {
        Self { reader: HeartbeatReader::new(&target.key), target, session: None }
    }

    /// Passes if enough instances are ready by the clock of that Redis.
    pub(in crate::probe) async fn probe(&mut self, within: Duration) -> Result<(), Failure> {
        let mut session = match self.kept().await {
            Some(session) => session,
            None => Session::open(&self.target.redis, within).await?,
        };
        let ready = self.reader.count(&mut session).await?;
        self.session = Some(session);
        let ReadyTarget { key, min, .. } = &self.target;
        if ready >= *min {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::NotReady, &format!("{ready} of {min} instances are ready in {key}")).because(Detail::TooFew))
    }

    /// The kept connection, if it still responds.
    async fn kept(&mut self) -> Option<Session> {
        let mut session = self.session.take()?;
        (!session.is_closed() && session.ping().await.is_ok()).then_some(session)
    }
}
