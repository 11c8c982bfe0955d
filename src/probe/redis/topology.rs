//! Redis behind Sentinels, and Redis in a Cluster: finds the right server and verifies its role.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::Session;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{Address, ClusterTarget, RedisPlace, RedisTarget, SentinelTarget};
use crate::probe::first::first_of;
use crate::probe::kept::Server;

impl Server for SentinelTarget {
    type Session = Session;

    /// Whether the kept connection still leads to the master.
    async fn probe(&self, session: &mut Session) -> Result<(), Failure> {
        is_master(session).await
    }

    /// Connects to the master that the Sentinels name.
    async fn open(&self, within: Duration) -> Result<Session, Failure> {
        let address = master(self, within).await?;
        let shown = address.to_string();
        let mut session = Session::open(&RedisTarget { address, ..self.master.clone() }, within)
            .await
            .map_err(|failure| failure.of(&format!("the master at {shown}")))?;
        is_master(&mut session).await?;
        Ok(session)
    }
}

/// The address from the first Sentinel that knows the master.
async fn master(target: &SentinelTarget, within: Duration) -> Result<Address, Failure> {
    // The rest of the time is for the master itself.
    let within = within.mul_f64(0.6);
    let probe = |sentinel: Named| {
        let (username, password) = target.sentinel_login.clone();
        let login = RedisTarget { address: sentinel.1, username, password, database: 0, tls: target.master.tls.clone() };
        query_sentinel(login, target.service.clone(), within)
    };
    first_of(named("sentinel", &target.sentinels), within, probe).await
}

/// One of several servers, and its kind.
struct Named(&'static str, Address);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

fn named(what: &'static str, addresses: &[Address]) -> impl Iterator<Item = Named> {
    addresses.iter().map(move |address| Named(what, address.clone()))
}

async fn query_sentinel(login: RedisTarget, service: String, within: Duration) -> Result<Address, Failure> {
    let mut session = Session::connect(&login, within).await?;
    match session.query(redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(&service)).await? {
        Value::Array(parts) => match parts.as_slice() {
            [host, port] => parse_address(&text(host), &text(port)).map_err(|failure| failure.of("the address that the sentinel gives")),
            _ => Err(Failure::new(ErrorKind::Protocol, "the sentinel's reply is not an address")),
        },
        Value::Nil => Err(Failure::new(ErrorKind::NotReady, &format!("the sentinel does not know the master {service}, check its name"))),
        other => Err(Failure::new(ErrorKind::Protocol, &format!("the sentinel's reply is not an address: {other:?}"))),
    }
}

/// Connects to the server that accepts writes of `key`, in any deployment form.
pub async fn open(place: &RedisPlace, key: &str, within: Duration) -> Result<Session, Failure> {
    match place {
        RedisPlace::One(target) => Session::open(target, within).await,
        RedisPlace::Sentinel(target) => Server::open(target, within).await,
        RedisPlace::Cluster(target) => {
            let target = Arc::new(target.clone());
            let probe = |node: Named| {
                let (target, key) = (Arc::clone(&target), key.to_owned());
                async move { owner(&target, &node.1, &key, within).await }
            };
            first_of(named("node", &target.nodes), within, probe).await
        }
    }
}

/// The node with the key's slot, according to this one.
async fn owner(target: &ClusterTarget, node: &Address, key: &str, within: Duration) -> Result<Session, Failure> {
    let mut address = node.clone();
    // A node may be out of date, so several redirections may be needed.
    for _ in 0..3 {
        let login = RedisTarget { address: address.clone(), ..target.login.clone() };
        let exchange = tokio::time::timeout(within, async {
            let mut session = Session::open(&login, within).await?;
            let answer = session.send(redis::cmd("EXISTS").arg(key)).await;
            Ok::<_, Failure>((session, answer))
        });
        let (session, answer) = exchange.await.unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, "no answer")))?;
        let Err(error) = answer else { return Ok(session) };
        let Some((place, _)) = error.redirect_node() else { return Err(super::failure(&error)) };
        let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
        // An empty host means the queried one (Redis 7).
        let host = if host.is_empty() { address.host.as_str() } else { host };
        address = parse_address(host, port).map_err(|failure| failure.of("the key's owner that the node names"))?;
    }
    Err(Failure::new(ErrorKind::NotReady, "the nodes do not agree on who has the key"))
}

/// An address from a server: a name or an IP address, and a port. Anything else, especially a path, could send the password to an
/// unintended place.
fn parse_address(host: &str, port: &str) -> Result<Address, Failure> {
    /// RFC 1035, 2.3.4.
    const LONGEST: usize = 253;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // RFC 952 and RFC 1123, 2.1, and the underscore that Docker and Compose allow.
    let is_name = (1..=LONGEST).contains(&host.len())
        && !host.starts_with(['-', '.'])
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name && bare.parse::<IpAddr>().is_err() {
        return Err(Failure::new(ErrorKind::Protocol, "it is neither a name nor an IP address"));
    }
    match port.parse() {
        Ok(port @ 1..) => Ok(Address { host: bare.to_owned(), port }),
        _ => Err(Failure::new(ErrorKind::Protocol, "its port is invalid")),
    }
}

/// During a failover the address may still be that of the former master.
async fn is_master(session: &mut Session) -> Result<(), Failure> {
    match session.query(&redis::cmd("ROLE")).await? {
        Value::Array(parts) if parts.first().map(text).as_deref() == Some("master") => Ok(()),
        Value::Array(parts) => {
            let role = parts.first().map(text).unwrap_or_default();
            Err(Failure::new(ErrorKind::NotReady, &format!("the server that the sentinels name is a {role}: a failover is under way")))
        }
        other => Err(Failure::new(ErrorKind::Protocol, &format!("ROLE returned {other:?}"))),
    }
}

impl Server for ClusterTarget {
    type Session = Session;

    async fn probe(&self, session: &mut Session) -> Result<(), Failure> {
        state(session).await
    }

    /// Connects to the first node for which the cluster is `ok`.
    async fn open(&self, within: Duration) -> Result<Session, Failure> {
        let probe = |node: Named| {
            let login = RedisTarget { address: node.1, ..self.login.clone() };
            async move {
                let mut session = Session::open(&login, within).await?;
                state(&mut session).await.map(|()| session)
            }
        };
        first_of(named("node", &self.nodes), within, probe).await
    }
}

/// Fails unless the cluster is `ok`: all slots are served, and the node sees the majority of the masters.
async fn state(session: &mut Session) -> Result<(), Failure> {
    let answer = text(&session.query(redis::cmd("CLUSTER").arg("INFO")).await?);
    let value = |name: &str| answer.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
    match value("cluster_state") {
        Some("ok") => Ok(()),
        Some(state) => {
            let slots = value("cluster_slots_ok").unwrap_or("?");
            Err(Failure::new(ErrorKind::NotReady, &format!("the cluster's state is {state}, {slots} of 16384 slots are served")))
        }
        None => Err(Failure::new(ErrorKind::Protocol, "CLUSTER INFO contains no state")),
    }
}

/// The text of a simple or bulk reply; empty for anything else.
fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        Value::Int(number) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_from_a_server_is_a_name_or_an_ip_address_and_a_port() {
        for (host, port, expected) in [
            ("10.0.0.7", "6379", "10.0.0.7"),
            ("::1", "1", "::1"),
            ("[2001:db8::1]", "65535", "2001:db8::1"),
            ("redis-0.redis.default.svc.cluster.local.", "6379", "redis-0.redis.default.svc.cluster.local."),
            ("my_redis", "6379", "my_redis"),
        ] {
            let address = parse_address(host, port).unwrap();
            assert_eq!((address.host.as_str(), address.port.to_string().as_str()), (expected, port));
        }
        let long = "a".repeat(254);
        for host in
            ["/tmp/x.sock", "", "@abstract", "\0abstract", "a/b", "a b", "-a", ".", "a\r\nb", "a:1", "[a]", "h\u{e9}", "unix:/x", &long]
        {
            assert!(parse_address(host, "6379").is_err(), "{host:?}");
        }
        for port in ["0", "65536", "-1", "", "6379 ", "1e3", "18446744073709551616"] {
            assert!(parse_address("a", port).is_err(), "{port:?}");
        }
    }
}
