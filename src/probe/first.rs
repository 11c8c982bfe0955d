//! Queries several servers and uses the first response, so that a slow or silent server does not use up the time of the others.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::dial::{after, shared, shown};
use crate::outcome::{ErrorKind, Failure};

/// After this time without a response the next server is queried in parallel, as for addresses (RFC 8305, 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Queries the servers in order: the next one at once after a failure, or after a quarter of a second without a response. Each may take the
/// rest of `within`. If none succeeds, the most informative failure is returned with its server: a server that responded says more than one
/// that did not.
pub(super) async fn first_of<P, T, F>(places: impl IntoIterator<Item = P>, within: Duration, probe: impl Fn(P) -> F) -> Result<T, Failure>
where
    P: ToString,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
    T: Send + 'static,
{
    let mut waiting: VecDeque<P> = places.into_iter().collect();
    let stagger = STAGGER.min(shared(within, waiting.len().saturating_add(1)));
    let (deadline, mut due) = (after(within), Instant::now());
    let mut attempts = JoinSet::new();
    let mut worst: Option<Failure> = None;
    loop {
        if due <= Instant::now()
            && let Some(place) = waiting.pop_front()
        {
            let who = place.to_string();
            let attempt = probe(place);
            attempts.spawn(async move { attempt.await.map_err(|failure| failure.of(&who)) });
            due = after(stagger);
        }
        let more = !waiting.is_empty();
        let failure = tokio::select! {
            biased;
            answered = attempts.join_next(), if !attempts.is_empty() => match answered {
                Some(Ok(Ok(found))) => return Ok(found),
                Some(Ok(Err(failure))) => failure,
                _ => Failure::new(ErrorKind::Internal, "the probe panicked"),
            },
            () = sleep_until(due), if more => continue,
            () = sleep_until(deadline), if !attempts.is_empty() => {
                let words = format!("{} queried, no answer within {}", attempts.len(), shown(within));
                return Err(worst.filter(is_answer).unwrap_or_else(|| Failure::new(ErrorKind::Timeout, &words)));
            }
            else => return Err(worst.unwrap_or_else(|| Failure::new(ErrorKind::Internal, "no server is named"))),
        };
        if !worst.as_ref().is_some_and(is_answer) {
            worst = Some(failure);
        }
        due = Instant::now();
    }
}

/// Whether there was a response.
const fn is_answer(failure: &Failure) -> bool {
    !matches!(failure.kind, ErrorKind::Refused | ErrorKind::Timeout | ErrorKind::Dns | ErrorKind::Unreachable)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    /// Each server by its time in milliseconds, and whether it then responds.
    async fn first(places: &[(u64, bool)], within: u64) -> (Result<u64, Failure>, u64) {
        let began = Instant::now();
        let found = first_of(places.iter().map(|(time, _)| *time), Duration::from_millis(within), |time| {
            let answers = places.contains(&(time, true));
            async move {
                sleep(Duration::from_millis(time)).await;
                if answers { Ok(time) } else { Err(Failure::new(ErrorKind::Refused, "refused")) }
            }
        });
        (found.await, began.elapsed().as_millis() as u64)
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_there_are_each_has_its_time() {
        let far: Vec<(u64, bool)> = (0..8).map(|n| (900 + n, true)).collect();
        assert_eq!(first(&far, 2000).await, (Ok(900), 900));
        let silent: Vec<(u64, bool)> = (0..7).map(|n| (60_000 + n, true)).chain([(300, true)]).collect();
        let (found, took) = first(&silent, 2000).await;
        assert!(found == Ok(300) && took < 2000, "{found:?} after {took} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_brings_the_next_one_at_once() {
        assert_eq!(first(&[(5, false), (6, false), (7, true)], 2000).await, (Ok(7), 18));
        let (refused, took) = first(&[(5, false), (6, false)], 2000).await;
        assert_eq!((refused.unwrap_err().private.as_str(), took), ("6: refused", 11));
        let (late, took) = first(&[(60_000, true), (5, false)], 2000).await;
        assert_eq!((late.unwrap_err().kind, took), (ErrorKind::Timeout, 2000));
        assert_eq!(first(&[], 2000).await.0.unwrap_err().kind, ErrorKind::Internal);
    }
}
