//! What a check asks: where it is, how to log in, and what is expected of the answer.

use std::fmt;

use crate::secret::Secret;

/// Something that can be asked whether it is there.
#[derive(Clone, Debug)]
pub enum Target {
    /// A port that accepts connections.
    Tcp(Address),
    /// An HTTP endpoint.
    Http(HttpTarget),
    /// A PostgreSQL database that takes a login and answers `SELECT 1`.
    Postgres(PostgresTarget),
    /// A Redis that takes AUTH and SELECT and answers PING.
    Redis(RedisTarget),
}

impl Target {
    /// The kind's word in logs, health answers and metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
        }
    }
}

impl fmt::Display for Target {
    /// Where it is and who asks, without any secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Http(http) => f.write_str(&http.shown),
            Self::Postgres(postgres) => write!(f, "{postgres}"),
            Self::Redis(redis) => write!(f, "{redis}"),
        }
    }
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, an IPv4 or an IPv6 address without brackets.
    pub host: String,
    /// The port, 1 to 65535.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// An HTTP request and what its answer has to be.
#[derive(Clone, Debug)]
pub struct HttpTarget {
    /// The whole URL; it may hold a key in its query, so it is not shown.
    pub url: Secret,
    /// The URL without user and query.
    pub shown: String,
    /// The request's method.
    pub method: String,
    /// Headers; their values may be tokens.
    pub headers: Vec<(String, Secret)>,
    /// What the answer has to be.
    pub expect: Expect,
}

/// What an HTTP answer has to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expect {
    /// Accepted statuses; empty: 200 to 299.
    pub status: Vec<u16>,
    /// A text that the body holds.
    pub body: Option<String>,
    /// JSON pointers (RFC 6901) and the values one of which must stand there.
    pub json: Vec<(String, Vec<serde_json::Value>)>,
}

/// A PostgreSQL database and its login.
#[derive(Clone, Debug)]
pub struct PostgresTarget {
    /// Where; a host that begins with `/` is the directory of a unix socket.
    pub address: Address,
    /// The role.
    pub user: String,
    /// The role's password; none where the server asks for none.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
}

impl fmt::Display for PostgresTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@{}/{}", self.user, self.address, self.database)
    }
}

/// A Redis and its login.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    /// Where.
    pub address: Address,
    /// The ACL user; none for the default user.
    pub username: Option<String>,
    /// The password; none where the server asks for none.
    pub password: Option<Secret>,
    /// The database's number.
    pub database: u32,
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.username {
            Some(user) => write!(f, "redis://{user}@{}/{}", self.address, self.database),
            None => write!(f, "redis://{}/{}", self.address, self.database),
        }
    }
}
