//! The search list: which full names are looked up for a name, and how the results are combined.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::LookupError;
use super::exchange::{QueryOutcome, query};
use super::message::{DnsResult, Family};
use super::resolv::{ResolverOption, Settings};

/// The maximum length of a name and of a label (RFC 1035, 2.3.4).
const LONGEST: usize = 253;
const LONGEST_PART: usize = 63;

/// How long to wait for the other family once one has an address: some networks drop all queries for one of them.
const GRACE: Duration = Duration::from_millis(300);

/// How long to wait for the other family once one is known to have no address.
const LONG_GRACE: Duration = Duration::from_secs(2);

/// The maximum time of a lookup, whatever the options say.
const LIMIT: Duration = Duration::from_secs(30);

/// The name in lower case, with the dot at its end if it has one.
pub(super) fn checked(host: &str) -> Result<String, LookupError> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if !name.is_ascii() {
        return Err(LookupError::Malformed("the name has letters beyond ASCII; write it as `xn--…`"));
    }
    if name.len() > LONGEST || name.split('.').any(|part| part.len() > LONGEST_PART) {
        return Err(LookupError::Malformed("the name or a part of it is too long"));
    }
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if name.split('.').any(|part| part.is_empty() || !part.bytes().all(fits)) {
        return Err(LookupError::Malformed("this is not a valid host name"));
    }
    Ok(host.to_ascii_lowercase())
}

/// The full names to look up, in order: the unchanged name first if it has enough dots, otherwise last (resolv.conf(5), `ndots`).
fn candidates(name: &str, settings: &Settings) -> Vec<String> {
    if let Some(absolute) = name.strip_suffix('.') {
        return vec![absolute.to_owned()];
    }
    let dots = name.matches('.').count();
    let below = settings.search.iter().map(|domain| if domain.is_empty() { name.to_owned() } else { format!("{name}.{domain}") });
    let mut all: Vec<String> = below.filter(|full| full.len() <= LONGEST).collect();
    if dots >= settings.ndots {
        all.insert(0, name.to_owned());
    } else if dots > 0 || !settings.has(ResolverOption::NoTld) || all.is_empty() {
        all.push(name.to_owned());
    }
    let mut seen = Vec::new();
    all.retain(|full| {
        !seen.contains(full) && {
            seen.push(full.clone());
            true
        }
    });
    all
}

/// Looks up the name. The search continues after names that do not exist, have no address, or cause a server error; it ends if the servers
/// do not respond, as in glibc.
pub(super) async fn look(name: &str, settings: &Settings, queries_sent: &AtomicU32) -> Result<Vec<IpAddr>, LookupError> {
    let looking = async {
        let (mut tried, mut last_error) = (0, None);
        for full in candidates(name, settings) {
            tried += 1;
            let trouble = match both(&full, settings, queries_sent).await {
                QueryOutcome::Answered(DnsResult::Addresses(found), _) => return Ok(found),
                QueryOutcome::Answered(DnsResult::Missing, server) => LookupError::Missing(tried, server),
                QueryOutcome::Answered(DnsResult::Nothing, server) => LookupError::NoAddress(server),
                QueryOutcome::Answered(DnsResult::Refused(word), server) => LookupError::Refused(word, server),
                QueryOutcome::Silent(why) => return Err(LookupError::Silent(why)),
                QueryOutcome::Internal(why) => return Err(LookupError::Internal(why)),
            };
            last_error = Some(match (last_error, trouble) {
                // A server error, or an existing name, is more informative than a missing name.
                (Some(before @ LookupError::Refused(..)), _) | (Some(before @ LookupError::NoAddress(_)), LookupError::Missing(..)) => {
                    before
                }
                (_, trouble) => trouble,
            });
        }
        Err(last_error.unwrap_or(LookupError::Malformed("the name or a part of it is too long")))
    };
    timeout(LIMIT, looking).await.unwrap_or(Err(LookupError::Silent(None)))
}

/// The addresses of both families; those of one are enough.
async fn both(full: &str, settings: &Settings, queries_sent: &AtomicU32) -> QueryOutcome {
    let v4 = query(full, Family::V4, settings, queries_sent);
    if settings.has(ResolverOption::NoAaaa) {
        return v4.await;
    }
    let v6 = query(full, Family::V6, settings, queries_sent);
    let (mut v4, mut v6) = (pin!(v4), pin!(v6));
    if settings.has(ResolverOption::OneByOne) {
        let first = v4.await;
        let second = timeout(patience(&first).unwrap_or(LIMIT), v6).await.unwrap_or(QueryOutcome::Silent(None));
        return joined(first, second);
    }
    // IPv4 addresses come first if there are both; `dial` decides the order of connecting.
    tokio::select! {
        first = &mut v4 => {
            let second = late(patience(&first), &mut v6).await;
            joined(first, second)
        }
        second = &mut v6 => {
            let first = late(patience(&second), &mut v4).await;
            joined(first, second)
        }
    }
}

/// How long to wait for the other family; none: for the timeouts of the servers.
const fn patience(outcome: &QueryOutcome) -> Option<Duration> {
    match outcome {
        QueryOutcome::Answered(DnsResult::Addresses(_), _) => Some(GRACE),
        QueryOutcome::Answered(DnsResult::Nothing | DnsResult::Missing, _) => Some(LONG_GRACE),
        _ => None,
    }
}

async fn late(patience: Option<Duration>, other: impl Future<Output = QueryOutcome>) -> QueryOutcome {
    tokio::select! {
        outcome = other => outcome,
        () = async { match patience { Some(time) => sleep(time).await, None => std::future::pending().await } } => QueryOutcome::Silent(None),
    }
}

/// Combines the results of both families: addresses first, then definite answers.
fn joined(v4: QueryOutcome, v6: QueryOutcome) -> QueryOutcome {
    match (v4, v6) {
        (QueryOutcome::Answered(DnsResult::Addresses(mut found), server), QueryOutcome::Answered(DnsResult::Addresses(more), _)) => {
            found.extend(more);
            QueryOutcome::Answered(DnsResult::Addresses(found), server)
        }
        (found @ QueryOutcome::Answered(DnsResult::Addresses(_), _), _)
        | (_, found @ QueryOutcome::Answered(DnsResult::Addresses(_), _)) => found,
        (ours @ QueryOutcome::Internal(_), _) | (_, ours @ QueryOutcome::Internal(_)) => ours,
        (refused @ QueryOutcome::Answered(DnsResult::Refused(_), _), _)
        | (_, refused @ QueryOutcome::Answered(DnsResult::Refused(_), _)) => refused,
        // One family shows that the name exists.
        (nothing @ QueryOutcome::Answered(DnsResult::Nothing, _), _) | (_, nothing @ QueryOutcome::Answered(DnsResult::Nothing, _)) => {
            nothing
        }
        (missing @ QueryOutcome::Answered(DnsResult::Missing, _), _) | (_, missing @ QueryOutcome::Answered(DnsResult::Missing, _)) => {
            missing
        }
        (silent @ QueryOutcome::Silent(Some(_)), _) | (_, silent) => silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(name: &str, text: &str) -> Vec<String> {
        candidates(name, &Settings::parse(text, 53))
    }

    #[test]
    fn the_search_list_is_tried_as_glibc_tries_it() {
        let pod = "search default.svc.cluster.local cluster.local\noptions ndots:5\n";
        assert_eq!(names("db", pod), ["db.default.svc.cluster.local", "db.cluster.local", "db"]);
        assert_eq!(names("a.b", pod), ["a.b.default.svc.cluster.local", "a.b.cluster.local", "a.b"]);
        assert_eq!(names("a.b.", pod), ["a.b"]);
        assert_eq!(names("a.b", "search x\n"), ["a.b", "a.b.x"]);
        assert_eq!(names("a", "search x\noptions ndots:0\n"), ["a", "a.x"]);
        assert_eq!(names("a", "search x . x\n"), ["a.x", "a"]);
        assert_eq!(names("a", "search x\noptions no-tld-query\n"), ["a.x"]);
        assert_eq!(names("a", "search .\noptions no-tld-query\n"), ["a"]);
        let long = "a".repeat(63);
        assert_eq!(names(&long, &format!("search {}\n", [long.as_str(); 3].join("."))), [long]);
    }

    #[test]
    fn what_cannot_be_a_name_is_not_queried() {
        for good in ["db", "DB.Example.", "_sip.x-y", &"a".repeat(63)] {
            assert_eq!(checked(good), Ok(good.to_ascii_lowercase()));
        }
        for wrong in ["", ".", "a..b", ".a", "a b", "a/b", "\u{e9}", "a\\.b", "/tmp/x.sock", &"a".repeat(64), &"a.".repeat(128)] {
            assert!(matches!(checked(wrong), Err(LookupError::Malformed(_))), "{wrong}");
        }
    }
}
