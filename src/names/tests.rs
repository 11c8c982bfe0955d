//! Names resolved with test files and name servers that answer as the test specifies.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::Instant;

use super::*;

/// How a query is answered.
#[derive(Clone, Debug)]
enum Rule {
    /// With this code and these addresses.
    Answer(u8, Vec<IpAddr>),
    /// Not at all.
    Silence,
}

/// A name server on its own port, as long as the runtime lives.
#[derive(Clone, Default)]
struct Server {
    /// By the name and whether IPv6 is queried; anything else is NXDOMAIN.
    rules: Arc<BTreeMap<(&'static str, bool), Rule>>,
    /// The queries so far.
    queries: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(rules: &[(&'static str, bool, Rule)]) -> Self {
        let rules = rules.iter().map(|(name, v6, rule)| ((*name, *v6), rule.clone())).collect();
        Self { rules: Arc::new(rules), queries: Arc::default() }
    }

    /// Answers a query; over UDP without the part that does not fit.
    fn answer(&self, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap();
        let (mut name, mut at) = (String::new(), 12);
        while at < end {
            let part = at + 1..at + 1 + usize::from(question[at]);
            at = part.end;
            name.push_str(std::str::from_utf8(&question[part]).unwrap());
            name.push('.');
        }
        let (name, v6) = (name.trim_end_matches('.').to_owned(), question[end + 2] == 28);
        self.queries.lock().unwrap().push(format!("{name}{}{}", if v6 { " v6" } else { "" }, if tcp { " tcp" } else { "" }));
        let rule = self.rules.iter().find(|((known, family), _)| *known == name && *family == v6).map(|(_, rule)| rule.clone());
        let (code, found) = match rule {
            Some(Rule::Answer(code, found)) => (code, found),
            Some(Rule::Silence) => return None,
            None => (3, Vec::new()),
        };
        let mut bytes = question[..end + 5].to_vec();
        let cut = !tcp && found.len() > 20;
        let found = if cut { &[][..] } else { &found[..] };
        (bytes[2], bytes[3], bytes[7], bytes[11]) = (if cut { 0x83 } else { 0x81 }, 0x80 | code, found.len() as u8, 0);
        for ip in found {
            let data = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            bytes.extend([&[0xc0, 12, 0, if v6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 5, 0, data.len() as u8][..], &data].concat());
        }
        Some(bytes)
    }

    /// Names that are resolved only by this server, with these lines of resolv.conf and hosts.
    async fn names(&self, resolv: &str, hosts: &str) -> Names {
        // A port that is free for UDP is usually free for TCP, too.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let port = udp.local_addr().unwrap().port();
        let server = self.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 600];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                if let Some(answer) = server.answer(&buffer[..length], false) {
                    // A stranger's answer comes first.
                    let _ = udp.send_to(&[&[answer[0] ^ 1], &answer[1..]].concat(), from).await;
                    let _ = udp.send_to(&answer, from).await;
                }
            }
        });
        let server = self.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                if let Some(answer) = server.answer(&question, true) {
                    stream.write_u16(answer.len() as u16).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        let mut names = Names::new("/nonexistent", "/nonexistent", port);
        let (resolv, hosts) = (format!("nameserver 127.0.0.1\n{resolv}"), hosts.to_owned());
        let read = Settings::parse(&resolv, port);
        names.resolv = Kept::new("/nonexistent".into(), move |_| read.clone());
        names.hosts = Kept::new("/nonexistent".into(), move |_| hosts.clone());
        names
    }

    fn count(&self) -> usize {
        self.queries.lock().unwrap().len()
    }
}

fn ok(found: &[&str]) -> Rule {
    Rule::Answer(0, found.iter().map(|ip| ip.parse().unwrap()).collect())
}

const fn code(code: u8) -> Rule {
    Rule::Answer(code, Vec::new())
}

async fn found(names: &Names, host: &str) -> Vec<String> {
    names.resolve(host, 7).await.unwrap().iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn numbers_hosts_and_localhost_send_no_query() {
    let server = Server::default();
    let names = server.names("", "10.0.0.9 Db\n").await;
    assert_eq!(found(&names, "10.0.0.1").await, ["10.0.0.1:7"]);
    assert_eq!(found(&names, "db").await, ["10.0.0.9:7"]);
    assert_eq!(found(&names, "localhost").await, ["[::1]:7", "127.0.0.1:7"]);
    assert_eq!(found(&names, "a.localhost.").await, ["[::1]:7", "127.0.0.1:7"]);
    assert!(names.resolve("a b", 7).await.is_err());
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn either_family_is_enough_whatever_comes_of_the_other() {
    for other in [ok(&[]), code(3), code(2), code(5), code(4), code(1), Rule::Silence] {
        let since = Instant::now();
        let server = Server::new(&[("db", false, ok(&["10.0.0.1"])), ("db", true, other.clone())]);
        assert_eq!(found(&server.names("", "").await, "db").await, ["10.0.0.1:7"], "{other:?}");
        let server = Server::new(&[("db", false, other.clone()), ("db", true, ok(&["fd00::1"]))]);
        assert_eq!(found(&server.names("", "").await, "db").await, ["[fd00::1]:7"], "{other:?}");
        assert!(since.elapsed() < Duration::from_secs(5), "{other:?}: {:?}", since.elapsed());
    }
}

#[tokio::test]
async fn the_search_continues_after_missing_names() {
    for first in [code(3), ok(&[]), code(2), code(5)] {
        let rules = [("db.a", false, first.clone()), ("db.a", true, first), ("db.b", false, ok(&["10.0.0.2"])), ("db.b", true, ok(&[]))];
        assert_eq!(found(&Server::new(&rules).names("search a b\n", "").await, "db").await, ["10.0.0.2:7"]);
    }
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_queried_over_tcp() {
    let many: Vec<String> = (1..=40).map(|n| format!("10.0.0.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let server = Server::new(&[("db", false, ok(&many)), ("db", true, ok(&[]))]);
    assert_eq!(found(&server.names("", "").await, "db").await.len(), 40);
    assert!(server.queries.lock().unwrap().contains(&"db tcp".to_owned()));
    let server = Server::new(&[("db", false, ok(&["10.0.0.1"]))]);
    assert_eq!(found(&server.names("options use-vc\n", "").await, "db").await, ["10.0.0.1:7"]);
    assert!(server.queries.lock().unwrap().iter().all(|queries| queries.ends_with(" tcp")));
}

#[tokio::test]
async fn the_reason_for_a_missing_address_is_reported() {
    let server = Server::new(&[("none", false, ok(&[])), ("sick.a", false, code(2)), ("sick.a", true, code(2))]);
    let names = server.names("search a\n", "").await;
    for (host, words) in [
        ("gone", "no such name, says name server 127.0.0.1; 2 names of the search list were tried"),
        ("gone.", "no such name, says name server 127.0.0.1"),
        ("none", "the name has no address, says name server 127.0.0.1"),
        ("sick", "name server 127.0.0.1 answered SERVFAIL"),
    ] {
        assert_eq!(names.resolve(host, 7).await.unwrap_err().to_string(), words, "{host}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_silent_is_passed_over() {
    let server = Server::new(&[("db", false, ok(&["10.0.0.1"]))]);
    let names = server.names("", "").await;
    let good = names.resolv.get().servers[0];
    // Bound, and never read.
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for first in ["127.0.0.1:1".parse().unwrap(), silent.local_addr().unwrap()] {
        let settings = Settings { servers: vec![first, good], ..Settings::parse("", 53) };
        let queries = std::sync::atomic::AtomicU32::new(0);
        let since = Instant::now();
        assert_eq!(search::look("db", &settings, &queries).await, Ok(vec!["10.0.0.1".parse().unwrap()]));
        assert!(since.elapsed() < Duration::from_secs(4), "{first}: {:?}", since.elapsed());
    }
    let settings = Settings { servers: vec!["127.0.0.1:1".parse().unwrap()], ..Settings::parse("", 53) };
    let refused = search::look("db", &settings, &std::sync::atomic::AtomicU32::new(0)).await.unwrap_err();
    assert!(matches!(&refused, LookupError::Silent(Some(why)) if why.contains("refused")), "{refused}");
}

#[tokio::test]
async fn a_name_that_is_missing_costs_ten_questions_a_second() {
    let server = Server::default();
    let names = Arc::new(server.names("search a b c\n", "").await);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        assert!(names.resolve("db", 7).await.is_err());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Two seconds, one in advance, and the overdraft of the last lookup.
    assert!((16..=40).contains(&server.count()), "{}", server.count());
}

#[tokio::test]
async fn concurrent_lookups_of_one_name_are_shared() {
    let server = Server::new(&[("db", false, ok(&["10.0.0.1"])), ("db", true, ok(&[]))]);
    let names = Arc::new(server.names("", "").await);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let names = Arc::clone(&names);
        asking.spawn(async move { names.resolve("db", 7).await.unwrap().len() });
    }
    assert_eq!(asking.join_all().await, [1; 50]);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_dead_name_delays_no_other() {
    let mut rules: Vec<(&str, bool, Rule)> = vec![("good", false, ok(&["10.0.0.1"])), ("good", true, ok(&[]))];
    let dead = ["d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9"];
    rules.extend(dead.iter().flat_map(|name| [(*name, false, Rule::Silence), (*name, true, Rule::Silence)]));
    let names = Arc::new(Server::new(&rules).names("", "").await);
    let mut asking = tokio::task::JoinSet::new();
    for name in dead {
        let names = Arc::clone(&names);
        asking.spawn(async move { names.resolve(name, 7).await });
    }
    tokio::task::yield_now().await;
    let since = Instant::now();
    assert_eq!(found(&names, "good").await, ["10.0.0.1:7"]);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[test]
fn a_lookup_whose_runtime_ends_is_begun_again() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mine, other) = (runtime(), runtime());
    let server = Server::new(&[
        ("db", false, Rule::Silence),
        ("db", true, Rule::Silence),
        ("late", false, ok(&["10.0.0.1"])),
        ("late", true, Rule::Silence),
    ]);
    let names = mine.block_on(server.names("", ""));
    // Begun in a runtime that ends before the answer.
    let cut = other.block_on(async { tokio::time::timeout(Duration::from_millis(50), names.resolve("late", 7)).await });
    assert!(cut.is_err());
    drop(other);
    assert_eq!(mine.block_on(found(&names, "late")), ["10.0.0.1:7"]);
}
