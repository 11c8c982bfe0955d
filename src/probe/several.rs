//! Asks several HTTP endpoints in parallel, and makes one result of theirs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::dial::shown;
use super::http::HttpProbe;
use crate::outcome::{Class, Failure, Part};
use crate::plan::target::SeveralTarget;

/// A check of several endpoints.
#[derive(Debug)]
pub(super) struct SeveralProbe {
    /// Taken away while they are asked; one that does not come back is made anew.
    members: Vec<Option<HttpProbe>>,
    target: SeveralTarget,
}

impl SeveralProbe {
    pub(super) fn new(target: SeveralTarget) -> Self {
        Self { members: target.members.iter().map(|_| None).collect(), target }
    }

    /// Whether one of them may have heard the last question; see [`HttpProbe::reached`].
    pub(super) fn reached(&self) -> bool {
        self.members.iter().any(|member| member.as_ref().is_none_or(HttpProbe::reached))
    }

    /// Asks all of them, each within `within` less what it waited for its turn; the result is the first failure in their order.
    pub(super) async fn ask(&mut self, within: Duration) -> (Result<(), Failure>, Vec<Part>) {
        let turns = Arc::new(Semaphore::new(self.target.at_once));
        let began = Instant::now();
        let mut tasks = JoinSet::new();
        for (index, (slot, (_, target))) in self.members.iter_mut().zip(&self.target.members).enumerate() {
            let mut probe = slot.take().unwrap_or_else(|| HttpProbe::new(target.clone()));
            let turns = Arc::clone(&turns);
            tasks.spawn(async move {
                let turn = timeout(within, turns.acquire_owned()).await;
                let asked = Instant::now();
                let left = within.saturating_sub(began.elapsed());
                let result = match turn {
                    Ok(_turn) => timeout(left, probe.ask(left.mul_f64(0.95))).await,
                    Err(elapsed) => Err(elapsed),
                };
                let late = |_| Err(Failure::new(Class::Timeout, &format!("no answer within {}", shown(within))));
                (index, probe, result.unwrap_or_else(late), asked.elapsed())
            });
        }
        let mut parts: Vec<Part> = self
            .target
            .members
            .iter()
            .map(|(name, http)| Part {
                name: name.clone(),
                target: http.shown.clone(),
                client: None,
                result: Err(Failure::new(Class::Internal, "the probe panicked")),
                status: None,
                elapsed: Duration::ZERO,
            })
            .collect();
        while let Some(joined) = tasks.join_next().await {
            let Ok((index, probe, result, elapsed)) = joined else { continue };
            if let (Some(slot), Some(part)) = (self.members.get_mut(index), parts.get_mut(index)) {
                *slot = Some(probe);
                part.status = result.as_ref().map_or_else(|failure| failure.status, |()| Some(200));
                (part.result, part.elapsed) = (result, elapsed);
            }
        }
        (summary(&parts), parts)
    }
}

fn summary(parts: &[Part]) -> Result<(), Failure> {
    parts.iter().find(|part| part.result.is_err()).map_or(Ok(()), |first| Err(failed(parts, first, &first.name)))
}

/// The failure of a check of which parts failed, in the words of one that is called `name`.
pub(super) fn failed(parts: &[Part], one: &Part, name: &str) -> Failure {
    let failed = parts.iter().filter(|part| part.result.is_err()).count();
    let failure = one.result.as_ref().err().cloned().unwrap_or_else(|| Failure::new(Class::Internal, "it passed"));
    Failure { status: None, ..failure.of(&format!("{failed} of {} failed, first {name}", parts.len())) }
}
