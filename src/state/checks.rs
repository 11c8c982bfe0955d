//! The checks of a run, and whether all of those that readiness depends on pass.
//!
//! That is asked after every event. The answer is derived from all checks only when it may have changed: when a check changed to the other
//! side, or when the first of them may be stale.

use std::ops::Deref;
use std::time::Duration;

use super::check::{Check, HEARTBEAT};
use super::copy_on_write::{CopyOnWrite, List};
use crate::clock::Moment;
use crate::plan::CheckId;

/// What is known about the checks that readiness depends on, without that of the heartbeat. It follows from them and only saves to look at
/// all of them.
#[derive(Clone, Copy, Debug, Default)]
enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// All of them pass, until the first may be stale.
    Pass(Duration),
    /// The one at this index failed when it was last looked at.
    Fails(usize),
}

/// The checks in the order of the configuration, the process itself last. They are read like a list, and changed only here.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    list: List<Check>,
    known: Known,
    /// The index of the check of the heartbeat, if there is one.
    heartbeat: Option<usize>,
}

impl Checks {
    /// The index of the check with this number; usually the same.
    pub fn position(&self, id: CheckId) -> Option<usize> {
        self.list.search(id, |check| check.id == Some(id))
    }

    /// The check with this number.
    pub fn numbered(&self, id: CheckId) -> Option<&Check> {
        self.list.get(self.position(id)?)
    }

    /// The index of the check of the heartbeat, if there is one.
    pub const fn heartbeat(&self) -> Option<usize> {
        self.heartbeat
    }

    /// Changes one check; none if there is none at this index.
    pub fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Check) -> R) -> Option<R> {
        let check = self.list.get_mut(index)?;
        let result = change(check);
        if self.heartbeat != Some(index) {
            self.known = match (self.known, check.allows_ready_until()) {
                (Known::Pass(_), None) => Known::Fails(index),
                (Known::Pass(known), Some(until)) => Known::Pass(known.min(until)),
                (known, _) => known,
            };
        }
        Some(result)
    }

    /// Adds, removes or replaces checks.
    pub fn rebuild(&mut self, change: impl FnOnce(&mut Vec<CopyOnWrite<Check>>)) {
        self.list.rebuild(change);
        self.known = Known::Nothing;
        self.heartbeat = self.list.search(0, |check| check.name == HEARTBEAT);
    }

    /// Removes these checks. Usually there are none, and then nothing is to be found out anew.
    pub fn remove(&mut self, is_one: &dyn Fn(&Check) -> bool) {
        if self.list.iter().any(is_one) {
            self.rebuild(|checks| checks.retain(|check| !is_one(check)));
        }
    }

    /// Whether all that readiness depends on pass at `now`, without the check of the heartbeat.
    pub fn allow_ready(&self, now: Moment) -> bool {
        matches!(self.looked(now), Known::Pass(_))
    }

    /// The same, and remembers why.
    pub fn settle(&mut self, now: Moment) -> bool {
        self.known = self.looked(now);
        self.allow_ready(now)
    }

    /// Whether the check of the heartbeat passes at `now`, or there is none.
    pub fn heartbeat_allows_ready(&self, now: Moment) -> bool {
        let check = self.heartbeat.and_then(|index| self.list.get(index));
        check.is_none_or(|check| check.allows_ready(now))
    }

    fn looked(&self, now: Moment) -> Known {
        let fails = |index: usize| self.heartbeat != Some(index) && self.list.get(index).is_some_and(|check| !check.allows_ready(now));
        let near = match self.known {
            Known::Pass(until) if now.mono <= until => return self.known,
            Known::Fails(index) if fails(index) => return self.known,
            // Checks often recover in their order: the next one that fails is behind this one.
            Known::Fails(index) => index,
            Known::Pass(_) | Known::Nothing => 0,
        };
        let length = self.list.len();
        let near = near.min(length);
        if let Some(index) = (near..length).chain(0..near).find(|index| fails(*index)) {
            return Known::Fails(index);
        }
        let others = self.list.iter().enumerate().filter(|(index, _)| self.heartbeat != Some(*index));
        Known::Pass(others.filter_map(|(_, check)| check.allows_ready_until()).min().unwrap_or(Duration::MAX))
    }
}

impl Deref for Checks {
    type Target = List<Check>;

    fn deref(&self) -> &List<Check> {
        &self.list
    }
}

/// Tests change what they like.
#[cfg(test)]
impl std::ops::DerefMut for Checks {
    fn deref_mut(&mut self) -> &mut List<Check> {
        (self.known, self.heartbeat) = (Known::Nothing, None);
        &mut self.list
    }
}

impl From<Vec<CopyOnWrite<Check>>> for Checks {
    fn from(list: Vec<CopyOnWrite<Check>>) -> Self {
        let mut checks = Self::default();
        checks.rebuild(|empty| *empty = list);
        checks
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::{ErrorKind, Outcome};
    use crate::plan::Affects;
    use crate::state::check::State;

    /// A check by its number; every seventh never gets stale, and the thresholds differ.
    fn check(id: usize, affects: Affects) -> CopyOnWrite<Check> {
        let stale_after = (!id.is_multiple_of(7)).then(|| Duration::from_secs(5 + id as u64 % 3));
        let threshold = 1 + id as u32 % 2;
        let name = if id == 3 { HEARTBEAT.to_owned() } else { format!("c{id}") };
        Check {
            id: Some(id),
            stale_after,
            failure_threshold: threshold,
            success_threshold: threshold,
            ..Check::event(&name, "tcp", affects)
        }
        .into()
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Result(usize, bool),
        AllPass,
        Later(u64),
        Settle,
        Remove(usize),
        Add(Affects),
    }

    fn affects() -> impl Strategy<Value = Affects> {
        prop_oneof![Just(Affects::None), Just(Affects::Health), Just(Affects::Readiness), Just(Affects::Readiness), Just(Affects::Liveness)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..80usize, prop::bool::weighted(0.7)).prop_map(|(index, passes)| Step::Result(index, passes)),
            3 => Just(Step::AllPass),
            4 => (0..4_000u64).prop_map(Step::Later),
            6 => Just(Step::Settle),
            1 => (0..80usize).prop_map(Step::Remove),
            1 => affects().prop_map(Step::Add),
        ]
    }

    fn outcome(passes: bool) -> Outcome {
        if passes { Outcome::passed(Duration::ZERO) } else { Outcome::failed(ErrorKind::Refused, "", Duration::ZERO) }
    }

    proptest! {
        #[test]
        fn what_is_known_is_what_all_checks_say(kinds in vec(affects(), 0..80), steps in vec(step(), 0..120)) {
            let mut checks: Checks = kinds.into_iter().enumerate().map(|(id, affects)| check(id, affects)).collect::<Vec<_>>().into();
            let mut now = Moment::default();
            for step in steps {
                match step {
                    Step::Result(index, passes) => {
                        checks.change(index, |check| check.feed(now, outcome(passes)));
                    }
                    Step::AllPass => (0..checks.len()).for_each(|index| {
                        // Twice, for every threshold.
                        checks.change(index, |check| [true, true].map(|passes| check.feed(now, outcome(passes))));
                    }),
                    Step::Later(millis) => now = now.after(Duration::from_millis(millis)),
                    Step::Settle => {
                        checks.settle(now);
                    }
                    Step::Remove(index) => checks.rebuild(|list| list.truncate(index.max(list.len().saturating_sub(1)))),
                    Step::Add(affects) => checks.rebuild(|list| list.push(check(100 + list.len(), affects))),
                }
                let allows = |check: &Check| {
                    let (state, _) = check.effective(now);
                    (!check.affects.readiness() || state.passes()) && (!check.affects.liveness() || state != State::Down)
                };
                let (heartbeat, others): (Vec<&Check>, Vec<&Check>) = checks.iter().partition(|check| check.name == HEARTBEAT);
                prop_assert_eq!(checks.allow_ready(now), others.into_iter().all(allows));
                prop_assert_eq!(checks.heartbeat_allows_ready(now), heartbeat.into_iter().all(allows));
            }
        }
    }

    #[test]
    fn a_check_is_found_by_its_number_wherever_it_is() {
        let mut checks: Checks = (0..70).map(|id| check(id, Affects::Health)).collect::<Vec<_>>().into();
        checks.rebuild(|list| {
            list.remove(10);
        });
        assert_eq!(
            (checks.position(9), checks.position(10), checks.position(11), checks.position(69)),
            (Some(9), None, Some(10), Some(68))
        );
        assert_eq!(checks.numbered(69).map(|check| check.name.as_str()), Some("c69"));
        assert!(checks.change(70, |_| ()).is_none());
    }
}
