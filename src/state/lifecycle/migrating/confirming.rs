//! Confirms the migration lock after a pause of this process, before the next step begins.

use super::{Duration, Effect, Event, Lifecycle, Lock, LockNews, Moment, ProcessTimer, Timer};
use crate::state::event::PreparedStep;

/// How long the lock's keeper may take to confirm it: more than its query and its attempt to regain the lock.
const CONFIRM_LIMIT: Duration = Duration::from_secs(20);

impl Lifecycle {
    /// This process did not run for `lost`, or the machine was suspended. Only leases are in doubt (`docs/decisions.md`, 2).
    pub(in crate::state::lifecycle) fn was_away(&mut self, now: Moment, lost: Duration, effects: &mut Vec<Effect>) {
        self.requests.forgive(now, lost);
        if self.lock_is_out() && !self.snapshot.phase.is_leaving() {
            self.migrating.unconfirmed.get_or_insert_default();
            effects.push(Effect::ConfirmLock);
            effects.push(Effect::Arm(Timer::Confirm, CONFIRM_LIMIT));
        }
    }

    /// Returns the event, unless it would begin another step under an unconfirmed lock. A stop is never delayed.
    pub(in crate::state::lifecycle) fn held_back(&mut self, event: Event) -> Option<Event> {
        let goes_on = match event {
            Event::GroupGone(id) | Event::Elapsed(Timer::Process(id, ProcessTimer::Restart)) => id.is_one_off(),
            Event::Prepared(_, ref news) => !matches!(news, PreparedStep::Progress(_)),
            Event::Lock(LockNews::Held | LockNews::Verified(_)) => true,
            _ => false,
        };
        match &mut self.migrating.unconfirmed {
            Some(waiting) if goes_on && self.ending.is_none() => {
                waiting.push(event);
                None
            }
            _ => Some(event),
        }
    }

    /// The lock is still held, or was not held yet.
    pub(super) fn lock_confirmed(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let Some(waiting) = self.migrating.unconfirmed.take() else { return };
        effects.push(Effect::Disarm(Timer::Confirm));
        for event in waiting {
            self.step(now, event, effects);
        }
    }

    /// The run is about to end: the events that wait for the confirmation are applied, because nothing begins any more and the end needs them.
    pub(in crate::state::lifecycle) fn apply_held_back(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.ending.is_none() {
            return;
        }
        for event in self.migrating.unconfirmed.as_mut().map(std::mem::take).unwrap_or_default() {
            self.step(now, event, effects);
        }
    }

    /// The lock was lost in the pause: a waiting step ends the run, and a running command is stopped.
    pub(super) fn lock_gone(&mut self, now: Moment, why: String, effects: &mut Vec<Effect>) {
        let waits = |event: &Event| matches!(event, Event::Lock(LockNews::Held));
        let just_held = self.migrating.unconfirmed.as_ref().is_some_and(|waiting| waiting.iter().any(waits));
        if self.migrating.lock.is_ours() || just_held {
            self.lock_lost(now, why, effects);
        }
        self.lock_confirmed(now, effects);
    }

    pub(in crate::state::lifecycle) fn lock_unconfirmed(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.verifies_by_sql() || self.migrating.lock == Lock::Checking {
            // The keeper handles requests one after another, and this one has its own limit.
            effects.push(Effect::Arm(Timer::Confirm, CONFIRM_LIMIT));
        } else if self.migrating.unconfirmed.is_some() {
            let limit = humantime::format_duration(CONFIRM_LIMIT);
            self.lock_gone(now, format!("after a pause its keeper did not confirm it within {limit}"), effects);
        }
    }
}
