//! Resolves host names: numeric addresses, the hosts file, then the name servers; nothing here blocks a thread.
//!
//! The resolver of the C library is not used: musl's fails in cases in which glibc's, and so the application, succeeds, and it blocks a
//! thread while a name server is silent. Order and search follow glibc with `hosts: files dns` (resolv.conf(5), hosts(5)): other sources of
//! nsswitch.conf (mdns, myhostname) and the variables `LOCALDOMAIN` and `RES_OPTIONS` are not read.

mod exchange;
mod files;
mod hosts;
mod message;
mod numeric;
mod resolv;
mod search;
mod shared;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use files::Kept;
use resolv::Settings;
use shared::Shared;

/// The port of name servers (RFC 1035, 4.2).
const PORT: u16 = 53;

/// The addresses in a response to a query about `name`, whose id is first set in the response; none if it is not a response.
#[cfg(fuzzing)]
pub(crate) fn read_answer(name: &str, six: bool, answer: &mut [u8]) -> Option<Vec<IpAddr>> {
    let family = if six { message::Family::V6 } else { message::Family::V4 };
    let question = message::DnsQuery::new(name, family, true)?;
    answer.iter_mut().zip(question.bytes()).take(2).for_each(|(theirs, ours)| *theirs = *ours);
    match question.read(answer)?.result {
        message::DnsResult::Addresses(addresses) => Some(addresses),
        _ => Some(Vec::new()),
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// It is neither a valid name nor an address.
    Malformed(&'static str),
    /// The name does not exist; with the number of full names that were tried, and the name server that answered last.
    Missing(usize, SocketAddr),
    /// The name exists and has neither an IPv4 nor an IPv6 address.
    NoAddress(SocketAddr),
    /// A name server answered with an error code, by its name in RFC 1035 or the IANA's registry.
    Refused(&'static str, SocketAddr),
    /// No name server answered; with the error of the kernel, if any.
    Silent(Option<String>),
    /// No socket could be opened, because of a limit of this process.
    Internal(String),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => f.write_str(why),
            Self::Missing(1, server) => write!(f, "no such name, says name server {}", server.ip()),
            Self::Missing(count, server) => {
                write!(f, "no such name, says name server {}; {count} names of the search list were tried", server.ip())
            }
            Self::NoAddress(server) => write!(f, "the name has no address, says name server {}", server.ip()),
            Self::Refused(word, server) => write!(f, "name server {} answered {word}", server.ip()),
            Self::Silent(None) => f.write_str("no name server answered"),
            Self::Silent(Some(why)) => write!(f, "no name server answered: {why}"),
            Self::Internal(why) => write!(f, "cannot query a name server: {why}"),
        }
    }
}

/// A resolver: its files, and the results from the name servers.
#[derive(Debug)]
pub struct Names {
    resolv: Kept<Settings>,
    hosts: Kept<String>,
    shared: Arc<Shared>,
}

/// The addresses of a host with this port, using the files of this system; never empty.
///
/// The caller limits the time; an abandoned lookup continues for other callers and for the next attempt.
///
/// # Errors
/// Why there are none.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
    static SYSTEM: LazyLock<Names> = LazyLock::new(|| Names::new("/etc/resolv.conf", "/etc/hosts", PORT));
    SYSTEM.resolve(host, port).await
}

impl Names {
    /// Resolves with these two files; name servers are queried on `port`.
    fn new(resolv: impl Into<PathBuf>, hosts: impl Into<PathBuf>, port: u16) -> Self {
        let resolv = Kept::new(resolv.into(), move |text| Settings::parse(text, port));
        Self { resolv, hosts: Kept::new(hosts.into(), str::to_owned), shared: Arc::default() }
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        if let Some(address) = numeric::address(host, port)? {
            return Ok(vec![address]);
        }
        let name = search::checked(host)?;
        let found = hosts::addresses(&self.hosts.get(), &name);
        let found: Arc<[IpAddr]> = if !found.is_empty() {
            found.into()
        } else if is_local(&name) {
            [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()].into()
        } else {
            self.shared.addresses(&name, &self.resolv.get()).await?
        };
        Ok(found.iter().map(|ip| SocketAddr::new(*ip, port)).collect())
    }
}

/// Whether the name always means this host (RFC 6761, 6.3).
fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
