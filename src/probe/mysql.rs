//! Asks whether a MySQL or MariaDB takes a login and answers `SELECT 1`, with the few packets of its protocol that this takes.

mod handshake;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::bounded::{Allowance, Bounded};
use super::dial::{Duplex, class_of_io, dial, dial_unix, notice_loss, session_number};
use super::tls;
use crate::outcome::{Cause, Class, Failure};
use crate::plan::target::{MysqlTarget, SslMode};
use handshake::{Greeting, proof};

/// How long sent data may stay unacknowledged before the kernel gives the connection up.
const LOSS: Duration = Duration::from_secs(10);

/// No packet of a login or of `SELECT 1` is longer.
const LONGEST_PACKET: usize = 16 * 1024;

/// More packets than this are no login.
const MOST_PACKETS: usize = 16;

/// More packets than this are no answer to any question of ours.
const MOST_ROWS: usize = 1024;

const QUERY: u8 = 3;
const QUIT: u8 = 1;

/// A check of a MySQL with the connection it keeps between two runs.
pub(super) struct MysqlProbe {
    target: MysqlTarget,
    wire: Option<Wire>,
}

impl MysqlProbe {
    pub(super) const fn new(target: MysqlTarget) -> Self {
        Self { target, wire: None }
    }

    /// Which session is kept; none without one.
    pub(super) fn session(&self) -> Option<u64> {
        self.wire.as_ref().map(|wire| wire.number)
    }

    /// `SELECT 1` over the kept connection; one that has died meanwhile is replaced within the same run.
    pub(super) async fn ask(&mut self, within: Duration) -> Result<(), Failure> {
        if let Some(mut wire) = self.wire.take()
            && wire.select_one().await.is_ok()
        {
            self.wire = Some(wire);
            return Ok(());
        }
        let mut wire = Wire::open(&self.target, within).await?;
        wire.select_one().await?;
        self.wire = Some(wire);
        Ok(())
    }

    /// Takes leave, so that the server's log does not speak of an aborted connection.
    pub(super) async fn close(&mut self) {
        if let Some(mut wire) = self.wire.take() {
            wire.sequence = 0;
            let _ = wire.send(&[QUIT]).await;
        }
    }
}

impl std::fmt::Debug for MysqlProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MysqlProbe").field("target", &self.target).field("connected", &self.wire.is_some()).finish()
    }
}

/// The rows of an answer; none for NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// The values of a row of the text protocol: a length and its bytes each, 0xfb for NULL.
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

/// One connection that is logged in, for those who have more to ask; dropping it closes it.
pub struct Session(Wire);

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// Connects and logs in; what is slow about it is the caller's to give up.
    pub async fn open(target: &MysqlTarget, within: Duration) -> Result<Self, Failure> {
        Wire::open(target, within).await.map(Self)
    }

    /// Runs one statement and returns its rows. Not to be used any more once it was cancelled.
    pub async fn query(&mut self, statement: &str) -> Result<Rows, Failure> {
        self.0.query(statement).await
    }

    /// The first column of a statement's first row; none for no row or NULL.
    pub async fn value(&mut self, statement: &str) -> Result<Option<String>, Failure> {
        Ok(self.query(statement).await?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// Returns once the server says something unasked, which is a farewell, or the connection has ended. Safe to cancel.
    pub async fn ended(&mut self) {
        let _ = self.0.stream.fill_buf().await;
    }

    /// Takes leave.
    pub async fn close(mut self) {
        self.0.sequence = 0;
        let _ = self.0.send(&[QUIT]).await;
    }
}

/// One connection, and the number of its next packet.
struct Wire {
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

    /// Connects and logs in; what is slow about it is the caller's to give up.
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
        let greeting = Greeting::parse(&greeting).ok_or_else(|| Failure::new(Class::Protocol, "the peer does not speak MySQL"))?;
        let encrypted = match target.sslmode {
            _ if local => false,
            SslMode::Disable => false,
            SslMode::Allow | SslMode::Prefer => greeting.offers_tls(),
            SslMode::Require if greeting.offers_tls() => true,
            SslMode::Require => return Err(Failure::new(Class::Tls, "the server does not offer TLS, which sslmode asks for")),
        };
        if encrypted {
            wire.send(&greeting.tls_request(target)).await?;
            let config = Arc::new(tls::config(&target.tls, &[])?);
            let Self { stream, sequence, .. } = wire;
            wire = Self::new(Box::new(tls::wrap(stream, &target.address.host, config).await?));
            wire.sequence = sequence;
        }
        wire.send(&greeting.login(target, encrypted)?).await?;
        wire.finish_login(target, encrypted || local).await?;
        Ok(wire)
    }

    /// Answers what the server asks until it lets us in; `private` is a connection on which nobody else can read a password.
    async fn finish_login(&mut self, target: &MysqlTarget, private: bool) -> Result<(), Failure> {
        let password = target.password.as_ref().map_or("", |password| password.expose());
        for _ in 0..MOST_PACKETS {
            let packet = self.receive().await?;
            match packet.as_slice() {
                [0x00, ..] => return Ok(()),
                [0xff, rest @ ..] => return Err(refusal(rest)),
                // Another way to prove the password, with a challenge of its own.
                [0xfe, rest @ ..] => {
                    let mut parts = rest.splitn(2, |byte| *byte == 0);
                    let plugin = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
                    let challenge = parts.next().unwrap_or_default();
                    self.send(&proof(&plugin, password, challenge.strip_suffix(&[0]).unwrap_or(challenge), private)?).await?;
                }
                // caching_sha2_password: it remembers us (3), or wants the password itself (4).
                [0x01, 3] => {}
                [0x01, 4] if private => {
                    let mut plain = password.as_bytes().to_vec();
                    plain.push(0);
                    self.send(&plain).await?;
                }
                [0x01, 4] => {
                    let words =
                        "the server wants the password itself (caching_sha2_password), which is told over TLS or a unix socket only";
                    return Err(Failure::new(Class::Auth, words));
                }
                _ => return Err(Failure::new(Class::Protocol, "the peer does not speak MySQL")),
            }
        }
        Err(Failure::new(Class::Protocol, "the login does not end"))
    }

    async fn select_one(&mut self) -> Result<(), Failure> {
        match self.query("SELECT 1").await?.as_slice() {
            [row] if row.as_slice() == [Some("1".to_owned())] => Ok(()),
            _ => Err(Failure::new(Class::Protocol, "SELECT 1 was not answered with 1")),
        }
    }

    /// Runs one statement and takes its rows: a count of columns, their definitions, an end, the rows, an end.
    async fn query(&mut self, statement: &str) -> Result<Rows, Failure> {
        self.allowance.renew();
        self.sequence = 0;
        let mut query = vec![QUERY];
        query.extend_from_slice(statement.as_bytes());
        self.send(&query).await?;
        let wrong = |words: &str| Failure::new(Class::Protocol, words);
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
                row if ends == 1 => rows.push(columns(row).ok_or_else(|| wrong("a row is cut short"))?),
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
            return Err(Failure::new(Class::Protocol, "the peer does not speak MySQL"));
        }
        self.sequence = sequence.wrapping_add(1);
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.map_err(|error| lost(&error))?;
        Ok(payload)
    }
}

/// What the server says when it refuses: a number, after the greeting also a SQLSTATE, and words.
fn refusal(rest: &[u8]) -> Failure {
    let Some((number, rest)) = rest.split_first_chunk() else {
        return Failure::new(Class::Protocol, "the peer does not speak MySQL");
    };
    let number = u16::from_le_bytes(*number);
    let (state, words) = match rest {
        [b'#', rest @ ..] if rest.len() >= 5 => rest.split_at(5),
        rest => (&b""[..], rest),
    };
    let (state, words) = (String::from_utf8_lossy(state), String::from_utf8_lossy(words));
    let failure = Failure::new(class_of_error(number), format!("error {number} {state}: {words}").trim());
    if failure.class == Class::Missing { failure.because(Cause::NoDatabase) } else { failure }
}

/// The class of an error number (MySQL's server error reference, MariaDB's alike).
const fn class_of_error(number: u16) -> Class {
    match number {
        // User, password, host, right, plugin, expired password, locked account.
        1044 | 1045 | 1130 | 1142 | 1227 | 1251 | 1524 | 1698 | 1820 | 1862 | 2059 | 3118 | 3955 | 4151 => Class::Auth,
        3159 => Class::Tls,
        // Unknown database.
        1049 => Class::Missing,
        // Too many connections, blocked host, shutting down, out of memory, too many of this user, read-only or starting up.
        1040 | 1129 | 1053 | 1037 | 1041 | 1203 | 1226 | 1290 | 3032 | 3168 => Class::NotReady,
        _ => Class::Protocol,
    }
}

fn lost(error: &io::Error) -> Failure {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
        return tls::failure(error);
    }
    Failure::new(class_of_io(error), &format!("talking to the server: {error}")).once_connected()
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

    #[test]
    fn a_refusal_has_a_class_and_keeps_its_numbers() {
        let failure = refusal(b"\x15\x04#28000Access denied for user 'app'@'localhost'");
        assert_eq!(failure.class, Class::Auth);
        assert_eq!(failure.private.as_str(), "error 1045 28000: Access denied for user 'app'@'localhost'");
        let missing = refusal(b"\x19\x04#42000Unknown database 'app'");
        assert_eq!((missing.class, missing.cause), (Class::Missing, Cause::NoDatabase));
        assert_eq!(refusal(b"\x10\x04Too many connections").class, Class::NotReady);
        assert_eq!(refusal(b"").class, Class::Protocol);
    }
}
