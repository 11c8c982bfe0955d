//! From the first question to the last answer of what the start waits for.

use super::{CheckId, Class, Effect, Exit, Lifecycle, Moment, Outcome, Phase, Step, Timer, Verdict};

impl Lifecycle {
    pub(super) fn begin(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.snapshot.phase != Phase::Init {
            return;
        }
        self.enter(now, Phase::Waiting);
        let waits: Vec<_> = self.plan.awaited().map(|(id, check)| (id, check.name.clone(), check.wait)).collect();
        for (id, name, wait) in waits {
            self.stage_began(now, &format!("wait:{name}"));
            effects.push(Effect::Arm(Timer::Wait(id), wait));
        }
        self.after_waits(now, effects);
    }

    pub(super) fn probed(&mut self, now: Moment, id: CheckId, outcome: Outcome, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.checks.get(id) else { return };
        let (stage, fail_fast) = (format!("wait:{}", plan.name), plan.fail_fast);
        let Some(check) = self.snapshot.checks.iter_mut().find(|check| check.id == Some(id)) else { return };
        let (refused, passed) = (outcome.why().is_refusal(), outcome.result.is_ok());
        check.feed(now, outcome);
        let up = check.verdict == Verdict::Up;
        if passed {
            self.answered_again(now, id, effects);
        }
        if self.snapshot.phase != Phase::Waiting || self.step_of(&stage) != Some(Step::Unknown) {
            return;
        }
        if up {
            self.stage_ended(now, &stage, Step::Up);
            effects.push(Effect::Disarm(Timer::Wait(id)));
            self.after_waits(now, effects);
        } else if refused && fail_fast {
            self.wait_ended(now, id, "refused our login", effects);
        }
    }

    /// What is known already is no news; a check that is new takes it for its first result. What the process before this one of a
    /// module said, nobody takes for this one's.
    pub(super) fn recalled(&mut self, now: Moment, id: CheckId, at: Moment, outcome: Outcome, effects: &mut Vec<Effect>) {
        let module = self.snapshot.checks.iter().find(|check| check.id == Some(id)).and_then(|check| check.module);
        if module.is_some_and(|module| self.is_before(at, module)) {
            return;
        }
        let Some(check) = self.snapshot.checks.iter_mut().find(|check| check.id == Some(id)) else { return };
        let passed = outcome.result.is_ok();
        if check.last().is_none() {
            check.feed(at, outcome);
        }
        if passed {
            self.answered_again(now, id, effects);
        }
    }

    pub(super) fn after_waits(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.snapshot.stages.iter().any(|stage| stage.name.starts_with("wait:") && stage.step != Step::Up) {
            return;
        }
        if self.plan.migration.is_some() {
            self.migrate(now, effects);
        } else {
            self.start(now, effects);
        }
    }

    pub(super) fn wait_failed(&mut self, now: Moment, id: CheckId, effects: &mut Vec<Effect>) {
        let Some(wait) = self.plan.checks.get(id).map(|plan| plan.wait) else { return };
        self.wait_ended(now, id, &format!("was not ready within {}", humantime::format_duration(wait)), effects);
    }

    fn wait_ended(&mut self, now: Moment, id: CheckId, how: &str, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.checks.get(id) else { return };
        let check = self.snapshot.checks.iter().find(|check| check.id == Some(id));
        let why = check.map_or(Class::Never.into(), |check| check.why(check.effective(now).1));
        let (words, advice) = if why.class == Class::Ok {
            let passes = plan.success_threshold;
            (format!("it passed, but not {passes} times in a row"), "give it a longer `wait` or a lower `success_threshold`")
        } else {
            (why.words().to_owned(), why.advice())
        };
        let sentence = format!("{} ({}) {how}: {words}; {advice}", plan.name, plan.target);
        let name = format!("wait:{}", plan.name);
        self.stage_ended(now, &name, Step::Down);
        self.fail(now, Exit::Unavailable.code(), sentence, effects);
    }
}
