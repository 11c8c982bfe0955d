//! Probes several HTTP endpoints in parallel, and combines their results.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::dial::shown;
use super::http::HttpProbe;
use crate::outcome::{Detail, EndpointResult, ErrorKind, Failure};
use crate::plan::target::{Member, SeveralTarget};

/// A check of several endpoints.
#[derive(Debug)]
pub(super) struct SeveralProbe {
    /// Removed while they are probed; one that does not come back is created again.
    members: Vec<Option<HttpProbe>>,
    target: SeveralTarget,
}

impl SeveralProbe {
    pub(super) fn new(target: SeveralTarget) -> Self {
        Self { members: target.members.iter().map(|_| None).collect(), target }
    }

    /// Whether one of them may have received the last request; see [`HttpProbe::reached`].
    pub(super) fn reached(&self) -> bool {
        let mut probed = self.members.iter().zip(&self.target.members).filter(|(_, member)| !member.lacks_key);
        probed.any(|(probe, _)| probe.as_ref().is_none_or(HttpProbe::reached))
    }

    /// Probes all of them, each within its own time once it is its turn, and all within `within`; the result is the first failure in their
    /// order.
    pub(super) async fn probe(&mut self, within: Duration) -> (Result<(), Failure>, Vec<EndpointResult>) {
        let turns = Arc::new(Semaphore::new(self.target.at_once));
        let (each, now) = (self.target.timeout, Instant::now());
        let until = now.checked_add(within.mul_f64(0.98)).unwrap_or(now);
        let mut tasks = JoinSet::new();
        for (index, (slot, member)) in self.members.iter_mut().zip(&self.target.members).enumerate() {
            if member.lacks_key {
                continue;
            }
            let mut probe = slot.take().unwrap_or_else(|| HttpProbe::new(member.http.clone()));
            let turns = Arc::clone(&turns);
            tasks.spawn(async move {
                let turn = timeout_at(until, turns.acquire_owned()).await;
                let began = Instant::now();
                if turn.is_err() || began >= until {
                    return (index, probe, Err(out_of_time()), None, Duration::ZERO);
                }
                let own = each.min(until.saturating_duration_since(began));
                let late = |_| Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(own))));
                let result = timeout(own, probe.probe(own.mul_f64(0.95))).await.unwrap_or_else(late);
                let status = probe.status();
                (index, probe, result, status, began.elapsed())
            });
        }
        let mut parts: Vec<EndpointResult> = self.target.members.iter().map(not_probed).collect();
        while let Some(joined) = tasks.join_next().await {
            let Ok((index, probe, result, status, elapsed)) = joined else { continue };
            if let (Some(slot), Some(part)) = (self.members.get_mut(index), parts.get_mut(index)) {
                *slot = Some(probe);
                (part.result, part.status, part.elapsed) = (result, status, elapsed);
            }
        }
        (summary(&parts), parts)
    }
}

/// The part of an endpoint before its response.
fn not_probed(member: &Member) -> EndpointResult {
    let failure = if member.lacks_key {
        Failure::new(ErrorKind::Missing, "it was not called: its key is empty").because(Detail::NotConfigured)
    } else {
        Failure::new(ErrorKind::Internal, "the probe panicked")
    };
    EndpointResult {
        name: member.name.clone(),
        target: member.http.shown.clone(),
        client: None,
        result: Err(failure),
        status: None,
        elapsed: Duration::ZERO,
    }
}

fn out_of_time() -> Failure {
    Failure::new(ErrorKind::Timeout, "it was not called: the time of the check was over before its turn")
}

/// All have to succeed; one without a key is in the report, and fails the check only if no other was called.
fn summary(parts: &[EndpointResult]) -> Result<(), Failure> {
    let probed = |part: &&EndpointResult| part.result.as_ref().err().is_none_or(|failure| failure.detail != Detail::NotConfigured);
    let failing =
        if parts.iter().any(|part| probed(&part)) { parts.iter().filter(probed).find(|part| part.result.is_err()) } else { parts.first() };
    failing.map_or(Ok(()), |first| Err(failed(parts, first, &first.name)))
}

/// The failure of a check with failed parts, with the text of the part `name`.
pub(super) fn failed(parts: &[EndpointResult], one: &EndpointResult, name: &str) -> Failure {
    let failed = parts.iter().filter(|part| part.result.is_err()).count();
    let failure = one.result.as_ref().err().cloned().unwrap_or_else(|| Failure::new(ErrorKind::Internal, "it passed"));
    Failure { status: None, ..failure.of(&format!("{failed} of {} failed, first {name}", parts.len())) }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::plan::target::{Expectation, HttpTarget, Tls};
    use crate::secret::Secret;

    fn member(name: &str, port: u16, lacks_key: bool) -> Member {
        let url = format!("http://127.0.0.1:{port}/{name}");
        let http = HttpTarget {
            shown: url.clone(),
            url: Secret::unlisted(url),
            method: "GET".to_owned(),
            headers: Vec::new(),
            masked_key: None,
            expect: Expectation { status: vec![204, 404], ..Expectation::default() },
            tls: Tls::default(),
            redirects: None,
            environment_proxy: false,
        };
        Member { name: name.to_owned(), http, lacks_key }
    }

    async fn serving(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(answer.as_bytes()).await;
                held.push(stream);
            }
        });
        port
    }

    /// The result of each part: the cause, the status, the text.
    fn statuses_and_words(parts: &[EndpointResult]) -> Vec<(Option<u16>, String)> {
        parts
            .iter()
            .map(|part| (part.status, part.result.as_ref().err().map_or_else(String::new, |failure| failure.private.as_str().to_owned())))
            .collect()
    }

    #[tokio::test]
    async fn each_has_its_own_time_and_one_that_is_not_probed_is_shown_as_such() {
        let silent = serving("").await;
        let halfway = serving("HTTP/1.1 204 No Content\r\n\r\n").await;
        let timeout = Duration::from_millis(200);
        let members = vec![member("a", silent, false), member("b", silent, false), member("c", halfway, false), member("d", 9, true)];
        let target = SeveralTarget { members, at_once: 1, timeout };
        let longest = target.longest();
        assert!(longest >= timeout * 4);
        let late = "no answer within 200ms".to_owned();
        let keyless = "it was not called: its key is empty".to_owned();
        let (result, parts) = SeveralProbe::new(target.clone()).probe(longest).await;
        assert_eq!(statuses_and_words(&parts), [(None, late.clone()), (None, late), (Some(204), String::new()), (None, keyless)]);
        assert!(result.is_err() && parts.iter().all(|part| part.elapsed < timeout * 2));
        // If the total time is shorter, the last ones are not called.
        let (_, parts) = SeveralProbe::new(target).probe(Duration::from_millis(150)).await;
        assert_eq!(statuses_and_words(&parts)[2], (None, out_of_time().private.as_str().to_owned()));
    }

    #[tokio::test]
    async fn the_status_is_what_came_and_one_without_a_key_fails_nothing_but_itself() {
        let (missing, empty) =
            (serving("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await, serving("HTTP/1.1 204 No Content\r\n\r\n").await);
        let members = vec![member("a", missing, false), member("b", empty, false), member("c", 9, true)];
        let mut probe = SeveralProbe::new(SeveralTarget { members, at_once: 4, timeout: Duration::from_secs(5) });
        let (result, parts) = probe.probe(Duration::from_secs(6)).await;
        assert_eq!(parts.iter().map(|part| part.status).collect::<Vec<_>>(), [Some(404), Some(204), None]);
        assert_eq!(result, Ok(()));
        let alone = SeveralTarget { members: vec![member("c", 9, true)], at_once: 1, timeout: Duration::from_secs(5) };
        let (result, _) = SeveralProbe::new(alone).probe(Duration::from_secs(6)).await;
        assert_eq!(result.unwrap_err().detail, Detail::NotConfigured);
    }
}
