//! The results of checks: during the waits, before a restart, and for the verdicts.

use super::{
    CheckId, Effect, ErrorKind, Exit, Lifecycle, Moment, Outcome, Phase, ProcessId, Progress, RunState, StageState, StartStage, Timer,
    Verdict,
};

/// The name of the wait for this check among the stages.
fn wait_stage(check: &str) -> String {
    format!("wait:{check}")
}

impl Lifecycle {
    pub(super) fn begin_waits(&mut self, now: Moment, effects: &mut Vec<Effect>) -> Progress {
        self.enter(now, Phase::Waiting);
        if self.plan.prepares() {
            effects.push(Effect::ProbeNow);
        }
        let waits: Vec<_> = self.plan.awaited().map(|(id, check)| (id, check.name.clone(), check.wait)).collect();
        for (id, name, wait) in waits {
            self.began_at(now, self.stage_near(id, &wait_stage(&name)));
            effects.push(Effect::Arm(Timer::Wait(id), wait));
        }
        self.waits(0)
    }

    /// Whether a wait is not over; it is searched from this index on.
    fn waits(&self, near: usize) -> Progress {
        let waits = self.snapshot.stages.search(near, |stage| stage.name.starts_with("wait:") && stage.step != StageState::Up);
        if waits.is_some() { Progress::Pending } else { Progress::Done }
    }

    pub(super) fn probed(&mut self, now: Moment, id: CheckId, outcome: Outcome, effects: &mut Vec<Effect>) {
        let Some(index) = self.snapshot.checks.position(id) else { return };
        let (refused, passed) = (outcome.reason().is_refusal(), outcome.result.is_ok());
        let fed = self.snapshot.checks.change(index, |check| {
            let before = check.verdict;
            check.feed(now, outcome);
            (before, check.verdict)
        });
        let Some((before, after)) = fed else { return };
        match (before, after) {
            (Verdict::Up, Verdict::Down) => self.fell_ill(now, id, effects),
            (Verdict::Down, Verdict::Up) => self.recovered(now, id, effects),
            _ => {}
        }
        if passed {
            self.answered_again(id, effects);
        }
        if self.snapshot.phase != Phase::Waiting {
            return;
        }
        let Some((stage, fail_fast)) = self.plan.checks.get(id).map(|plan| (wait_stage(&plan.name), plan.fail_fast)) else { return };
        let place = self.stage_near(id, &stage).filter(|place| self.step_at(*place) == Some(StageState::Unknown));
        let Some(place) = place else { return };
        if after == Verdict::Up {
            self.ended_at(now, place, StageState::Up);
            effects.push(Effect::Disarm(Timer::Wait(id)));
            if self.waits(place) == Progress::Done {
                self.stage_is_over(now, StartStage::Waits, effects);
            }
        } else if refused && fail_fast {
            self.wait_ended(now, id, "refused our login", effects);
        }
    }

    /// An earlier result is only used by a new check, as its first result. Results about the previous process of a module are not used.
    pub(super) fn recalled(&mut self, id: CheckId, at: Moment, outcome: Outcome, effects: &mut Vec<Effect>) {
        let module = self.snapshot.checks.numbered(id).and_then(|check| check.module);
        if module.is_some_and(|module| self.state(ProcessId::Module(module)).since().is_some_and(|since| at.mono < since.mono)) {
            return;
        }
        let Some(index) = self.snapshot.checks.position(id) else { return };
        let passed = outcome.result.is_ok();
        self.snapshot.checks.change(index, |check| {
            if check.last().is_none() {
                check.feed(at, outcome);
            }
        });
        if passed {
            self.answered_again(id, effects);
        }
    }

    /// A dependency that a restart waits for has become ready.
    fn answered_again(&mut self, id: CheckId, effects: &mut Vec<Effect>) {
        if let RunState::Waiting(unanswered) = &mut self.process(ProcessId::Main).state
            && unanswered.remove(&id)
        {
            effects.push(Effect::Disarm(Timer::Wait(id)));
        }
    }

    pub(super) fn wait_over(&mut self, now: Moment, id: CheckId, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.checks.get(id) else { return };
        let first = self.snapshot.phase == Phase::Waiting && self.step_of(&wait_stage(&plan.name)) == Some(StageState::Unknown);
        let again = matches!(self.state(ProcessId::Main), RunState::Waiting(unanswered) if unanswered.contains(&id));
        if first || again {
            self.wait_ended(now, id, &format!("was not ready within {}", humantime::format_duration(plan.wait)), effects);
        }
    }

    fn wait_ended(&mut self, now: Moment, id: CheckId, how: &str, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.checks.get(id) else { return };
        let check = self.snapshot.checks.numbered(id);
        let why = check.map_or(ErrorKind::Never.into(), |check| check.why(check.effective(now).1));
        let why = if why.kind == ErrorKind::Ok {
            let passes = plan.success_threshold;
            format!("it passed, but not {passes} times in a row; give it a longer `wait` or a lower `success_threshold`")
        } else {
            why.at_the_limit()
        };
        let sentence = format!("{} ({}) {how}: {why}", plan.name, plan.target);
        let name = wait_stage(&plan.name);
        self.stage_ended(now, &name, StageState::Down);
        self.fail(now, Exit::Unavailable.code(), sentence, effects);
    }
}
