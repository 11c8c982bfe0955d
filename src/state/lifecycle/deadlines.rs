//! The deadlines of one process: start, watchdog, and from its stop signal to KILL, and what happens when one expires.

use super::{Duration, Effect, Event, Exit, Lifecycle, Moment, ProcessId, ProcessTimer, RunState, StartSign, Then, Timer, Watch};
use crate::outcome::Reason;
use crate::plan::StartedPlan;

/// How long a program without a startup check may take until it executes.
const EXEC_LIMIT: Duration = Duration::from_secs(60);

/// How long reaping may take after KILL; a process that is stuck in the kernel must not block the end of the container.
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

    /// Armed while the process is up, until its stop signal.
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
            // In the shutdown each process keeps its turn: others may still need this one.
            (ProcessTimer::Limit, RunState::Forked | RunState::Starting(_)) if self.shutdown.is_none() => {
                self.took_too_long(now, id, effects);
            }
            (ProcessTimer::Grace, RunState::Stopping(_) | RunState::Clearing(_)) => {
                effects.extend([kill, Effect::Arm(Timer::Process(id, ProcessTimer::Reap), REAP_LIMIT)]);
            }
            // A process that is still there after KILL is stuck in the kernel, and would conflict with a new one.
            (ProcessTimer::Reap, RunState::Stopping(_)) => self.stuck(now, id, effects),
            // Treated like an empty group: an unconfirmed lock is confirmed before the next step.
            (ProcessTimer::Reap, RunState::Clearing(_)) => self.step(now, Event::GroupGone(id), effects),
            (ProcessTimer::Restart, _) if id == ProcessId::Migration => self.retry_task(now, effects),
            (ProcessTimer::Restart, RunState::Backoff) => {
                effects.push(kill);
                self.wait_again(id, effects);
            }
            // ABRT, like systemd's WatchdogSignal, so that a core dump or a traceback shows where it hangs.
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

    /// Ends its probes and the deadlines of its running state.
    pub(super) fn stop_watching(id: ProcessId, effects: &mut Vec<Effect>) {
        effects.push(Effect::Watch(id, Watch::Nothing));
        let timers = [ProcessTimer::Limit, ProcessTimer::Watchdog, ProcessTimer::WatchdogKill];
        effects.extend(timers.map(|timer| Effect::Disarm(Timer::Process(id, timer))));
    }

    pub(super) fn end_deadlines(id: ProcessId, effects: &mut Vec<Effect>) {
        effects.extend([ProcessTimer::Grace, ProcessTimer::Reap].map(|timer| Effect::Disarm(Timer::Process(id, timer))));
    }
}

/// The reason for a start whose program was not executed in time.
fn not_executed(started: Option<&StartedPlan>) -> String {
    let within = humantime::format_duration(started.map_or(EXEC_LIMIT, |started| started.within));
    format!("program was not executed within {within}: reading its file blocks; check its file system")
}

/// The reason for a start that took too long, and what to check; `last` is the last result of its target.
fn not_through(started: &StartedPlan, last: Reason) -> String {
    let why = match &started.sign {
        StartSign::Answers { .. } => last.at_the_limit(),
        StartSign::Notifies => "no READY=1 was received; check that the process sends it to NOTIFY_SOCKET".to_owned(),
        StartSign::Writes(fd) => format!("no line was written to descriptor {fd}; check that the process writes one"),
        StartSign::Line(text) => {
            format!("its output had no line with `{}`; check its output, and whether it flushes it when it is a pipe", text.shown())
        }
    };
    format!("startup check did not pass within {}: {why}", humantime::format_duration(started.within))
}
