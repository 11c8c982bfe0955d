//! The deadlines of one process: until it is up, between two signs of life, from its stop signal to KILL, and what follows when one passes.

use super::{Duration, Effect, Event, Exit, Lifecycle, Moment, ProcessId, ProcessTimer, RunState, StartSign, Then, Timer, Watch};
use crate::outcome::Reason;
use crate::plan::StartedPlan;

/// How long a program that has no startup check may take to be executed.
const EXEC_LIMIT: Duration = Duration::from_secs(60);

/// How long the dead may take to be reaped after KILL; a process stuck in the kernel must not keep the container.
pub(super) const REAP_LIMIT: Duration = Duration::from_secs(1);

impl Lifecycle {
    pub(super) fn arm_limit(&self, id: ProcessId, effects: &mut Vec<Effect>) {
        let started = self.process_plan(id).and_then(|plan| plan.started.as_ref());
        let limit = match id {
            ProcessId::Migration => self.task_limit(),
            ProcessId::Step(_) => self.step_limit(),
            ProcessId::Main | ProcessId::Module(_) => started.map_or(EXEC_LIMIT, |started| started.within),
        };
        if !limit.is_zero() {
            effects.push(Effect::Arm(Timer::Process(id, ProcessTimer::Limit), limit));
        }
    }

    /// Armed while the process is up, it runs on until that is asked to stop.
    pub(super) fn expect_watchdog(&self, id: ProcessId, effects: &mut Vec<Effect>) {
        if let Some(limit) = self.process_plan(id).and_then(|plan| plan.watchdog)
            && self.state(id).since().is_some()
        {
            effects.push(Effect::Arm(Timer::Process(id, ProcessTimer::Watchdog), limit));
        }
    }

    pub(super) fn process_elapsed(&mut self, now: Moment, id: ProcessId, timer: ProcessTimer, effects: &mut Vec<Effect>) {
        let kill = Effect::SignalGroup(id, libc::SIGKILL);
        match (timer, self.state(id)) {
            (ProcessTimer::Limit, _) if id == ProcessId::Migration => self.task_took_too_long(now, effects),
            (ProcessTimer::Limit | ProcessTimer::Restart, _) if let ProcessId::Step(step) = id => match timer {
                ProcessTimer::Limit => self.step_took_too_long(now, step, effects),
                _ => self.retry_step(now, step, effects),
            },
            (ProcessTimer::Limit, RunState::Forked | RunState::Starting(_)) if self.goes_on(id) => self.took_too_long(now, id, effects),
            (ProcessTimer::Grace, RunState::Stopping(_) | RunState::Clearing(_)) => {
                effects.extend([kill, Effect::Arm(Timer::Process(id, ProcessTimer::Reap), REAP_LIMIT)]);
            }
            // What is still there after KILL is stuck in the kernel, and would be in the way of another one.
            (ProcessTimer::Reap, RunState::Stopping(_)) => self.stuck(now, id, effects),
            // Taken for gone, by the way of every group that is: a lock in doubt is confirmed before the next step.
            (ProcessTimer::Reap, RunState::Clearing(_)) => self.step(now, Event::GroupGone(id), effects),
            (ProcessTimer::Restart, _) if id == ProcessId::Migration => self.retry_task(now, effects),
            (ProcessTimer::Restart, RunState::Backoff) => {
                effects.push(kill);
                self.wait_again(id, effects);
            }
            // ABRT, as systemd's WatchdogSignal, so that a core or a traceback tells where it hangs.
            (ProcessTimer::Watchdog, state) if state.since().is_some() => {
                let timeout = self.process(id).rules.timeout;
                effects.push(Effect::Signal(id, libc::SIGABRT));
                effects.push(Effect::Arm(Timer::Process(id, ProcessTimer::WatchdogKill), timeout));
            }
            (ProcessTimer::WatchdogKill, state) if state.since().is_some() => effects.push(kill),
            _ => {}
        }
    }

    fn took_too_long(&mut self, now: Moment, id: ProcessId, effects: &mut Vec<Effect>) {
        let started = self.process_plan(id).and_then(|plan| plan.started.as_ref());
        let (stage, why) = match (self.state(id), started) {
            (RunState::Starting(last), Some(started)) => ("started", not_through(started, *last)),
            (_, started) => ("spawn", not_executed(started)),
        };
        match id {
            ProcessId::Main => self.main_start_failed(now, stage, &why, effects),
            ProcessId::Migration | ProcessId::Step(_) => {}
            ProcessId::Module(module) => {
                self.stop_module(now, module, Then::Failed(Exit::Unavailable.code()), effects);
                self.module_failed(now, module, format!("its {why}"));
            }
        }
    }

    fn stuck(&mut self, now: Moment, id: ProcessId, effects: &mut Vec<Effect>) {
        match id {
            ProcessId::Main => self.main_stuck(now, effects),
            ProcessId::Migration => {}
            ProcessId::Step(_) => self.taken_for_dead(now, id, effects),
            ProcessId::Module(module) => {
                self.transition(id, RunState::Idle);
                self.module_stuck(now, module);
            }
        }
    }

    /// Nothing more is asked of it, and none of the deadlines of its running holds any longer.
    pub(super) fn stop_watching(id: ProcessId, effects: &mut Vec<Effect>) {
        effects.push(Effect::Watch(id, Watch::Nothing));
        let timers = [ProcessTimer::Limit, ProcessTimer::Watchdog, ProcessTimer::WatchdogKill];
        effects.extend(timers.map(|timer| Effect::Disarm(Timer::Process(id, timer))));
    }

    pub(super) fn end_deadlines(id: ProcessId, effects: &mut Vec<Effect>) {
        effects.extend([ProcessTimer::Grace, ProcessTimer::Reap].map(|timer| Effect::Disarm(Timer::Process(id, timer))));
    }
}

/// What a start lacks whose program was not even executed in time.
fn not_executed(started: Option<&StartedPlan>) -> String {
    let within = humantime::format_duration(started.map_or(EXEC_LIMIT, |started| started.within));
    format!("program was not executed within {within}: its file does not answer; check the file system that it is on")
}

/// What a start that took too long lacks, and what to check; `last` is what its target answered last.
fn not_through(started: &StartedPlan, last: Reason) -> String {
    let why = match &started.sign {
        StartSign::Answers { .. } => format!("{}; {}", last.words(), last.advice()),
        StartSign::Notifies => "no READY=1 came; check that the process sends it to NOTIFY_SOCKET".to_owned(),
        StartSign::Writes(fd) => format!("no line came on descriptor {fd}; check that the process writes one to it"),
        StartSign::Line(text) => {
            format!(
                "its output had no line with `{}`; check what it writes, and whether it does so at once where its output is a pipe",
                text.shown()
            )
        }
    };
    format!("startup check did not pass within {}: {why}", humantime::format_duration(started.within))
}
