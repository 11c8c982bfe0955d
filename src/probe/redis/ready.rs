//! Asks the readiness registry how many instances of a service are ready; it only reads.

use std::time::Duration;

use redis::Value;

use super::Session;
use crate::outcome::{Class, Failure};
use crate::plan::target::ReadyTarget;

/// A reader of the registry with the connection it keeps between two runs.
#[derive(Debug)]
pub(in crate::probe) struct ReadyProbe {
    target: ReadyTarget,
    session: Option<Session>,
}

impl ReadyProbe {
    pub(in crate::probe) const fn new(target: ReadyTarget) -> Self {
        Self { target, session: None }
    }

    /// Passes when enough instances are ready by the clock of that Redis.
    pub(in crate::probe) async fn ask(&mut self, within: Duration) -> Result<(), Failure> {
        let mut session = match self.kept().await {
            Some(session) => session,
            None => Session::open(&self.target.redis, within).await?,
        };
        let ready = self.count(&mut session).await?;
        self.session = Some(session);
        let ReadyTarget { key, min, .. } = &self.target;
        if ready >= *min {
            return Ok(());
        }
        Err(Failure::new(Class::NotReady, &format!("{ready} of {min} instances are ready ({key})")))
    }

    /// The kept connection, when it still answers.
    async fn kept(&mut self) -> Option<Session> {
        let mut session = self.session.take()?;
        (!session.is_closed() && session.ping().await.is_ok()).then_some(session)
    }

    /// How many instances are ready. Where one is enough the shared key says so even where instances are not recorded.
    async fn count(&self, session: &mut Session) -> Result<u64, Failure> {
        let now = match session.query(&redis::cmd("TIME")).await? {
            Value::Array(parts) => match parts.iter().map(number).collect::<Option<Vec<_>>>().as_deref() {
                Some([seconds, micros]) => seconds * 1000 + micros / 1000,
                _ => return Err(Failure::new(Class::Protocol, "TIME was answered without a time")),
            },
            other => return Err(Failure::new(Class::Protocol, &format!("TIME was answered with {other:?}"))),
        };
        let set = format!("portcullis:{{{}}}:ready", self.target.key);
        let counted = session.query(redis::cmd("ZCOUNT").arg(set).arg(now).arg("+inf")).await?;
        let counted = number(&counted).ok_or_else(|| Failure::new(Class::Protocol, "ZCOUNT was answered without a number"))?;
        if counted > 0 {
            return Ok(counted);
        }
        match session.query(redis::cmd("GET").arg(&self.target.key)).await? {
            Value::BulkString(value) if value == b"ready" => Ok(1),
            _ => Ok(0),
        }
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}
