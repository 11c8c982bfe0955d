//! Probes a Redis with AUTH, SELECT and PING; it never writes.

pub mod heartbeat_reader;
mod ready;
mod topology;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind as RedisErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value};
use tokio::task::JoinSet;

use super::bounded::{Allowance, Bounded};
use super::dial::{Duplex, dial, dial_unix, kind_of_chain, notice_loss, session_number};
use super::kept::{KeptSession, Server};
use super::tls;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::RedisTarget;

/// How long sent data may stay unacknowledged, so that a delayed write cannot arrive much later than it was decided (`docs/decisions.md`,
/// 3).
const LOSS: Duration = Duration::from_secs(5);

/// The longest response in bytes. For a list of empty strings the driver uses 60 and more bytes of memory for each 3 received bytes, and
/// doubles its buffers, so this limits the memory that a peer can use up; the role of a master with 250 replicas is shorter.
const LONGEST_ANSWER: usize = 16 * 1024;

/// One logged-in connection, on its database, that has answered a PING; dropping it closes it.
#[derive(Debug)]
pub struct Session {
    number: u64,
    connection: MultiplexedConnection,
    allowance: Allowance,
    local: Option<IpAddr>,
    /// The task that transports the bytes; it ends with the session.
    driver: JoinSet<()>,
}

impl Session {
    /// Connects, logs in and sends PING: only its reply distinguishes a missing password from other errors.
    ///
    /// Connecting and each reply may take at most `within`.
    pub async fn open(target: &RedisTarget, within: Duration) -> Result<Self, Failure> {
        let mut session = Self::connect(target, within).await?;
        if target.database != 0 {
            session.query(redis::cmd("SELECT").arg(target.database)).await?;
        }
        session.ping().await?;
        Ok(session)
    }

    /// Connects and logs in without selecting a database, as for a Sentinel.
    ///
    /// It sends the login commands itself, because the driver would hide the server's text behind one kind of error.
    async fn connect(target: &RedisTarget, within: Duration) -> Result<Self, Failure> {
        let (mut stream, local): (Box<dyn Duplex>, _) = if target.address.host.starts_with('/') {
            (Box::new(dial_unix(Path::new(&target.address.host)).await?), None)
        } else {
            let stream = dial(&target.address, within).await?;
            notice_loss(&stream, LOSS);
            let local = stream.local_addr().ok().map(|address| address.ip());
            (Box::new(stream), local)
        };
        if let Some(tls) = &target.tls {
            stream = Box::new(tls::wrap(stream, &target.address.host, Arc::new(tls::config(tls, &[])?)).await?);
        }
        let allowance = Allowance::new();
        allowance.renew_to(LONGEST_ANSWER);
        let stream = Bounded::new(stream, allowance.clone());
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(within)).set_response_timeout(Some(within));
        let (connection, moving) = MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(|error| failure(&error))?;
        let mut driver = JoinSet::new();
        driver.spawn(moving);
        let mut session = Self { number: session_number(), connection, allowance, local, driver };
        let password = target.password.as_ref().map_or("", |password| password.expose());
        // As in redis-py: a user without a password logs in with the empty one, which `nopass` users accept.
        if !password.is_empty() || target.username.is_some() {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &target.username {
                auth.arg(user);
            }
            session.query(auth.arg(password)).await?;
        }
        Ok(session)
    }

    /// Returns when the connection is closed, by the server or by an error. Safe to cancel.
    pub async fn closed(&mut self) {
        self.driver.join_next().await;
    }

    /// Sends PING and expects PONG.
    pub async fn ping(&mut self) -> Result<(), Failure> {
        match self.query(&redis::cmd("PING")).await? {
            Value::SimpleString(word) if word == "PONG" => Ok(()),
            other => Err(Failure::new(ErrorKind::Protocol, &format!("PING returned {other:?}"))),
        }
    }

    /// Sends one command and reads its reply; an error reply is a failure, too.
    pub async fn query(&mut self, command: &Cmd) -> Result<Value, Failure> {
        self.send(command).await.map_err(|error| failure(&error))
    }

    /// Like [`Session::query`], with the driver's error, for callers that need its code.
    pub async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.allowance.renew_to(LONGEST_ANSWER);
        self.connection.send_packed_command(command).await?.extract_error()
    }

    /// Like [`Session::query`], for the only command with a long reply: the members of a set.
    async fn query_list(&mut self, command: &Cmd) -> Result<Value, Failure> {
        self.allowance.renew();
        let answer = self.connection.send_packed_command(command).await.and_then(Value::extract_error);
        answer.map_err(|error| failure(&error))
    }

    /// Our own address on this connection; none if unknown.
    pub const fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// Whether the connection has ended.
    pub fn is_closed(&mut self) -> bool {
        self.driver.try_join_next().is_some() || self.driver.is_empty()
    }
}

/// Classifies an error of the driver or the server; the server's text becomes the details.
pub fn failure(error: &RedisError) -> Failure {
    match (error.code(), error.detail()) {
        (Some(code), Some(words)) => Failure::new(kind(error), &format!("{code} {words}")),
        _ => Failure::new(kind(error), &error.to_string()).once_connected(),
    }
}

/// The class of an error; the driver has separate kinds for only some of the server's codes.
fn kind(error: &RedisError) -> ErrorKind {
    let words = error.detail().unwrap_or_default();
    match (error.kind(), error.code()) {
        (RedisErrorKind::Io, _) if error.is_timeout() => ErrorKind::Timeout,
        (RedisErrorKind::Io, _) if kind_of_chain(error) == Some(ErrorKind::Tls) => ErrorKind::Tls,
        (RedisErrorKind::Io, _) if kind_of_chain(error) == Some(ErrorKind::Protocol) => ErrorKind::Protocol,
        // We connect ourselves, so this is a connection that was closed before the reply.
        (RedisErrorKind::Io, _) => ErrorKind::Refused,
        (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED")) => ErrorKind::Auth,
        (_, Some("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MISCONF" | "NOREPLICAS" | "READONLY" | "OOM")) => {
            ErrorKind::NotReady
        }
        (RedisErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask), _) => ErrorKind::NotReady,
        (RedisErrorKind::Server(ServerErrorKind::ResponseError), _) if words.contains("max number of clients") => ErrorKind::Refused,
        // An unknown password, an unknown database, and what Redis answers to long commands before the login.
        (RedisErrorKind::Server(ServerErrorKind::ResponseError), _)
            if ["without any password", "DB index", "unauthenticated"].iter().any(|mark| words.contains(mark)) =>
        {
            ErrorKind::Auth
        }
        _ => ErrorKind::Protocol,
    }
}

pub(super) use ready::ReadyProbe;
pub use topology::open;

impl KeptSession for Session {
    fn number(&self) -> u64 {
        self.number
    }

    fn is_over(&mut self) -> bool {
        self.is_closed()
    }
}

impl Server for RedisTarget {
    type Session = Session;

    async fn probe(&self, session: &mut Session) -> Result<(), Failure> {
        session.ping().await
    }

    async fn open(&self, within: Duration) -> Result<Session, Failure> {
        Session::open(self, within).await
    }
}
