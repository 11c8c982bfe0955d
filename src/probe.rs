//! Probes one target once, within a deadline.
#![warn(clippy::arithmetic_side_effects)]

mod bounded;
mod broker;
pub mod dial;
mod dify;
mod exec;
mod first;
mod grpc;
mod http;
mod kept;
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
use crate::outcome::{EndpointResult, ErrorKind, Failure, Outcome, Volume};
use crate::plan::CommandPlan;
use crate::plan::target::{
    BrokerTarget, ClusterTarget, DiskTarget, GrpcTarget, MysqlTarget, PostgresTarget, RedisTarget, SentinelTarget, Target,
};
use dial::shown;
use kept::Kept;

/// A target with the connection that is kept between two probes.
#[derive(Debug)]
pub struct Probe {
    kind: AnyProbe,
    /// Whether the kept session was lost at the last probe.
    lost: bool,
}

#[derive(Debug)]
enum AnyProbe {
    Tcp(tcp::TcpProbe),
    Unix(PathBuf),
    File(PathBuf),
    Dns(String),
    Disk(DiskTarget),
    Exec(Box<CommandPlan>, Option<Mailbox>),
    Process(Option<String>, Option<Mailbox>),
    Grpc(Box<GrpcTarget>),
    Broker(Box<BrokerTarget>),
    Http(Box<http::HttpProbe>),
    Several(several::SeveralProbe),
    Dify(Box<dify::DifyProbe>),
    Postgres(Box<Kept<PostgresTarget>>),
    Mysql(Box<Kept<MysqlTarget>>),
    Redis(Box<Kept<RedisTarget>>),
    Sentinel(Box<Kept<SentinelTarget>>),
    Cluster(Box<Kept<ClusterTarget>>),
    Ready(Box<redis::ReadyProbe>),
}

/// The result of a probe.
struct Found {
    result: Result<(), Failure>,
    parts: Vec<EndpointResult>,
    volume: Option<Volume>,
}

impl From<Result<(), Failure>> for Found {
    fn from(result: Result<(), Failure>) -> Self {
        Self { result, parts: Vec::new(), volume: None }
    }
}

impl Probe {
    /// A probe of `target` without a connection yet, if no supervisor runs.
    pub fn new(target: &Target) -> Self {
        Self::under(target, None)
    }

    /// A probe of `target` without a connection yet; a supervisor, if there is one, runs commands for it.
    pub fn under(target: &Target, supervisor: Option<&Mailbox>) -> Self {
        let kind = match target.clone() {
            Target::Tcp(address) => AnyProbe::Tcp(tcp::TcpProbe::new(address)),
            Target::Unix(path) => AnyProbe::Unix(path),
            Target::File(path) => AnyProbe::File(path),
            Target::Dns(name) => AnyProbe::Dns(name),
            Target::Disk(disk) => AnyProbe::Disk(disk),
            Target::Exec(command) => AnyProbe::Exec(command, supervisor.cloned()),
            Target::Process => AnyProbe::Process(None, supervisor.cloned()),
            Target::Module(name) => AnyProbe::Process(Some(name.clone()), supervisor.cloned()),
            Target::Grpc(target) => AnyProbe::Grpc(Box::new(target)),
            Target::Broker(target) => AnyProbe::Broker(Box::new(target)),
            Target::Http(target) => AnyProbe::Http(Box::new(http::HttpProbe::new(target))),
            Target::Several(target) => AnyProbe::Several(several::SeveralProbe::new(target)),
            Target::Dify(target) => AnyProbe::Dify(Box::new(dify::DifyProbe::new(*target))),
            Target::Postgres(target) => AnyProbe::Postgres(Box::new(Kept::new(target))),
            Target::Mysql(target) => AnyProbe::Mysql(Box::new(Kept::new(target))),
            Target::Redis(target) => AnyProbe::Redis(Box::new(Kept::new(target))),
            Target::Sentinel(target) => AnyProbe::Sentinel(Box::new(Kept::new(target))),
            Target::Cluster(target) => AnyProbe::Cluster(Box::new(Kept::new(target))),
            Target::Ready(target) => AnyProbe::Ready(Box::new(redis::ReadyProbe::new(target))),
        };
        Self { kind, lost: false }
    }

    /// Probes once. After `within` the probe is dropped together with its connection, whatever its state, so a peer that accepts and then
    /// does not respond is an [`ErrorKind::Timeout`] like any other.
    pub async fn probe(&mut self, within: Duration) -> Outcome {
        let (began, kept) = (Instant::now(), self.kind.session());
        // Connecting gets a little less time, so that its own error comes first.
        let answered = timeout(within, self.once(within.mul_f64(0.95))).await;
        let late = |_| Found::from(Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(within)))));
        let Found { result, parts, volume } = answered.unwrap_or_else(late);
        self.lost = kept.is_some() && self.kind.session() != kept;
        Outcome { result, elapsed: began.elapsed().min(within), parts, volume }
    }

    async fn once(&mut self, within: Duration) -> Found {
        let (result, parts) = match &mut self.kind {
            AnyProbe::Several(probe) => probe.probe(within).await,
            AnyProbe::Dify(probe) => probe.probe(within).await,
            AnyProbe::Disk(disk) => {
                let (result, volume) = local::probe_disk(disk);
                return Found { volume: Some(volume), ..Found::from(result) };
            }
            single => return single.probe(within).await.into(),
        };
        Found { parts, ..Found::from(result) }
    }

    /// Whether a peer may have received the last request. Without a connection it has not; only HTTP reports this.
    pub fn reached(&self) -> bool {
        match &self.kind {
            AnyProbe::Http(probe) => probe.reached(),
            AnyProbe::Several(probe) => probe.reached(),
            _ => true,
        }
    }

    /// Whether the session that was kept from the previous probe had ended by the last one: the server may have been down in between, even
    /// if it answered. False for kinds that keep no session.
    pub const fn lost_session(&self) -> bool {
        self.lost
    }

    /// Closes the session properly, for servers that log an aborted connection otherwise.
    pub async fn close(&mut self) {
        if let AnyProbe::Mysql(probe) = &mut self.kind {
            probe.close().await;
        }
    }
}

impl AnyProbe {
    /// Which session is kept for the next probe. None for a registry, whose probe is about other instances.
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

    /// During a probe its connection belongs to the future of the probe: dropping that closes it.
    async fn probe(&mut self, within: Duration) -> Result<(), Failure> {
        match self {
            Self::Tcp(probe) => probe.probe(within).await,
            Self::Unix(path) => local::probe_unix(path).await,
            Self::File(path) => local::probe_file(path),
            Self::Dns(name) => local::probe_name(name, within).await,
            Self::Disk(disk) => local::probe_disk(disk).0,
            Self::Exec(command, supervisor) => exec::probe_command(command, supervisor.as_ref()).await,
            Self::Process(module, supervisor) => exec::probe_process(module.as_deref(), supervisor.as_ref()).await,
            Self::Grpc(target) => grpc::probe(target, within).await,
            Self::Broker(target) => broker::probe(target, within).await,
            Self::Http(probe) => probe.probe(within).await,
            Self::Several(probe) => probe.probe(within).await.0,
            Self::Dify(probe) => probe.probe(within).await.0,
            Self::Postgres(probe) => probe.probe(within).await,
            Self::Mysql(probe) => probe.probe(within).await,
            Self::Redis(probe) => probe.probe(within).await,
            Self::Sentinel(probe) => probe.probe(within).await,
            Self::Cluster(probe) => probe.probe(within).await,
            Self::Ready(probe) => probe.probe(within).await,
        }
    }
}
