//! The table of target kinds: names, allowed keys, and the function that builds the target.

use super::Written;
use crate::config::problem::nearest;
use crate::plan::target::Target;

/// A kind of target.
pub(super) struct TargetKind {
    /// Its names, the main one first; including Valkey, PostGIS, and the names in Ruby's and Python's clients.
    names: &'static [&'static str],
    /// Further names, which imply TLS.
    secure: &'static [&'static str],
    /// The allowed words after a `+`: the drivers of SQLAlchemy and of dj-database-url. Any other word may mean a different protocol.
    drivers: &'static [&'static str],
    /// The allowed keys besides `url`, `kind`, `host` and `port`.
    keys: &'static [&'static [&'static str]],
    /// Whether its URL may name several hosts.
    pub several: bool,
    /// Builds its target; none after reporting an error.
    pub target: fn(Written<'_, '_>) -> Option<Target>,
}

const LOGIN: &[&str] = &["user", "username", "password"];
const HTTP: &[&str] = &["path", "headers", "method", "expect", "bearer", "key_header", "redirects", "proxy"];
/// The keys of TLS.
const FILES: &[&str] = &["ca", "client_certificate", "client_key"];
const TLS: &[&str] = &["ca", "client_certificate", "client_key", "tls", "insecure"];
const DATABASE: &[&str] = &["database"];
const MYSQL: &[&str] = &["aiomysql", "asyncmy", "cymysql", "mariadbconnector", "mysqlclient", "mysqlconnector", "mysqldb", "pymysql"];
const POSTGRES: &[&str] =
    &["aiopg", "asyncpg", "pg8000", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async", "pygresql", "pypostgresql"];

/// The default row.
const PLAIN: TargetKind = TargetKind { names: &[], secure: &[], drivers: &[], keys: &[], several: false, target: |_| None };

static KINDS: [TargetKind; 18] = [
    TargetKind { names: &["tcp"], target: |written| written.tcp(), ..PLAIN },
    TargetKind { names: &["unix"], keys: &[&["path"]], target: |written| written.file("path").map(Target::Unix), ..PLAIN },
    TargetKind { names: &["file"], keys: &[&["path"]], target: |written| written.file("path").map(Target::File), ..PLAIN },
    TargetKind { names: &["dns"], target: |written| written.dns(), ..PLAIN },
    TargetKind { names: &["disk"], keys: &[&["path", "free"]], target: |written| written.disk(), ..PLAIN },
    TargetKind { names: &["exec"], keys: &[&["command"]], target: |written| written.exec(), ..PLAIN },
    TargetKind { names: &["process"], target: |_| Some(Target::Process), ..PLAIN },
    TargetKind { names: &["http"], secure: &["https"], keys: &[LOGIN, HTTP, TLS], target: |written| written.http(), ..PLAIN },
    TargetKind { names: &["grpc"], secure: &["grpcs"], keys: &[TLS, &["service"]], target: |written| written.grpc(), ..PLAIN },
    TargetKind {
        names: &["amqp", "pyamqp", "librabbitmq"],
        secure: &["amqps"],
        keys: &[LOGIN, TLS, DATABASE],
        several: true,
        target: |written| written.amqp(),
        ..PLAIN
    },
    TargetKind { names: &["mongodb"], keys: &[LOGIN, TLS], several: true, target: |written| written.mongodb(), ..PLAIN },
    TargetKind { names: &["kafka"], keys: &[LOGIN, TLS], several: true, target: |written| written.kafka(), ..PLAIN },
    TargetKind {
        names: &["postgres", "postgresql", "postgis", "psql", "pgsql"],
        drivers: POSTGRES,
        keys: &[LOGIN, FILES, DATABASE, &["sslmode", "role", "query"]],
        several: true,
        target: |written| written.postgres(),
        ..PLAIN
    },
    TargetKind {
        names: &["mysql", "mariadb", "mysql2", "trilogy", "mysqlgis"],
        drivers: MYSQL,
        keys: &[LOGIN, FILES, DATABASE, &["sslmode", "path", "query"]],
        target: |written| written.mysql(),
        ..PLAIN
    },
    TargetKind {
        names: &["redis", "valkey", "redis+unix"],
        secure: &["rediss", "valkeys"],
        keys: &[LOGIN, TLS, DATABASE, &["path"]],
        target: |written| written.redis().map(Target::Redis),
        ..PLAIN
    },
    TargetKind {
        names: &["redis+sentinel"],
        keys: &[LOGIN, TLS, DATABASE, &["service"]],
        several: true,
        target: |written| written.sentinel(),
        ..PLAIN
    },
    TargetKind { names: &["redis+cluster"], keys: &[LOGIN, TLS], several: true, target: |written| written.cluster(), ..PLAIN },
    TargetKind {
        names: &["redis+ready"],
        keys: &[LOGIN, TLS, DATABASE, &["service", "key", "min"]],
        target: |written| written.ready(),
        ..PLAIN
    },
];

impl TargetKind {
    /// The kind of a scheme; none if it is unknown.
    pub(super) fn of(scheme: &str) -> Option<&'static Self> {
        let (name, driver) = scheme.split_once('+').unwrap_or((scheme, ""));
        KINDS.iter().find(|kind| kind.is_named(scheme) || (kind.is_named(name) && kind.drivers.contains(&driver)))
    }

    fn is_named(&self, name: &str) -> bool {
        self.names.contains(&name) || self.secure.contains(&name)
    }

    /// Its main name.
    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Whether `key` is allowed for it.
    pub(super) fn takes(&self, key: &str) -> bool {
        self.keys.iter().any(|keys| keys.contains(&key))
    }
}

/// Whether two schemes mean the same kind, known or not.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other || TargetKind::of(one).is_some_and(|kind| TargetKind::of(other).is_some_and(|other| kind.name() == other.name()))
}

/// Whether `key` is allowed only for some kinds.
pub(super) fn is_particular(key: &str) -> bool {
    KINDS.iter().any(|kind| kind.takes(key))
}

/// Whether a scheme implies TLS.
pub(super) fn is_tls_scheme(scheme: &str) -> bool {
    KINDS.iter().any(|kind| kind.secure.contains(&scheme))
}

/// Schemes of other clients that do not mean the kind they resemble.
const FOREIGN: [&str; 12] =
    ["mongodb+srv", "mssql", "oracle", "sqlite", "sqlite3", "snowflake", "memcached", "redis+socket", "http+unix", "ldap", "ldaps", "nats"];

/// The error for an unknown kind, and what to write instead.
pub(super) fn unknown(scheme: &str) -> String {
    let elsewhere = "`tcp://host:port` checks whether the port accepts a connection, `exec:` runs a command that checks more";
    if FOREIGN.contains(&scheme) {
        return format!("is of the unknown kind `{scheme}`; {elsewhere}");
    }
    if let Some((base, _)) = scheme.split_once('+').filter(|(base, _)| TargetKind::of(base).is_some()) {
        return format!(
            "is of the unknown kind `{scheme}`; the word after the `+` is not a known driver: write `{base}://`, or {elsewhere}"
        );
    }
    match nearest(scheme, KINDS.iter().flat_map(|kind| kind.names.iter().chain(kind.secure).copied())) {
        Some(near) => format!("is of the unknown kind `{scheme}`; did you mean `{near}`?"),
        None => format!("is of the unknown kind `{scheme}`; {elsewhere}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_of_a_single_kind() {
        let names = || KINDS.iter().flat_map(|kind| kind.names.iter().chain(kind.secure));
        for name in names() {
            assert_eq!(names().filter(|other| *other == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn a_scheme_of_another_client_means_its_kind() {
        for (scheme, kind) in [
            ("postgresql+psycopg", "postgres"),
            ("postgis", "postgres"),
            ("psql", "postgres"),
            ("mysql2", "mysql"),
            ("trilogy", "mysql"),
            ("mariadb+asyncmy", "mysql"),
            ("valkey", "redis"),
            ("valkeys", "redis"),
            ("amqps", "amqp"),
            ("redis+sentinel", "redis+sentinel"),
            ("https+x", ""),
            ("redis+x", ""),
            ("postgres+pymysql", ""),
        ] {
            assert_eq!(TargetKind::of(scheme).map_or("", TargetKind::name), kind, "{scheme}");
        }
        assert!(is_tls_scheme("valkeys") && is_tls_scheme("amqps") && !is_tls_scheme("valkey"));
    }

    #[test]
    fn an_unknown_kind_is_pointed_at_what_helps() {
        for (scheme, words) in [
            ("rediz", "did you mean `redis`?"),
            ("https+x", "write `https://`"),
            ("postgresql+x", "write `postgresql://`"),
            ("mssql", "`tcp://host:port` checks"),
            ("mongodb+srv", "`tcp://host:port` checks"),
            ("cassandra", "`exec:` runs a command"),
        ] {
            assert!(unknown(scheme).contains(words), "{}", unknown(scheme));
        }
    }
}
