//! The target of a check: address, login, and the expected response.

mod broker;
mod database;
mod dify;
mod redis;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::command::CommandPlan;
use crate::secret::{Secret, scrub};
pub use broker::{BrokerTarget, Protocol};
pub use database::{AuthMethods, Demands, MysqlTarget, PostgresHost, PostgresTarget, ServerKey, ServerRole};
pub use dify::{Api, ClientPlan, DifyAccount, DifyClient, DifyTarget, Keys};
pub use redis::{ClusterTarget, ReadyTarget, RedisPlace, RedisTarget, SentinelTarget};
pub use tls::{ClientCertificate, SslMode, Tls, Verify};

/// Something that can be probed.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A port that accepts connections.
    Tcp(Address),
    /// A unix socket that accepts connections.
    Unix(PathBuf),
    /// A file that exists.
    File(PathBuf),
    /// A host name that has an address.
    Dns(String),
    /// A file system with enough free space.
    Disk(DiskTarget),
    /// A command that exits with status 0.
    Exec(Box<CommandPlan>),
    /// The main process, which has to run.
    Process,
    /// The module of this name, which has to run.
    Module(String),
    /// An HTTP endpoint.
    Http(HttpTarget),
    /// Several HTTP endpoints under one name; all have to succeed.
    Several(SeveralTarget),
    /// A Dify whose APIs are monitored; at least one has to succeed.
    Dify(Box<DifyTarget>),
    /// A gRPC server that reports SERVING (health v1).
    Grpc(GrpcTarget),
    /// A message broker or a MongoDB that answers.
    Broker(BrokerTarget),
    /// A PostgreSQL database that accepts a login and answers `SELECT 1`.
    Postgres(PostgresTarget),
    /// A MySQL or MariaDB database that accepts a login and answers `SELECT 1`.
    Mysql(MysqlTarget),
    /// A Redis that accepts AUTH and SELECT and answers PING.
    Redis(RedisTarget),
    /// The Redis that its Sentinels name as master.
    Sentinel(SentinelTarget),
    /// A Redis Cluster whose slots are all served.
    Cluster(ClusterTarget),
    /// A service with enough ready instances in the registry.
    Ready(ReadyTarget),
}

impl Target {
    /// The name of the kind in logs, health responses and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Unix(_) => "unix",
            Self::File(_) => "file",
            Self::Dns(_) => "dns",
            Self::Disk(_) => "disk",
            Self::Exec(_) => "exec",
            Self::Process | Self::Module(_) => "process",
            Self::Http(_) | Self::Several(_) => "http",
            Self::Dify(_) => "dify",
            Self::Grpc(_) => "grpc",
            Self::Broker(broker) => broker.kind(),
            Self::Postgres(_) => "postgres",
            Self::Mysql(_) => "mysql",
            Self::Redis(_) => "redis",
            Self::Sentinel(_) => "redis+sentinel",
            Self::Cluster(_) => "redis+cluster",
            Self::Ready(_) => "redis+ready",
        }
    }

    /// The API key of an HTTP check, masked.
    pub fn masked_key(&self) -> Option<&str> {
        if let Self::Http(http) = self { http.masked_key.as_deref() } else { None }
    }

    /// The URLs of an HTTP check, without user and query; none for other kinds.
    pub fn endpoints(&self) -> Vec<&str> {
        match self {
            Self::Http(http) => vec![&http.shown],
            Self::Several(several) => several.members.iter().map(|member| member.http.shown.as_str()).collect(),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Target {
    /// The address and the user, without any secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", scrub(&path.display().to_string())),
            Self::File(path) => write!(f, "file://{}", scrub(&path.display().to_string())),
            Self::Dns(name) => write!(f, "dns://{name}"),
            Self::Disk(disk) => write!(f, "{disk}"),
            Self::Exec(command) => write!(f, "exec:{}", command.argv),
            Self::Process => f.write_str("process:"),
            Self::Module(name) => write!(f, "process:{name}"),
            Self::Http(http) => f.write_str(&http.shown),
            Self::Several(several) => write!(f, "{several}"),
            Self::Dify(dify) => write!(f, "{dify}"),
            Self::Grpc(grpc) => write!(f, "{grpc}"),
            Self::Broker(broker) => write!(f, "{broker}"),
            Self::Postgres(postgres) => write!(f, "{postgres}"),
            Self::Mysql(mysql) => write!(f, "{mysql}"),
            Self::Redis(redis) => write!(f, "{redis}"),
            Self::Sentinel(sentinel) => write!(f, "{sentinel}"),
            Self::Cluster(cluster) => write!(f, "{cluster}"),
            Self::Ready(ready) => write!(f, "{ready}"),
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, an IPv4 or an IPv6 address without brackets, or a path from `/` where a unix socket is possible.
    pub host: String,
    /// The port, 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.starts_with('/') {
            f.write_str(&self.host)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// An HTTP request and its expected response.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpTarget {
    /// The whole URL; its query may contain a key, so it is not shown.
    pub url: Secret,
    /// The URL without user and query.
    pub shown: String,
    /// The request's method.
    pub method: String,
    /// Headers; their values may be tokens.
    pub headers: Vec<(String, Secret)>,
    /// The API key, masked; none if there is none.
    pub masked_key: Option<String>,
    /// The expected response.
    pub expect: Expectation,
    /// How the server is verified, for https.
    pub tls: Tls,
    /// How many redirects are followed, to other hosts without headers and credentials; none: up to 5 if scheme, host and port stay the same, and
    /// none if a status from 300 to 399 is expected.
    pub redirects: Option<u8>,
    /// Whether the proxy of the environment is used (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    pub environment_proxy: bool,
}

/// Several HTTP endpoints under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct SeveralTarget {
    /// The endpoints in order; at least one.
    pub members: Vec<Member>,
    /// How many are probed at a time, at least 1.
    pub at_once: usize,
    /// How long each may take.
    pub timeout: Duration,
}

/// One of several HTTP endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name, unique among them.
    pub name: String,
    /// The target.
    pub http: HttpTarget,
    /// Whether its API key is set but empty: then it is not probed.
    pub lacks_key: bool,
}

impl SeveralTarget {
    /// The time limit for probing all of them: the number of rounds times the limit of one, plus a tenth.
    pub fn longest(&self) -> Duration {
        let rounds = u32::try_from(self.members.len().div_ceil(self.at_once.max(1))).unwrap_or(u32::MAX);
        let all = self.timeout.saturating_mul(rounds);
        all.saturating_add(all / 10)
    }
}

impl fmt::Display for SeveralTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Member { name, http, .. }) in self.members.iter().enumerate() {
            write!(f, "{}{name} {}", if index > 0 { ", " } else { "" }, http.shown)?;
        }
        Ok(())
    }
}

/// A file system and the space that has to be free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskTarget {
    /// Any path on it.
    pub path: PathBuf,
    /// Bytes that have to be free for users that are not root.
    pub free: u64,
}

impl fmt::Display for DiskTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk://{}?free={}", self.path.display(), ByteSize(self.free))
    }
}

/// Bytes in readable form: a whole number if one of the two largest fitting units divides them, else to a tenth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["", "KiB", "MiB", "GiB", "TiB"];
        let size = |unit: usize| 1_u64 << (10 * unit);
        let fitting = (0..UNITS.len()).rev().find(|unit| self.0 >= size(*unit)).unwrap_or_default();
        match (fitting.saturating_sub(1)..=fitting).rev().find(|unit| self.0.is_multiple_of(size(*unit))) {
            Some(whole) => write!(f, "{}{}", self.0 / size(whole), UNITS[whole]),
            None => write!(f, "{:.1}{}", self.0 as f64 / size(fitting) as f64, UNITS[fitting]),
        }
    }
}

/// A gRPC server and the service whose health is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpcTarget {
    /// The address.
    pub address: Address,
    /// The service's full name; empty: the server as a whole.
    pub service: String,
    /// How TLS is used; none: no TLS.
    pub tls: Option<Tls>,
}

impl fmt::Display for GrpcTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls.is_some() { "grpcs" } else { "grpc" }, self.address)?;
        if self.service.is_empty() { Ok(()) } else { write!(f, "/{}", self.service) }
    }
}

/// The expected HTTP response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectation {
    /// Accepted statuses; empty: 200 to 299.
    pub status: Vec<u16>,
    /// A text that the body has to contain.
    pub body: Option<String>,
    /// JSON pointers (RFC 6901), each with the accepted values.
    pub json: Vec<(String, Vec<serde_json::Value>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_shown_as_a_person_writes_it() {
        for (bytes, shown) in [
            (0, "0"),
            (512, "512"),
            (1 << 30, "1GiB"),
            (1500 << 20, "1500MiB"),
            (900 << 40, "900TiB"),
            (74_680_172_544, "69.6GiB"),
            (1537, "1537"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), shown);
        }
    }
}
