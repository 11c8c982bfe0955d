//! Redis behind Sentinels, and Redis in a Cluster: whom to ask, and whether it is the one that is meant.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::Session;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{Address, ClusterTarget, RedisPlace, RedisTarget, SentinelTarget};
use crate::probe::first::first_of;

/// A check of the master that Sentinels watch, with the connection it keeps between two runs.
#[derive(Debug)]
pub(in crate::probe) struct SentinelProbe {
    target: SentinelTarget,
    session: Option<Session>,
}

impl SentinelProbe {
    pub(in crate::probe) const fn new(target: SentinelTarget) -> Self {
        Self { target, session: None }
    }

    /// Which session is kept; none without one.
    pub(in crate::probe) fn session(&self) -> Option<u64> {
        self.session.as_ref().map(|session| session.number)
    }

    /// Asks the kept connection whether it still leads to the master; else asks the Sentinels who that is.
    pub(in crate::probe) async fn ask(&mut self, within: Duration) -> Result<(), Failure> {
        if let Some(mut session) = self.session.take()
            && !session.is_closed()
            && is_master(&mut session).await.is_ok()
        {
            self.session = Some(session);
            return Ok(());
        }
        let address = self.master(within).await?;
        let shown = address.to_string();
        let mut session = Session::open(&RedisTarget { address, ..self.target.master.clone() }, within)
            .await
            .map_err(|failure| failure.of(&format!("the master at {shown}")))?;
        is_master(&mut session).await?;
        self.session = Some(session);
        Ok(())
    }

    /// The address that the first Sentinel which knows the master gives.
    async fn master(&self, within: Duration) -> Result<Address, Failure> {
        // Some of the time is the master's.
        let within = within.mul_f64(0.6);
        let ask = |sentinel: Named| {
            let (username, password) = self.target.sentinel_login.clone();
            let login = RedisTarget { address: sentinel.1, username, password, database: 0, tls: self.target.master.tls.clone() };
            ask_sentinel(login, self.target.service.clone(), within)
        };
        first_of(named("sentinel", &self.target.sentinels), within, ask).await
    }
}

/// One of several servers, and what it is.
struct Named(&'static str, Address);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

fn named(what: &'static str, addresses: &[Address]) -> impl Iterator<Item = Named> {
    addresses.iter().map(move |address| Named(what, address.clone()))
}

async fn ask_sentinel(login: RedisTarget, service: String, within: Duration) -> Result<Address, Failure> {
    let mut session = Session::connect(&login, within).await?;
    match session.query(redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(&service)).await? {
        Value::Array(parts) => match parts.as_slice() {
            [host, port] => told_address(&text(host), &text(port)).map_err(|failure| failure.of("the address that the sentinel gives")),
            _ => Err(Failure::new(ErrorKind::Protocol, "the sentinel's answer is no address")),
        },
        Value::Nil => Err(Failure::new(ErrorKind::NotReady, &format!("the sentinel knows no master {service}, check its name"))),
        other => Err(Failure::new(ErrorKind::Protocol, &format!("the sentinel's answer is no address: {other:?}"))),
    }
}

/// Connects to the server that takes writes of `key`, in whichever way the Redis is run.
pub async fn open(place: &RedisPlace, key: &str, within: Duration) -> Result<Session, Failure> {
    match place {
        RedisPlace::One(target) => Session::open(target, within).await,
        RedisPlace::Sentinel(target) => {
            let probe = SentinelProbe::new(target.clone());
            let address = probe.master(within).await?;
            let mut session = Session::open(&RedisTarget { address, ..target.master.clone() }, within).await?;
            is_master(&mut session).await?;
            Ok(session)
        }
        RedisPlace::Cluster(target) => {
            let target = Arc::new(target.clone());
            let ask = |node: Named| {
                let (target, key) = (Arc::clone(&target), key.to_owned());
                async move { owner(&target, &node.1, &key, within).await }
            };
            first_of(named("node", &target.nodes), within, ask).await
        }
    }
}

/// The node that has the key's slot, as this one says.
async fn owner(target: &ClusterTarget, node: &Address, key: &str, within: Duration) -> Result<Session, Failure> {
    let mut address = node.clone();
    // One word of a node that is itself out of date may have to be followed by another.
    for _ in 0..3 {
        let login = RedisTarget { address: address.clone(), ..target.login.clone() };
        let asked = tokio::time::timeout(within, async {
            let mut session = Session::open(&login, within).await?;
            let answer = session.ask(redis::cmd("EXISTS").arg(key)).await;
            Ok::<_, Failure>((session, answer))
        });
        let (session, answer) = asked.await.unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, "no answer")))?;
        let Err(error) = answer else { return Ok(session) };
        let Some((place, _)) = error.redirect_node() else { return Err(super::failure(&error)) };
        let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
        // An empty host means the one that was asked (Redis 7).
        let host = if host.is_empty() { address.host.as_str() } else { host };
        address = told_address(host, port).map_err(|failure| failure.of("the key's owner that the node names"))?;
    }
    Err(Failure::new(ErrorKind::NotReady, "the nodes do not agree on who has the key"))
}

/// An address as a server gives it: a name or an IP address, and a port. Anything else, a path above all, would send the password where
/// the operator has never meant it to go.
fn told_address(host: &str, port: &str) -> Result<Address, Failure> {
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
        _ => Err(Failure::new(ErrorKind::Protocol, "its port is none")),
    }
}

/// During a failover the address may still be that of a server which is the master no more.
async fn is_master(session: &mut Session) -> Result<(), Failure> {
    match session.query(&redis::cmd("ROLE")).await? {
        Value::Array(parts) if parts.first().map(text).as_deref() == Some("master") => Ok(()),
        Value::Array(parts) => {
            let role = parts.first().map(text).unwrap_or_default();
            Err(Failure::new(ErrorKind::NotReady, &format!("the server that the sentinels name is a {role}: a failover is under way")))
        }
        other => Err(Failure::new(ErrorKind::Protocol, &format!("ROLE was answered with {other:?}"))),
    }
}

/// A check of a cluster with the connection it keeps to one of its nodes.
#[derive(Debug)]
pub(in crate::probe) struct ClusterProbe {
    target: ClusterTarget,
    session: Option<Session>,
}

impl ClusterProbe {
    pub(in crate::probe) const fn new(target: ClusterTarget) -> Self {
        Self { target, session: None }
    }

    /// Which session is kept; none without one.
    pub(in crate::probe) fn session(&self) -> Option<u64> {
        self.session.as_ref().map(|session| session.number)
    }

    /// Asks a node for the state of the cluster: `ok` when all slots are served and it sees the majority.
    pub(in crate::probe) async fn ask(&mut self, within: Duration) -> Result<(), Failure> {
        if let Some(mut session) = self.session.take()
            && !session.is_closed()
            && state(&mut session).await.is_ok()
        {
            self.session = Some(session);
            return Ok(());
        }
        let ask = |node: Named| {
            let login = RedisTarget { address: node.1, ..self.target.login.clone() };
            async move {
                let mut session = Session::open(&login, within).await?;
                state(&mut session).await.map(|()| session)
            }
        };
        self.session = Some(first_of(named("node", &self.target.nodes), within, ask).await?);
        Ok(())
    }
}

async fn state(session: &mut Session) -> Result<(), Failure> {
    let answer = text(&session.query(redis::cmd("CLUSTER").arg("INFO")).await?);
    let value = |name: &str| answer.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'));
    match value("cluster_state") {
        Some("ok") => Ok(()),
        Some(state) => {
            let slots = value("cluster_slots_ok").unwrap_or("?");
            Err(Failure::new(ErrorKind::NotReady, &format!("the cluster's state is {state}, {slots} of 16384 slots are served")))
        }
        None => Err(Failure::new(ErrorKind::Protocol, "CLUSTER INFO tells no state")),
    }
}

/// The text of a simple or bulk answer; empty for anything else.
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
    fn what_a_server_names_is_a_name_or_an_address_and_a_port() {
        for (host, port, expected) in [
            ("10.0.0.7", "6379", "10.0.0.7"),
            ("::1", "1", "::1"),
            ("[2001:db8::1]", "65535", "2001:db8::1"),
            ("redis-0.redis.default.svc.cluster.local.", "6379", "redis-0.redis.default.svc.cluster.local."),
            ("my_redis", "6379", "my_redis"),
        ] {
            let address = told_address(host, port).unwrap();
            assert_eq!((address.host.as_str(), address.port.to_string().as_str()), (expected, port));
        }
        let long = "a".repeat(254);
        for host in
            ["/tmp/x.sock", "", "@abstract", "\0abstract", "a/b", "a b", "-a", ".", "a\r\nb", "a:1", "[a]", "h\u{e9}", "unix:/x", &long]
        {
            assert!(told_address(host, "6379").is_err(), "{host:?}");
        }
        for port in ["0", "65536", "-1", "", "6379 ", "1e3", "18446744073709551616"] {
            assert!(told_address("a", port).is_err(), "{port:?}");
        }
    }
}
