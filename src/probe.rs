//! Asks one target once, within a deadline.
#![warn(clippy::arithmetic_side_effects)]

mod bounded;
mod broker;
pub mod dial;
mod dify;
mod exec;
mod first;
mod grpc;
mod http;
mod local;
pub mod mysql;
pub mod postgres;
pub mod redis;
mod several;
mod tcp;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::mailbox::Mailbox;
use crate::outcome::{ErrorKind, Failure, Outcome, Part, Volume};
use crate::plan::ProcessPlan;
use crate::plan::target::{BrokerTarget, DiskTarget, GrpcTarget, Target};
use dial::shown;

/// A target with the connection that is kept between two questions.
#[derive(Debug)]
pub struct Probe {
    kind: Kind,
    /// Whether the session that was kept was gone when it was last asked.
    lost: bool,
}

#[derive(Debug)]
enum Kind {
    Tcp(tcp::TcpProbe),
    Unix(PathBuf),
    File(PathBuf),
    Dns(String),
    Disk(DiskTarget),
    Exec(Box<ProcessPlan>, Option<Mailbox>),
    Process(Option<String>, Option<Mailbox>),
    Grpc(Box<GrpcTarget>),
    Broker(Box<BrokerTarget>),
    Http(Box<http::HttpProbe>),
    Several(several::SeveralProbe),
    Dify(Box<dify::DifyProbe>),
    Postgres(Box<postgres::PostgresProbe>),
    Mysql(Box<mysql::MysqlProbe>),
    Redis(Box<redis::RedisProbe>),
    Sentinel(Box<redis::SentinelProbe>),
    Cluster(Box<redis::ClusterProbe>),
    Ready(Box<redis::ReadyProbe>),
}

/// What a question found.
struct Found {
    result: Result<(), Failure>,
    parts: Vec<Part>,
    volume: Option<Volume>,
}

impl From<Result<(), Failure>> for Found {
    fn from(result: Result<(), Failure>) -> Self {
        Self { result, parts: Vec::new(), volume: None }
    }
}

impl Probe {
    /// A probe of `target` that has no connection yet, where no supervisor runs.
    pub fn new(target: &Target) -> Self {
        Self::under(target, None)
    }

    /// A probe of `target` that has no connection yet; the supervisor, where there is one, runs commands for it.
    pub fn under(target: &Target, supervisor: Option<&Mailbox>) -> Self {
        let kind = match target.clone() {
            Target::Tcp(address) => Kind::Tcp(tcp::TcpProbe::new(address)),
            Target::Unix(path) => Kind::Unix(path),
            Target::File(path) => Kind::File(path),
            Target::Dns(name) => Kind::Dns(name),
            Target::Disk(disk) => Kind::Disk(disk),
            Target::Exec(process) => Kind::Exec(process, supervisor.cloned()),
            Target::Process => Kind::Process(None, supervisor.cloned()),
            Target::Module(name) => Kind::Process(Some(name.clone()), supervisor.cloned()),
            Target::Grpc(target) => Kind::Grpc(Box::new(target)),
            Target::Broker(target) => Kind::Broker(Box::new(target)),
            Target::Http(target) => Kind::Http(Box::new(http::HttpProbe::new(target))),
            Target::Several(target) => Kind::Several(several::SeveralProbe::new(target)),
            Target::Dify(target) => Kind::Dify(Box::new(dify::DifyProbe::new(*target))),
            Target::Postgres(target) => Kind::Postgres(Box::new(postgres::PostgresProbe::new(target))),
            Target::Mysql(target) => Kind::Mysql(Box::new(mysql::MysqlProbe::new(target))),
            Target::Redis(target) => Kind::Redis(Box::new(redis::RedisProbe::new(target))),
            Target::Sentinel(target) => Kind::Sentinel(Box::new(redis::SentinelProbe::new(target))),
            Target::Cluster(target) => Kind::Cluster(Box::new(redis::ClusterProbe::new(target))),
            Target::Ready(target) => Kind::Ready(Box::new(redis::ReadyProbe::new(target))),
        };
        Self { kind, lost: false }
    }

    /// Asks once. After `within` the question is dropped together with its connection, whatever state that is in,
    /// so a peer that accepts and then stays silent is a [`ErrorKind::Timeout`] like any other.
    pub async fn ask(&mut self, within: Duration) -> Outcome {
        let (began, kept) = (Instant::now(), self.kind.session());
        // Connecting gets a little less, so that its own words come before these.
        let answered = timeout(within, self.once(within.mul_f64(0.95))).await;
        let late = |_| Found::from(Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(within)))));
        let Found { result, parts, volume } = answered.unwrap_or_else(late);
        self.lost = kept.is_some() && self.kind.session() != kept;
        Outcome { result, elapsed: began.elapsed().min(within), parts, volume }
    }

    async fn once(&mut self, within: Duration) -> Found {
        let (result, parts) = match &mut self.kind {
            Kind::Several(probe) => probe.ask(within).await,
            Kind::Dify(probe) => probe.ask(within).await,
            Kind::Disk(disk) => {
                let (result, volume) = local::ask_disk(disk);
                return Found { volume: Some(volume), ..Found::from(result) };
            }
            single => return single.ask(within).await.into(),
        };
        Found { parts, ..Found::from(result) }
    }

    /// Whether a peer may have heard the last question. A connection that never came about was heard by nobody; only HTTP tells.
    pub fn reached(&self) -> bool {
        match &self.kind {
            Kind::Http(probe) => probe.reached(),
            Kind::Several(probe) => probe.reached(),
            _ => true,
        }
    }

    /// Whether the session with the server that was kept from the question before had ended by the last one: the server may have been
    /// away in between, even where it answered. False for kinds that keep none.
    pub const fn lost_session(&self) -> bool {
        self.lost
    }

    /// Takes leave of a server that would complain about a connection which ends without.
    pub async fn close(&mut self) {
        if let Kind::Mysql(probe) = &mut self.kind {
            probe.close().await;
        }
    }
}

impl Kind {
    /// Which session is kept for the next question. That with a registry is none: what is asked there is how others are.
    fn session(&self) -> Option<u64> {
        match self {
            Self::Postgres(probe) => probe.session(),
            Self::Mysql(probe) => probe.session(),
            Self::Redis(probe) => probe.session(),
            Self::Sentinel(probe) => probe.session(),
            Self::Cluster(probe) => probe.session(),
            _ => None,
        }
    }

    /// While a question is open its connection belongs to the question's future: dropping that closes it.
    async fn ask(&mut self, within: Duration) -> Result<(), Failure> {
        match self {
            Self::Tcp(probe) => probe.ask(within).await,
            Self::Unix(path) => local::ask_unix(path).await,
            Self::File(path) => local::ask_file(path),
            Self::Dns(name) => local::ask_name(name, within).await,
            Self::Disk(disk) => local::ask_disk(disk).0,
            Self::Exec(process, supervisor) => exec::ask_command(process, supervisor.as_ref()).await,
            Self::Process(module, supervisor) => exec::ask_process(module.as_deref(), supervisor.as_ref()).await,
            Self::Grpc(target) => grpc::ask(target, within).await,
            Self::Broker(target) => broker::ask(target, within).await,
            Self::Http(probe) => probe.ask(within).await,
            Self::Several(probe) => probe.ask(within).await.0,
            Self::Dify(probe) => probe.ask(within).await.0,
            Self::Postgres(probe) => probe.ask(within).await,
            Self::Mysql(probe) => probe.ask(within).await,
            Self::Redis(probe) => probe.ask(within).await,
            Self::Sentinel(probe) => probe.ask(within).await,
            Self::Cluster(probe) => probe.ask(within).await,
            Self::Ready(probe) => probe.ask(within).await,
        }
    }
}
