//! What `/etc/resolv.conf` says: which name servers are asked, how, and for which names (resolv.conf(5)).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::numeric;

/// At most so many name servers are asked, as in the C libraries (MAXNS).
const SERVERS: usize = 3;

/// So many domains are searched at most: glibc takes any number, and each costs two questions.
const DOMAINS: usize = 16;

/// What an option of the file switches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ResolverOption {
    /// The servers are asked in turn.
    Rotate,
    /// Questions go over TCP.
    Tcp,
    /// The questions for IPv4 and IPv6 come one after the other.
    OneByOne,
    /// IPv6 addresses are not asked for.
    NoAaaa,
    /// A name without a dot is only looked for below the search domains.
    NoTld,
    /// Longer answers over UDP are asked for (RFC 6891).
    Edns,
}

impl ResolverOption {
    /// Those that are known, by their names in the file. `single-request-reopen` is how every question is asked here: each has a socket of
    /// its own.
    const ALL: [(&str, Self); 6] = [
        ("rotate", Self::Rotate),
        ("use-vc", Self::Tcp),
        ("single-request", Self::OneByOne),
        ("no-aaaa", Self::NoAaaa),
        ("no-tld-query", Self::NoTld),
        ("edns0", Self::Edns),
    ];
}

/// How names are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Whom to ask, at least one.
    pub servers: Vec<SocketAddr>,
    /// Domains below which a name is looked for, without a dot at the end; an empty one is the root.
    pub search: Vec<String>,
    /// A name with so many dots is looked for as it is first; 0 to 15.
    pub ndots: usize,
    /// How long one server has time; 1 to 30 s.
    pub timeout: Duration,
    /// How often each server is asked; 1 to 5.
    pub attempts: usize,
    /// What `options` switches on.
    pub switches: BTreeSet<ResolverOption>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { servers: Vec::new(), search: Vec::new(), ndots: 1, timeout: Duration::from_secs(5), attempts: 2, switches: BTreeSet::new() }
    }
}

impl Settings {
    /// Whether this is switched on.
    pub(super) fn has(&self, switch: ResolverOption) -> bool {
        self.switches.contains(&switch)
    }

    /// Reads the file's text; what it does not know is ignored, as in the C libraries. Servers are asked on `port`.
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
    fn without_a_file_this_host_is_asked() {
        let settings = Settings::parse("nameserver nonsense\n", 53);
        assert_eq!(settings.servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!((settings.ndots, settings.attempts, settings.timeout), (1, 2, Duration::from_secs(5)));
        assert_eq!(Settings::parse("nameserver 1.1.1.1\n".repeat(9).as_str(), 53).servers.len(), 3);
    }
}
