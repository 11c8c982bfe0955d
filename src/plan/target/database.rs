//! PostgreSQL and MySQL databases, their logins, and the requirements for the server.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{Address, SslMode, Tls};
pub use crate::config::target::ServerRole;
use crate::secret::Secret;

/// A PostgreSQL database and its login.
#[derive(Clone, Debug, PartialEq)]
pub struct PostgresTarget {
    /// The servers, at least one; they are tried in this order (libpq: several hosts).
    pub hosts: Vec<PostgresHost>,
    /// Whether the order is random each time (libpq's `load_balance_hosts=random`).
    pub any_order: bool,
    /// The role.
    pub user: String,
    /// The role's password; none if the server requires none.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// Settings of the session, such as `-c name=value` (libpq's `options`); none for those of the server.
    pub options: Option<String>,
    /// Schemas in which statements look for their tables; empty: the search path of the role.
    pub schemas: Vec<String>,
    /// Whether TLS is used, and how the server is verified.
    pub tls: Tls,
    /// When TLS is used.
    pub sslmode: SslMode,
    /// The requirements that the server has to meet before the login.
    pub demands: Demands,
    /// The required role of the server.
    pub role: ServerRole,
}

/// One of the servers that a target names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresHost {
    /// The address; a host that begins with `/` is the directory of a unix socket.
    pub address: Address,
    /// The address to connect to, while the host's name is verified (libpq's `hostaddr`); none: the name is resolved.
    pub at: Option<IpAddr>,
}

/// The requirements for a login; otherwise the password is not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The login is bound to the certificate (libpq's `channel_binding=require`, RFC 5929 `tls-server-end-point`).
    pub channel_binding: bool,
    /// The allowed authentication methods (libpq's `require_auth`); none: all.
    pub methods: Option<AuthMethods>,
    /// TLS from the first byte, without negotiation (libpq's `sslnegotiation=direct`, PostgreSQL 17).
    pub direct_tls: bool,
}

/// A set of PostgreSQL's authentication methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMethods(u8);

impl AuthMethods {
    /// The names in libpq, each with its bit.
    pub const WORDS: [(&str, Self); 7] = [
        ("none", Self(1)),
        ("password", Self(2)),
        ("md5", Self(4)),
        ("gss", Self(8)),
        ("sspi", Self(16)),
        ("scram-sha-256", Self(32)),
        ("oauth", Self(64)),
    ];

    /// The methods that portcullis supports.
    pub const SPOKEN: Self = Self(1 | 2 | 4 | 32);

    /// Parses libpq's list: methods, or methods that each begin with `!`, which allows all others; an error names the invalid word.
    pub fn parse(list: &str) -> Result<Self, String> {
        let words = list.split(',').map(str::trim);
        let refused = list.trim_start().starts_with('!');
        let mut bits = 0;
        for word in words {
            let name = if refused { word.strip_prefix('!').unwrap_or_default() } else { word };
            let known = Self::WORDS.iter().find(|(known, _)| *known == name);
            bits |= known.ok_or_else(|| word.to_owned())?.1.0;
        }
        Ok(Self(if refused { !bits } else { bits }))
    }

    /// Whether it has a method of `other`.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the method of this name is one of them.
    pub fn has(self, word: &str) -> bool {
        Self::WORDS.iter().any(|(known, method)| *known == word && self.meets(*method))
    }
}

impl fmt::Display for PostgresTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.hosts.iter().map(|host| host.address.to_string()).collect::<Vec<_>>().join(",");
        write!(f, "postgres://{}@{hosts}/{}", self.user, self.database)
    }
}

/// A MySQL or MariaDB database and its login.
#[derive(Clone, Debug, PartialEq)]
pub struct MysqlTarget {
    /// The address; a host that begins with `/` is the path of a unix socket.
    pub address: Address,
    /// The user.
    pub user: String,
    /// The user's password; none if the server requires none.
    pub password: Option<Secret>,
    /// The database; none to log in without one.
    pub database: Option<String>,
    /// How the server is verified.
    pub tls: Tls,
    /// When TLS is spoken; `allow` is `prefer` here.
    pub sslmode: SslMode,
    /// The source of the key that encrypts the password on a connection without TLS.
    pub server_key: ServerKey,
}

/// The RSA key of a MySQL server (`caching_sha2_password`, `sha256_password`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerKey {
    /// From the server: an eavesdropper learns nothing, but an attacker who answers in place of the server gets the password.
    #[default]
    Requested,
    /// None: such a login needs TLS or a unix socket.
    None,
    /// A file (PEM), read for each connection.
    File(PathBuf),
}

impl fmt::Display for MysqlTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mysql://{}@{}/{}", self.user, self.address, self.database.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_methods_is_read_as_libpq_does() {
        let only = AuthMethods::parse("scram-sha-256, md5").unwrap();
        assert!(only.has("scram-sha-256") && only.has("md5") && !only.has("password") && !only.has("none"));
        let others = AuthMethods::parse("!password,!md5").unwrap();
        assert!(others.has("scram-sha-256") && others.has("none") && !others.has("password") && !others.has("md5"));
        assert!(!AuthMethods::parse("gss").unwrap().meets(AuthMethods::SPOKEN));
        assert_eq!(AuthMethods::parse("scram"), Err("scram".to_owned()));
        assert_eq!(AuthMethods::parse("!md5,password"), Err("password".to_owned()));
        assert_eq!(AuthMethods::parse("md5,!password"), Err("!password".to_owned()));
    }
}
