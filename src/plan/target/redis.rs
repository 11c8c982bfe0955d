//! Redis in all its deployment forms, and the readiness registry in it.

use std::fmt;

use super::{Address, Tls};
use crate::secret::Secret;

/// A Redis and its login.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisTarget {
    /// The address; a host that begins with `/` is the path of a unix socket.
    pub address: Address,
    /// The ACL user; none for the default user.
    pub username: Option<String>,
    /// The password; none if the server requires none.
    pub password: Option<Secret>,
    /// The database's number.
    pub database: u32,
    /// How TLS is used; none: no TLS.
    pub tls: Option<Tls>,
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.username.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let Self { address, database, .. } = self;
        if address.host.starts_with('/') {
            return write!(f, "redis+unix://{user}{address}?db={database}");
        }
        write!(f, "{}://{user}{address}/{database}", if self.tls.is_some() { "rediss" } else { "redis" })
    }
}

/// A Redis that is found through its Sentinels.
#[derive(Clone, Debug, PartialEq)]
pub struct SentinelTarget {
    /// The Sentinels, at least one.
    pub sentinels: Vec<Address>,
    /// The name under which they monitor the master.
    pub service: String,
    /// The Sentinels' own user and password; none if they require none.
    pub sentinel_login: (Option<String>, Option<Secret>),
    /// The login of the master; the Sentinels give its address.
    pub master: RedisTarget,
}

impl fmt::Display for SentinelTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.master.username.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        write!(f, "redis+sentinel://{user}{}/{}/{}", addresses(&self.sentinels), self.service, self.master.database)
    }
}

/// A Redis Cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterTarget {
    /// Nodes to query, at least one; the first response is used.
    pub nodes: Vec<Address>,
    /// The login, the same on each of them; its address is that of the queried node.
    pub login: RedisTarget,
}

impl fmt::Display for ClusterTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.login.username.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        write!(f, "redis+cluster://{user}{}", addresses(&self.nodes))
    }
}

/// A Redis that can be written to, in any deployment form.
#[derive(Clone, Debug, PartialEq)]
pub enum RedisPlace {
    /// One server.
    One(RedisTarget),
    /// The master that Sentinels name.
    Sentinel(SentinelTarget),
    /// The node of a Cluster that has the key.
    Cluster(ClusterTarget),
}

impl fmt::Display for RedisPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(target) => target.fmt(f),
            Self::Sentinel(target) => target.fmt(f),
            Self::Cluster(target) => target.fmt(f),
        }
    }
}

/// A service in the readiness registry.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadyTarget {
    /// The Redis that holds the registry.
    pub redis: RedisTarget,
    /// The shared key, `<service>_service_status` by default.
    pub key: String,
    /// How many instances have to be ready, at least 1.
    pub min: u64,
}

impl fmt::Display for ReadyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { redis: RedisTarget { address, database, .. }, key, min } = self;
        // The original spelling, if it is equivalent.
        let whose = key.strip_suffix("_service_status").map_or_else(|| format!("key={key}"), |service| format!("service={service}"));
        write!(f, "redis+ready://{address}/{database}?{whose}&min={min}")
    }
}

fn addresses(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
