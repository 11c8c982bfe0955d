//! The kinds that there are, and the other names that clients have for them.

use crate::config::problem::nearest;

/// Kinds of a target that there are.
const KINDS: [&str; 24] = [
    "amqp",
    "amqps",
    "disk",
    "dns",
    "exec",
    "file",
    "grpc",
    "grpcs",
    "http",
    "https",
    "kafka",
    "mariadb",
    "mongodb",
    "mysql",
    "postgres",
    "process",
    "redis",
    "redis+cluster",
    "redis+ready",
    "redis+sentinel",
    "redis+unix",
    "rediss",
    "tcp",
    "unix",
];

/// Schemes of clients that mean another kind than the one they look like.
const FOREIGN: [&str; 12] =
    ["mongodb+srv", "mssql", "oracle", "sqlite", "sqlite3", "snowflake", "memcached", "redis+socket", "http+unix", "ldap", "ldaps", "nats"];

/// Schemes that say themselves that TLS is spoken.
const SECURE: [&str; 4] = ["https", "rediss", "grpcs", "amqps"];

/// Other names of a kind: Valkey, PostGIS, and those of Ruby's and Python's clients.
const SYNONYMS: [(&str, &str); 11] = [
    ("valkey", "redis"),
    ("valkeys", "rediss"),
    ("postgresql", "postgres"),
    ("postgis", "postgres"),
    ("psql", "postgres"),
    ("pgsql", "postgres"),
    ("mysql2", "mysql"),
    ("trilogy", "mysql"),
    ("mysqlgis", "mysql"),
    ("pyamqp", "amqp"),
    ("librabbitmq", "amqp"),
];

/// What may stand behind a `+`: the drivers of SQLAlchemy and of dj-database-url. Anything else would be spoken to as what it is not.
const DRIVERS: [(&str, &[&str]); 3] = [
    ("postgres", &["aiopg", "asyncpg", "pg8000", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async", "pygresql", "pypostgresql"]),
    ("mysql", &["aiomysql", "asyncmy", "cymysql", "mariadbconnector", "mysqlclient", "mysqlconnector", "mysqldb", "pymysql"]),
    ("mariadb", &["aiomysql", "asyncmy", "cymysql", "mariadbconnector", "mysqlclient", "mysqlconnector", "mysqldb", "pymysql"]),
];

/// The kind's own name for a scheme: that of a synonym, without the driver behind it; the scheme itself where it is none of them.
pub(super) fn own_name(scheme: &str) -> &str {
    let (name, driver) = scheme.split_once('+').map_or((scheme, None), |(name, driver)| (name, Some(driver)));
    let name = SYNONYMS.iter().find(|(synonym, _)| *synonym == name).map_or(name, |(_, kind)| kind);
    match driver {
        None => name,
        Some(driver) if DRIVERS.iter().any(|(kind, drivers)| *kind == name && drivers.contains(&driver)) => name,
        Some(_) => scheme,
    }
}

/// The kind that a scheme means: `postgresql+psycopg2` is `postgres`.
pub(super) fn family(scheme: &str) -> &str {
    match own_name(scheme) {
        "mysql" | "mariadb" => "mysql",
        "http" | "https" => "http",
        "grpc" | "grpcs" => "grpc",
        "amqp" | "amqps" => "amqp",
        "redis" | "rediss" | "redis+unix" => "redis",
        other => other,
    }
}

/// Whether a scheme says that TLS is spoken.
pub(super) fn says_tls(scheme: &str) -> bool {
    SECURE.contains(&own_name(scheme))
}

/// What is wrong with a kind that there is not, and what to write in its place.
pub(super) fn unknown(scheme: &str) -> String {
    let elsewhere = "`tcp://host:port` asks whether its port accepts a connection, `exec:` runs a command that asks more";
    let near = if FOREIGN.contains(&scheme) { None } else { nearest(scheme, KINDS) };
    let base = scheme.split('+').next().unwrap_or(scheme);
    match near {
        _ if base != scheme && own_name(base) != scheme && KINDS.contains(&own_name(base)) && !FOREIGN.contains(&scheme) => {
            format!(
                "is of the unknown kind `{scheme}`; what stands behind the `+` is no driver that is known: write `{base}://`, or {elsewhere}"
            )
        }
        Some(near) => format!("is of the unknown kind `{scheme}`; did you mean `{near}`?"),
        None => format!("is of the unknown kind `{scheme}`; {elsewhere}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("https+x", "https+x"),
            ("redis+x", "redis+x"),
            ("postgres+pymysql", "postgres+pymysql"),
        ] {
            assert_eq!(family(scheme), kind, "{scheme}");
        }
        assert!(says_tls("valkeys") && says_tls("amqps") && !says_tls("valkey"));
    }

    #[test]
    fn an_unknown_kind_is_pointed_at_what_helps() {
        for (scheme, words) in [
            ("rediz", "did you mean `redis`?"),
            ("https+x", "write `https://`"),
            ("postgresql+x", "write `postgresql://`"),
            ("mssql", "`tcp://host:port` asks"),
            ("mongodb+srv", "`tcp://host:port` asks"),
            ("cassandra", "`exec:` runs a command"),
        ] {
            assert!(unknown(scheme).contains(words), "{}", unknown(scheme));
        }
    }
}
