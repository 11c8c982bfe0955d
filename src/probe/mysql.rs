//! Probes a MySQL or MariaDB by a login and `SELECT 1`, with a minimal part of its protocol.

mod handshake;
mod login;
mod refusal;
mod rsa;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::bounded::{Allowance, Bounded};
use super::dial::{Duplex, dial, dial_unix, notice_loss, session_number};
use super::kept::{Kept, KeptSession, Server};
use super::tls;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{MysqlTarget, SslMode};
use handshake::Greeting;
use login::Channel;
use refusal::{lost, refusal};

/// How long sent data may stay unacknowledged before the kernel drops the connection.
const LOSS: Duration = Duration::from_secs(10);

/// The maximum packet size of a login or of `SELECT 1`.
const LONGEST_PACKET: usize = 16 * 1024;

/// The maximum number of packets of a response.
const MOST_ROWS: usize = 1024;

const QUERY: u8 = 3;
const QUIT: u8 = 1;

impl KeptSession for Wire {
    fn number(&self) -> u64 {
        self.number
    }

    /// Unknown until the next query.
    fn is_over(&mut self) -> bool {
        false
    }
}

impl Server for MysqlTarget {
    type Session = Wire;

    async fn probe(&self, wire: &mut Wire) -> Result<(), Failure> {
        wire.select_one().await
    }

    async fn open(&self, within: Duration) -> Result<Wire, Failure> {
        let mut wire = Wire::open(self, within).await?;
        wire.select_one().await?;
        Ok(wire)
    }
}

impl Kept<MysqlTarget> {
    /// Sends QUIT, without which the server's log complains about an aborted connection.
    pub(super) async fn close(&mut self) {
        if let Some(wire) = self.take() {
            wire.quit().await;
        }
    }
}

/// The rows of a result; none for NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// The values of a row of the text protocol: each a length and its bytes, 0xfb for NULL.
fn columns(mut row: &[u8]) -> Option<Vec<Option<String>>> {
    let mut values = Vec::new();
    while let Some((first, rest)) = row.split_first() {
        let (length, rest) = match first {
            0xfb => {
                values.push(None);
                row = rest;
                continue;
            }
            0xfc => (usize::from(u16::from_le_bytes(*rest.first_chunk()?)), rest.get(2..)?),
            0xfd.. => return None,
            short => (usize::from(*short), rest),
        };
        let (value, rest) = rest.split_at_checked(length)?;
        values.push(Some(String::from_utf8_lossy(value).into_owned()));
        row = rest;
    }
    Some(values)
}

/// One logged-in connection, for further statements; dropping it closes it.
#[derive(Debug)]
pub struct Session(Wire);

impl Session {
    /// Connects and logs in; the caller limits the time.
    pub async fn open(target: &MysqlTarget, within: Duration) -> Result<Self, Failure> {
        Wire::open(target, within).await.map(Self)
    }

    /// Runs one statement and returns its rows. After a cancellation the session must not be used again.
    pub async fn query(&mut self, statement: &str) -> Result<Rows, Failure> {
        self.0.query(statement).await
    }

    /// The first column of a statement's first row; none for no row or NULL.
    pub async fn value(&mut self, statement: &str) -> Result<Option<String>, Failure> {
        Ok(self.query(statement).await?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// Returns once the server sends something unrequested, which announces the end, or the connection has ended. Safe to cancel.
    pub async fn ended(&mut self) {
        let _ = self.0.stream.fill_buf().await;
    }

    /// Sends QUIT and closes the connection.
    pub async fn close(self) {
        self.0.quit().await;
    }
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("number", &self.number).finish_non_exhaustive()
    }
}

/// One connection, and the number of its next packet.
pub(super) struct Wire {
    stream: BufReader<Bounded<Box<dyn Duplex>>>,
    allowance: Allowance,
    sequence: u8,
    number: u64,
}

impl Wire {
    fn new(stream: Box<dyn Duplex>) -> Self {
        let allowance = Allowance::new();
        Self {
            stream: BufReader::with_capacity(1024, Bounded::new(stream, allowance.clone())),
            allowance,
            sequence: 0,
            number: session_number(),
        }
    }

    /// Connects and logs in; the caller limits the time.
    async fn open(target: &MysqlTarget, within: Duration) -> Result<Self, Failure> {
        let local = target.address.host.starts_with('/');
        let stream: Box<dyn Duplex> = if local {
            Box::new(dial_unix(std::path::Path::new(&target.address.host)).await?)
        } else {
            let stream = dial(&target.address, within).await?;
            notice_loss(&stream, LOSS);
            Box::new(stream)
        };
        let mut wire = Self::new(stream);
        let greeting = wire.receive().await?;
        if let [0xff, rest @ ..] = greeting.as_slice() {
            return Err(refusal(rest));
        }
        let greeting = Greeting::parse(&greeting).ok_or_else(|| Failure::new(ErrorKind::Protocol, "the peer does not speak MySQL"))?;
        let encrypted = match target.sslmode {
            _ if local => false,
            SslMode::Disable => false,
            SslMode::Allow | SslMode::Prefer => greeting.offers_tls(),
            SslMode::Require if greeting.offers_tls() => true,
            SslMode::Require => return Err(Failure::new(ErrorKind::Tls, "the server does not offer TLS, which sslmode requires")),
        };
        if encrypted {
            wire.send(&greeting.tls_request(target)).await?;
            let config = Arc::new(tls::config(&target.tls, &[])?);
            let Self { stream, sequence, .. } = wire;
            wire = Self::new(Box::new(tls::wrap(stream, &target.address.host, config).await?));
            wire.sequence = sequence;
        }
        wire.send(&greeting.login(target, encrypted)?).await?;
        let channel = if local || (encrypted && target.tls.proves_the_server()) {
            Channel::Proven
        } else if encrypted {
            Channel::Encrypted
        } else {
            Channel::Clear
        };
        login::finish(&mut wire, target, greeting.challenge(), channel).await?;
        Ok(wire)
    }

    async fn quit(mut self) {
        self.sequence = 0;
        let _ = self.send(&[QUIT]).await;
    }

    async fn select_one(&mut self) -> Result<(), Failure> {
        match self.query("SELECT 1").await?.as_slice() {
            [row] if row.as_slice() == [Some("1".to_owned())] => Ok(()),
            _ => Err(Failure::new(ErrorKind::Protocol, "SELECT 1 did not return 1")),
        }
    }

    /// Runs one statement and reads its rows: a count of columns, their definitions, an end, the rows, an end.
    async fn query(&mut self, statement: &str) -> Result<Rows, Failure> {
        self.allowance.renew();
        self.sequence = 0;
        let mut query = vec![QUERY];
        query.extend_from_slice(statement.as_bytes());
        self.send(&query).await?;
        let wrong = |words: &str| Failure::new(ErrorKind::Protocol, words);
        match self.receive().await?.as_slice() {
            [0xff, rest @ ..] => return Err(refusal(rest)),
            [0x00, ..] => return Ok(Vec::new()),
            _ => {}
        }
        let mut ends = 0_u8;
        let mut rows = Vec::new();
        for _ in 0..MOST_ROWS {
            match self.receive().await?.as_slice() {
                [0xff, rest @ ..] => return Err(refusal(rest)),
                [0xfe, rest @ ..] if rest.len() < 8 => ends = ends.saturating_add(1),
                row if ends == 1 => rows.push(columns(row).ok_or_else(|| wrong("a row is incomplete"))?),
                _ => {}
            }
            if ends == 2 {
                return Ok(rows);
            }
        }
        Err(wrong("the answer does not end"))
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), Failure> {
        let [low, middle, high, _] = (payload.len() as u32).to_le_bytes();
        let mut bytes = vec![low, middle, high, self.sequence];
        bytes.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&bytes).await.map_err(|error| lost(&error))?;
        self.stream.flush().await.map_err(|error| lost(&error))
    }

    async fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await.map_err(|error| lost(&error))?;
        let [low, middle, high, sequence] = head;
        let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
        if length > LONGEST_PACKET {
            return Err(Failure::new(ErrorKind::Protocol, "the peer does not speak MySQL"));
        }
        self.sequence = sequence.wrapping_add(1);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.map_err(|error| lost(&error))?;
        Ok(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_values() {
        assert_eq!(columns(b"\x011\xfb\x02ab\x00"), Some(vec![Some("1".to_owned()), None, Some("ab".to_owned()), Some(String::new())]));
        assert_eq!(columns(b"\x05ab"), None);
        assert_eq!(columns(&[]), Some(Vec::new()));
    }
}
