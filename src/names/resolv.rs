//! Parses `/etc/resolv.conf`: which name servers are queried, how, and for which names (resolv.conf(5)).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::numeric;

/// The maximum number of name servers, as in the C libraries (MAXNS).
const SERVERS: usize = 3;

/// The maximum number of search domains: glibc allows any number, and each costs two queries.
const DOMAINS: usize = 16;

/// The flags that options of the file switch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ResolverOption {
    /// The servers are queried in rotation.
    Rotate,
    /// Queries use TCP.
    Tcp,
    /// The queries for IPv4 and IPv6 are sent one after the other.
    OneByOne,
    /// IPv6 addresses are not queried.
    NoAaaa,
    /// A name without a dot is only looked up in the search domains.
    NoTld,
    /// Longer responses over UDP are requested (RFC 6891).
    Edns,
}

impl ResolverOption {
    /// The known flags, by their names in the file. `single-request-reopen` is always on: each query has its own socket.
    const ALL: [(&str, Self); 6] = [
        ("rotate", Self::Rotate),
        ("use-vc", Self::Tcp),
        ("single-request", Self::OneByOne),
        ("no-aaaa", Self::NoAaaa),
        ("no-tld-query", Self::NoTld),
        ("edns0", Self::Edns),
    ];
}

/// The settings of lookups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// The name servers, at least one.
    pub servers: Vec<SocketAddr>,
    /// The search domains, without a dot at the end; an empty one is the root.
    pub search: Vec<String>,
    /// A name with at least this many dots is first looked up unchanged; 0 to 15.
    pub ndots: usize,
    /// The timeout for one server; 1 to 30 s.
    pub timeout: Duration,
    /// How often each server is queried; 1 to 5.
    pub attempts: usize,
    /// The flags of `options`.
    pub switches: BTreeSet<ResolverOption>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: Duration::from_secs(5), attempts: 2, switches: BTreeSet::new() }
    }
}

impl Settings {
    /// Whether this flag is on.
    pub(super) fn has(&self, switch: ResolverOption) -> bool {
        self.switches.contains(&switch)
    }

    /// Parses the file's text; unknown parts are ignored, as in the C libraries. Servers are queried on `port`.
    pub(super) fn parse(text: &str, port: u16) -> Self {
        let mut settings = Self::default();
        let mut searched = false;
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next().unwrap_or_default() {
                "nameserver" if settings.servers.len() < SERVERS => {
                    settings.servers.extend(words.next().and_then(|word| numeric::address(word, port).ok().flatten()));
                }
                "search" => (searched, settings.search) = (true, words.take(DOMAINS).map(domain).collect()),
                "domain" => (searched, settings.search) = (true, words.take(1).map(domain).collect()),
                "options" => words.for_each(|word| settings.option(word)),
                _ => {}
            }
        }
        if !searched {
            let own = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
            settings.search.extend(own.as_deref().and_then(|name| name.split_once('.')).map(|(_, behind)| domain(behind)));
        }
        if settings.servers.is_empty() {
            settings.servers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        settings
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<usize>().ok();
        match (name, number) {
            ("ndots", Some(number)) => self.ndots = number.min(15),
            ("timeout", Some(number)) => self.timeout = Duration::from_secs(number.clamp(1, 30) as u64),
            ("attempts", Some(number)) => self.attempts = number.clamp(1, 5),
            (name, _) => self.switches.extend(ResolverOption::ALL.iter().find(|(known, _)| *known == name).map(|(_, switch)| *switch)),
        }
    }
}

fn domain(word: &str) -> String {
    word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_file_is_read_as_the_c_library_reads_it() {
        let text = "# made by kubelet\nnameserver 10.96.0.10\nnameserver fe80::1%lo\n; no\nsearch a.b\nsearch default.svc.cluster.local svc.cluster.local. .\n\
                    options ndots:5 timeout:99 attempts:0 rotate single-request use-vc edns0 no-aaaa no-tld-query trust-ad ndots:x\nsortlist 1.2.3.4\n";
        let settings = Settings::parse(text, 53);
        let servers = ["10.96.0.10:53".parse().unwrap(), "[fe80::1%1]:53".parse().unwrap()];
        let expected = Settings {
            servers: servers.into(),
            search: ["default.svc.cluster.local", "svc.cluster.local", ""].map(str::to_owned).into(),
            ndots: 5,
            timeout: Duration::from_secs(30),
            attempts: 1,
            switches: ResolverOption::ALL.iter().map(|(_, switch)| *switch).collect(),
        };
        assert_eq!(settings, expected);
    }

    #[test]
    fn without_a_file_this_host_is_queried() {
        let settings = Settings::parse("nameserver nonsense\n", 53);
        assert_eq!(settings.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!((settings.ndots, settings.attempts, settings.timeout), (1, 2, Duration::from_secs(5)));
        assert_eq!(Settings::parse("nameserver 1.1.1.1\n".repeat(9).as_str(), 53).servers.len(), 3);
    }
}
