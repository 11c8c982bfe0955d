//! How a run ends: the order of stopping, in one deadline, with every short cut an operator may take.

use super::migrating::stop_migration;
use super::{Class, Effect, Event, Lifecycle, Moment, Outcome, Phase, ProcessId, Readiness, Timer};
use crate::exit::{Ended, signal_code, signal_name};
use crate::plan::{ProcessPlan, WITHDRAW_LIMIT};

use std::time::Duration;

/// How long the dead may take to be reaped after KILL; a process stuck in the kernel must not keep the container.
pub(super) const REAP_LIMIT: Duration = Duration::from_secs(1);

/// A request to stop that comes so soon after one by the same signal is the same one: `timeout` signals its child and then the whole group.
const ECHO: Duration = Duration::from_millis(50);

/// Where the way out stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Readers of the heartbeat are being told; then this signal is due.
    Withdrawing(i32),
    /// Traffic is given time to go elsewhere; then this signal is due.
    Draining(i32),
    /// The main child was asked to stop.
    Stopping,
    /// The main child is gone or never was: what is left is seen off.
    Closing {
        /// Whether no child is left.
        left: bool,
        /// Whether the heartbeat is withdrawn.
        withdrawn: bool,
    },
}

impl Lifecycle {
    /// TERM and INT start the stop, all others are the child's; without a child those that end a process end us.
    pub(super) fn signalled(&mut self, now: Moment, number: i32, effects: &mut Vec<Effect>) {
        let plan = self.main().map(|main| main.signals.clone()).unwrap_or_default();
        if plan.ignore.contains(&number) {
            return;
        }
        let stops = matches!(number, libc::SIGTERM | libc::SIGINT) || plan.stop_on.contains(&number);
        let child = if self.main_lives() { Some(ProcessId::Main) } else { self.migration_runs.then_some(ProcessId::Migration) };
        match child {
            _ if stops => self.stop_requested(now, number, effects),
            Some(id) => self.pass_on(id, number, effects),
            None if matches!(number, libc::SIGHUP | libc::SIGQUIT) => self.stop_requested(now, number, effects),
            None if self.waits_without_process() && self.ends_a_wait(number) => self.stop_requested(now, number, effects),
            None => {}
        }
    }

    /// Before the first start, or held after one that failed: nobody is there to whom a signal could be handed on. Between two starts
    /// a signal is likely the process' own business, as to open its log anew.
    fn waits_without_process(&self) -> bool {
        self.held || (self.leaving.is_none() && self.restarting.is_none())
    }

    /// Whether this signal ends a process that does nothing about it (signal(7)), as it would end one that waits.
    ///
    /// As PID 1 a WINCH ends the wait as well: images whose `STOPSIGNAL` it is send it. Below another init it may be the resize of a
    /// terminal, handed on; the kernel's own does not come here.
    fn ends_a_wait(&self, number: i32) -> bool {
        match number {
            libc::SIGWINCH => self.is_init,
            libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => false,
            _ => true,
        }
    }

    fn stop_requested(&mut self, now: Moment, number: i32, effects: &mut Vec<Effect>) {
        if self.last_stop.is_some_and(|(last, at)| last == number && now.since(at) < ECHO) {
            return;
        }
        self.last_stop = Some((number, now));
        self.stop_requests += 1;
        self.stop_since.get_or_insert(now);
        match self.leaving {
            Some(leaving) => self.stop_again(leaving, number, effects),
            None if self.main_lives() => self.leave(now, number, effects),
            None if self.migration_runs => self.stop_migration_requested(number, effects),
            None if self.between_tasks() => self.stop_between_tasks(now, number, effects),
            None => {
                self.decide(
                    signal_code(number as u8),
                    format!("ended by {} while {}, with no process running", signal_name(number), self.snapshot.phase.word()),
                );
                self.enter(now, if self.snapshot.started { Phase::Stopped } else { Phase::Failed });
                self.close(now, effects);
            }
        }
    }

    /// Begins the stop of a process that runs; without one there is nothing to stop but what is left.
    pub(super) fn leave(&mut self, now: Moment, number: i32, effects: &mut Vec<Effect>) {
        if self.leaving.is_some() {
            return;
        }
        if !self.main_lives() {
            self.enter(now, if self.snapshot.started { Phase::Stopped } else { Phase::Failed });
            self.close(now, effects);
            return;
        }
        self.enter(now, Phase::Draining);
        effects.push(Effect::Disarm(Timer::Startup));
        effects.push(Effect::AskStartup(false));
        if self.withdraws() {
            self.leaving = Some(Leaving::Withdrawing(number));
            self.withdraw(effects);
        } else {
            self.drain(number, effects);
        }
    }

    fn stop_migration_requested(&mut self, number: i32, effects: &mut Vec<Effect>) {
        let stopping = self.ending.is_some();
        self.decide(signal_code(number as u8), format!("ended by {} while the migration ran", signal_name(number)));
        match self.stop_requests {
            // A stop that is on its way already keeps its deadline: a lost lock must not gain time by a signal.
            1 if !stopping => stop_migration(number, Timer::Grace, self.stop_timeout(), effects),
            1 | 2 => effects.push(Effect::Signal(ProcessId::Migration, number)),
            _ => self.kill_migration(effects),
        }
    }

    /// The second request cuts the drain and is forwarded; the third kills, unless the process shall get that one, too.
    fn stop_again(&mut self, leaving: Leaving, number: i32, effects: &mut Vec<Effect>) {
        match leaving {
            Leaving::Withdrawing(first) | Leaving::Draining(first) => {
                effects.push(Effect::Disarm(Timer::Withdraw));
                effects.push(Effect::Disarm(Timer::Drain));
                self.send_stop(first, effects);
            }
            Leaving::Stopping if self.stop_requests < 3 && self.held_stop.is_some() => self.ask_held_main(effects),
            Leaving::Stopping if self.stop_requests < 3 || self.main().is_some_and(|main| main.signals.never_kills) => {
                effects.push(self.forward(ProcessId::Main, number))
            }
            Leaving::Stopping => self.kill_all(effects),
            Leaving::Closing { .. } if self.stop_requests < 3 => effects.push(Effect::SignalSurvivors(number)),
            Leaving::Closing { .. } => self.kill_survivors(effects),
        }
    }

    /// Only an instance that was ready is in anybody's list; TERM while waiting must not wait for Redis.
    fn withdraws(&self) -> bool {
        self.plan.heartbeat.is_some() && self.ever_ready && self.announced != Readiness::Stopped
    }

    fn withdraw(&mut self, effects: &mut Vec<Effect>) {
        self.announced = Readiness::Stopped;
        effects.push(Effect::Announce(Readiness::Stopped));
        effects.push(Effect::Arm(Timer::Withdraw, WITHDRAW_LIMIT));
    }

    pub(super) fn withdrawn(&mut self, effects: &mut Vec<Effect>) {
        match &mut self.leaving {
            Some(Leaving::Withdrawing(number)) => {
                let number = *number;
                effects.push(Effect::Disarm(Timer::Withdraw));
                self.drain(number, effects);
            }
            Some(Leaving::Closing { withdrawn, .. }) => *withdrawn = true,
            _ => {}
        }
    }

    fn drain(&mut self, number: i32, effects: &mut Vec<Effect>) {
        let delay = self.plan.main.as_ref().map_or(Duration::ZERO, |main| main.drain_delay);
        if delay.is_zero() {
            self.send_stop(number, effects);
        } else {
            self.leaving = Some(Leaving::Draining(number));
            effects.push(Effect::Arm(Timer::Drain, delay));
        }
    }

    pub(super) fn drained(&mut self, effects: &mut Vec<Effect>) {
        if let Some(Leaving::Draining(number)) = self.leaving {
            self.send_stop(number, effects);
        }
    }

    /// Asks the main child; modules that started after it go before it, for half of the time at most.
    pub(super) fn send_stop(&mut self, number: i32, effects: &mut Vec<Effect>) {
        self.leaving = Some(Leaving::Stopping);
        effects.push(Effect::AskStartup(false));
        effects.push(Effect::Disarm(Timer::Watchdog));
        effects.push(Effect::Disarm(Timer::WatchdogKill));
        if self.somebody_goes_before_main() {
            self.held_stop = Some(number);
            effects.push(Effect::Arm(Timer::Precedence, self.stop_timeout() / 2));
        } else {
            self.ask_main(number, effects);
        }
        effects.push(Effect::Arm(Timer::Grace, self.stop_timeout()));
    }

    /// Asks the main child to stop that was to wait for modules, if there is one.
    pub(super) fn ask_held_main(&mut self, effects: &mut Vec<Effect>) {
        if let Some(number) = self.held_stop.take() {
            effects.push(Effect::Disarm(Timer::Precedence));
            self.ask_main(number, effects);
        }
    }

    /// Asks the main child, and wakes it should it be stopped: a signal to a stopped process stays pending.
    fn ask_main(&mut self, number: i32, effects: &mut Vec<Effect>) {
        let asked = self.main().and_then(|main| main.stop_signal);
        effects.push(asked.map_or_else(|| self.forward(ProcessId::Main, number), |signal| self.send(ProcessId::Main, signal)));
        self.wake(effects);
    }

    pub(super) fn grace_over(&mut self, effects: &mut Vec<Effect>) {
        match self.leaving {
            Some(Leaving::Stopping) => self.kill_all(effects),
            Some(Leaving::Closing { left: false, .. }) => self.kill_survivors(effects),
            _ => {}
        }
    }

    fn kill_all(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::SignalGroup(ProcessId::Main, libc::SIGKILL));
        self.kill_survivors(effects);
    }

    fn kill_survivors(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::SignalSurvivors(libc::SIGKILL));
        self.killed(effects);
    }

    pub(super) fn kill_migration(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::SignalGroup(ProcessId::Migration, libc::SIGKILL));
        self.killed(effects);
    }

    /// From the first KILL on nobody gets more time than the reaping needs.
    fn killed(&mut self, effects: &mut Vec<Effect>) {
        if !self.killed {
            self.killed = true;
            effects.push(Effect::Arm(Timer::Reap, REAP_LIMIT));
        }
    }

    /// What is still there after KILL is stuck in the kernel and goes with the container.
    pub(super) fn reap_over(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.migration_runs {
            self.migration_ended(now, Ended::Signal(libc::SIGKILL as u8), effects);
        }
        if self.leaves_behind() {
            // Taken for gone, by the way of every group that is: a lock in doubt is confirmed before the next step.
            self.step(now, Event::GroupGone(ProcessId::Migration), effects);
            return;
        }
        if self.leaving == Some(Leaving::Stopping) {
            self.decide(signal_code(libc::SIGKILL as u8), "the process did not end after KILL".to_owned());
            self.enter_end(now, Phase::Stopped);
            self.close(now, effects);
        }
        self.none_left();
    }

    pub(super) fn main_ended(&mut self, now: Moment, ended: Ended, effects: &mut Vec<Effect>) {
        if !self.main_lives() {
            return;
        }
        (self.snapshot.child.pid, self.main_forked) = (None, false);
        self.snapshot.child.last_exit = Some(ended);
        self.feed_app(now, Outcome::failed(Class::Exited, "", Duration::ZERO));
        effects.push(Effect::Disarm(Timer::Watchdog));
        effects.push(Effect::Disarm(Timer::WatchdogKill));
        let for_memory = self.of_memory(ProcessId::Main);
        let ran = self.ran(now);
        if self.restarts_after(ran, ended) {
            self.restart(now, ran, effects);
            return;
        }
        self.decide_by(ended, ran, for_memory);
        let failed = self.snapshot.phase == Phase::Starting && ended != Ended::Code(0);
        self.enter_end(now, if failed { Phase::Failed } else { Phase::Stopped });
        self.close(now, effects);
    }

    /// A start that has failed stays failed, however its process ends.
    fn enter_end(&mut self, now: Moment, phase: Phase) {
        if self.snapshot.phase != Phase::Failed {
            self.enter(now, phase);
        }
    }

    /// Nothing is left to supervise: sees off what the main child left behind, within the deadline that already runs.
    pub(super) fn close(&mut self, _now: Moment, effects: &mut Vec<Effect>) {
        let withdrawing = matches!(self.leaving, Some(Leaving::Withdrawing(_)));
        let deadline_runs = matches!(self.leaving, Some(Leaving::Stopping));
        let spawned = self.ever_spawned || self.some_module_lives();
        let withdraws = self.withdraws();
        self.leaving = Some(Leaving::Closing { left: !spawned, withdrawn: !withdraws && !withdrawing });
        self.restarting = None;
        if self.held_stop.take().is_some() {
            effects.push(Effect::Disarm(Timer::Precedence));
        }
        for timer in [Timer::Startup, Timer::Drain, Timer::Restart] {
            effects.push(Effect::Disarm(timer));
        }
        effects.push(Effect::AskStartup(false));
        if withdraws {
            self.withdraw(effects);
        }
        if spawned && self.killed {
            effects.push(Effect::SignalSurvivors(libc::SIGKILL));
            if !deadline_runs {
                effects.push(Effect::Arm(Timer::Reap, REAP_LIMIT));
            }
        } else if spawned {
            if !deadline_runs {
                // A long stop is for the process' own work; what it left behind when it died holds up nobody's restart.
                effects.push(Effect::Arm(Timer::Grace, self.stop_timeout().min(ProcessPlan::STOP_TIMEOUT)));
            }
            effects.push(Effect::SignalSurvivors(libc::SIGTERM));
        }
    }

    pub(super) fn none_left(&mut self) {
        if let Some(Leaving::Closing { left, .. }) = &mut self.leaving {
            *left = true;
        }
    }

    pub(super) fn maybe_exit(&mut self, effects: &mut Vec<Effect>) {
        if let (Some(Leaving::Closing { left: true, withdrawn: true }), Some(ending)) = (self.leaving, &self.ending) {
            if self.plan.hold && self.snapshot.phase == Phase::Failed && self.stop_requests == 0 {
                if !std::mem::replace(&mut self.held, true) {
                    effects.push(Effect::Hold);
                }
                return;
            }
            self.exited = true;
            effects.push(Effect::Exit(ending.code));
        }
    }
}
