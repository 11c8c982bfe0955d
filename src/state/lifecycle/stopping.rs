//! The shutdown of a run: its order within one deadline, and how further stop requests shorten it.

use super::deadlines::REAP_LIMIT;
use super::{
    Duration, Effect, Event, Lifecycle, Moment, Phase, ProcessId, ProcessTimer, Readiness, RunState, Shutdown, StartStage, Then, Timer,
    Watch,
};
use crate::exit::{Ended, signal_code, signal_name};
use crate::plan::{ProcessPlan, WITHDRAW_LIMIT};
use crate::state::shutdown::{Survivors, Withdrawal};

impl Lifecycle {
    /// Whether there is a main child, whether or not it executes its program yet.
    pub(super) fn main_lives(&self) -> bool {
        self.state(ProcessId::Main).runs()
    }

    /// TERM and INT begin the stop, all other signals are forwarded; without a child, signals that end a process end the run.
    pub(super) fn signalled(&mut self, now: Moment, number: i32, effects: &mut Vec<Effect>) {
        let plan = self.main().map(|main| &main.signals);
        if plan.is_some_and(|plan| plan.ignore.contains(&number)) {
            return;
        }
        let stops = matches!(number, libc::SIGTERM | libc::SIGINT) || plan.is_some_and(|plan| plan.stop_on.contains(&number));
        let child = [ProcessId::Main, ProcessId::Migration].into_iter().chain(self.step_under_way()).find(|id| self.state(*id).runs());
        match child {
            _ if stops => self.stop_requested(now, number, effects),
            Some(id) => self.pass_on(id, number, effects),
            None if matches!(number, libc::SIGHUP | libc::SIGQUIT) => self.stop_requested(now, number, effects),
            None if self.waits_without_process() && self.ends_a_wait(number) => self.stop_requested(now, number, effects),
            None => {}
        }
    }

    fn stop_requested(&mut self, now: Moment, number: i32, effects: &mut Vec<Effect>) {
        if !self.requests.take(now, number) {
            return;
        }
        let name = signal_name(number);
        match self.shutdown {
            Some(shutdown) => self.stop_again(now, shutdown, number, effects),
            None if self.main_lives() => self.leave(now, number, effects),
            None if self.state(ProcessId::Migration).runs() => {
                self.decide(signal_code(number as u8), format!("ended by {name} while the migration ran"));
                self.stop_task(ProcessId::Migration, number, Timer::Grace, self.stop_timeout(), effects);
            }
            None if let Some(id) = self.step_under_way() => self.stop_before_process(now, id, number, effects),
            None if self.between_tasks() => {
                self.decide(signal_code(number as u8), format!("ended by {name} between two steps of the migration"));
                self.stop_between_tasks(now, effects);
            }
            None => {
                let first = self.start.stage() == Some(StartStage::FirstModules);
                let phase = if first { "modules were started first" } else { self.snapshot.phase.word() };
                self.decide(signal_code(number as u8), format!("ended by {name} while {phase}, with no process running"));
                self.leave(now, number, effects);
            }
        }
    }

    /// Begins the stop of a running process; without one only leftovers are stopped.
    pub(super) fn leave(&mut self, now: Moment, number: i32, effects: &mut Vec<Effect>) {
        if self.shutdown.is_some() {
            return;
        }
        if !self.main_lives() {
            self.enter(now, if self.snapshot.started { Phase::Stopped } else { Phase::Failed });
            self.close(effects);
            return;
        }
        self.enter(now, Phase::Draining);
        effects.push(Effect::Disarm(Timer::Process(ProcessId::Main, ProcessTimer::Limit)));
        effects.push(Effect::Watch(ProcessId::Main, Watch::Nothing));
        if self.withdraws() {
            self.shut(Shutdown::Withdrawing(number));
            self.withdraw(effects);
        } else {
            self.drain(number, effects);
        }
    }

    /// The second request ends the drain and is forwarded; the third kills, unless it is configured to be forwarded, too.
    fn stop_again(&mut self, now: Moment, shutdown: Shutdown, number: i32, effects: &mut Vec<Effect>) {
        let is_last = self.requests.count >= 3;
        let never_kills = self.main().is_some_and(|main| main.signals.never_kills);
        match shutdown {
            Shutdown::Withdrawing(first) | Shutdown::Draining(first) => {
                effects.extend([Timer::Withdraw, Timer::Drain].map(Effect::Disarm));
                self.send_stop(first, effects);
            }
            Shutdown::Preceding(_) if !is_last || never_kills => self.stop_held_main(effects),
            Shutdown::Preceding(_) => self.kill(ProcessId::Main, effects),
            Shutdown::Stopping(id) | Shutdown::Killing(id) => match self.state(id) {
                RunState::Stopping(_) if !is_last || (never_kills && id == ProcessId::Main) => {
                    effects.push(if id == ProcessId::Main { self.forward(id, number) } else { Effect::Signal(id, number) });
                }
                RunState::Stopping(_) => self.kill(id, effects),
                RunState::Clearing(_) if is_last => self.kill(id, effects),
                RunState::Clearing(_) => {}
                // Its lock is being released: there is no process to wait for.
                _ => {
                    self.enter(now, Phase::Failed);
                    self.close(effects);
                }
            },
            Shutdown::Reaping { .. } if !is_last => effects.push(Effect::SignalSurvivors(number)),
            Shutdown::Reaping { .. } => self.kill_survivors(effects),
            Shutdown::Held => self.shut(Shutdown::Reaping { survivors: Survivors::Gone, heartbeat: Withdrawal::Done }),
            Shutdown::Exited => {}
        }
    }

    /// Only an instance that was ready has to be withdrawn; TERM during the waits must not wait for Redis.
    fn withdraws(&self) -> bool {
        self.plan.heartbeat.is_some() && self.ever_ready && self.announced != Readiness::Stopped
    }

    fn withdraw(&mut self, effects: &mut Vec<Effect>) {
        self.announced = Readiness::Stopped;
        effects.push(Effect::Announce(Readiness::Stopped));
        effects.push(Effect::Arm(Timer::Withdraw, WITHDRAW_LIMIT));
    }

    pub(super) fn withdrawn(&mut self, effects: &mut Vec<Effect>) {
        match self.shutdown {
            Some(Shutdown::Withdrawing(number)) => {
                effects.push(Effect::Disarm(Timer::Withdraw));
                self.drain(number, effects);
            }
            Some(Shutdown::Reaping { survivors, .. }) => self.shut(Shutdown::Reaping { survivors, heartbeat: Withdrawal::Done }),
            _ => {}
        }
    }

    fn drain(&mut self, number: i32, effects: &mut Vec<Effect>) {
        let delay = self.main().map_or(Duration::ZERO, |main| main.drain_delay);
        if delay.is_zero() {
            self.send_stop(number, effects);
        } else {
            self.shut(Shutdown::Draining(number));
            effects.push(Effect::Arm(Timer::Drain, delay));
        }
    }

    pub(super) fn drained(&mut self, effects: &mut Vec<Effect>) {
        if let Some(Shutdown::Draining(number)) = self.shutdown {
            self.send_stop(number, effects);
        }
    }

    /// Stops the main child; modules that started after it are stopped first, for half of the time at most.
    pub(super) fn send_stop(&mut self, number: i32, effects: &mut Vec<Effect>) {
        Self::stop_watching(ProcessId::Main, effects);
        if matches!(self.state(ProcessId::Main), RunState::Stopping(_)) {
            // It is being restarted: from here on the deadline of the shutdown applies.
            Self::end_deadlines(ProcessId::Main, effects);
        }
        if self.a_module_starts_before_main() {
            self.shut(Shutdown::Preceding(number));
            effects.push(Effect::Arm(Timer::Precedence, self.stop_timeout() / 2));
        } else {
            self.stop_main(number, effects);
        }
        effects.push(Effect::Arm(Timer::Grace, self.stop_timeout()));
    }

    /// Sends the stop signal to the main child that waited for modules, if there is one.
    pub(super) fn stop_held_main(&mut self, effects: &mut Vec<Effect>) {
        if let Some(Shutdown::Preceding(number)) = self.shutdown {
            effects.push(Effect::Disarm(Timer::Precedence));
            self.stop_main(number, effects);
        }
    }

    /// Sends the stop signal to the main child, and CONT in case it is suspended: a signal to a suspended process stays pending.
    fn stop_main(&mut self, number: i32, effects: &mut Vec<Effect>) {
        self.shut(Shutdown::Stopping(ProcessId::Main));
        self.transition(ProcessId::Main, RunState::Stopping(Then::Rest));
        let stop_signal = self.main().and_then(|main| main.stop_signal);
        effects.push(stop_signal.map_or_else(|| self.forward(ProcessId::Main, number), |signal| self.send(ProcessId::Main, signal)));
        self.wake(effects);
    }

    pub(super) fn grace_over(&mut self, effects: &mut Vec<Effect>) {
        match self.shutdown {
            Some(Shutdown::Preceding(_)) => self.kill(ProcessId::Main, effects),
            Some(Shutdown::Stopping(id) | Shutdown::Killing(id)) => self.kill(id, effects),
            Some(Shutdown::Reaping { survivors: Survivors::Stopping | Survivors::Killed, .. }) => self.kill_survivors(effects),
            _ => {}
        }
    }

    /// After the first KILL only the time for reaping is left.
    pub(super) fn kill(&mut self, id: ProcessId, effects: &mut Vec<Effect>) {
        effects.push(Effect::SignalGroup(id, libc::SIGKILL));
        if self.state(id).runs() {
            // It may have waited for modules to end first.
            self.transition(id, RunState::Stopping(Then::Rest));
        }
        if id == ProcessId::Main {
            effects.push(Effect::SignalSurvivors(libc::SIGKILL));
        }
        if !matches!(self.shutdown, Some(Shutdown::Killing(_))) {
            self.shut(Shutdown::Killing(id));
            effects.push(Effect::Arm(Timer::Reap, REAP_LIMIT));
        }
    }

    fn kill_survivors(&mut self, effects: &mut Vec<Effect>) {
        effects.push(Effect::SignalSurvivors(libc::SIGKILL));
        if let Some(Shutdown::Reaping { survivors: Survivors::Stopping, heartbeat }) = self.shutdown {
            self.shut(Shutdown::Reaping { survivors: Survivors::Killed, heartbeat });
            effects.push(Effect::Arm(Timer::Reap, REAP_LIMIT));
        }
    }

    /// A process that is still there after KILL is stuck in the kernel; the end of the container ends it.
    pub(super) fn reap_over(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        match self.shutdown {
            Some(Shutdown::Killing(id)) if id.is_one_off() => self.taken_for_dead(now, id, effects),
            Some(Shutdown::Killing(_)) => self.main_stuck(now, effects),
            _ => self.none_left(),
        }
    }

    /// A command did not end after KILL: the end of the container ends it, and the shutdown continues.
    pub(super) fn taken_for_dead(&mut self, now: Moment, id: ProcessId, effects: &mut Vec<Effect>) {
        self.ended(now, id, Ended::Signal(libc::SIGKILL as u8), effects);
        self.step(now, Event::GroupGone(id), effects);
    }

    /// All processes have ended: ends their leftovers, within the deadline that already runs.
    pub(super) fn close(&mut self, effects: &mut Vec<Effect>) {
        let before = self.shutdown;
        if matches!(before, Some(Shutdown::Reaping { .. } | Shutdown::Held | Shutdown::Exited)) {
            return;
        }
        let has_deadline = before.is_some_and(Shutdown::has_deadline);
        let kills = before.is_some_and(Shutdown::kills);
        let withdraws = self.withdraws();
        let pends = withdraws || matches!(before, Some(Shutdown::Withdrawing(_)));
        let survivors = match () {
            () if !self.ever_spawned && !self.plan.asks_commands() && !self.some_module_lives() => Survivors::Gone,
            () if kills => Survivors::Killed,
            () => Survivors::Stopping,
        };
        self.shut(Shutdown::Reaping { survivors, heartbeat: if pends { Withdrawal::Pending } else { Withdrawal::Done } });
        self.transition(ProcessId::Main, RunState::Idle);
        let own = [ProcessTimer::Limit, ProcessTimer::Restart].map(|timer| Timer::Process(ProcessId::Main, timer));
        effects.extend(own.into_iter().chain([Timer::Drain, Timer::Precedence]).map(Effect::Disarm));
        if withdraws {
            self.withdraw(effects);
        }
        match survivors {
            Survivors::Gone => {}
            Survivors::Killed => {
                effects.push(Effect::SignalSurvivors(libc::SIGKILL));
                if !has_deadline {
                    effects.push(Effect::Arm(Timer::Reap, REAP_LIMIT));
                }
            }
            Survivors::Stopping => {
                if !has_deadline {
                    // A long `stop_timeout` is for the process' own work; leftovers of a crash must not delay a restart for so long.
                    effects.push(Effect::Arm(Timer::Grace, self.stop_timeout().min(ProcessPlan::STOP_TIMEOUT)));
                }
                effects.push(Effect::SignalSurvivors(libc::SIGTERM));
            }
        }
    }

    pub(super) fn none_left(&mut self) {
        if let Some(Shutdown::Reaping { heartbeat, .. }) = self.shutdown {
            self.shut(Shutdown::Reaping { survivors: Survivors::Gone, heartbeat });
        }
    }

    pub(super) fn maybe_exit(&mut self, effects: &mut Vec<Effect>) {
        let is_over = self.shutdown == Some(Shutdown::Reaping { survivors: Survivors::Gone, heartbeat: Withdrawal::Done });
        let Some(code) = self.ending.as_ref().map(|ending| ending.code).filter(|_| is_over) else { return };
        if self.plan.hold && self.snapshot.phase == Phase::Failed && self.requests.count == 0 {
            self.shut(Shutdown::Held);
            effects.push(Effect::Hold);
        } else {
            self.shut(Shutdown::Exited);
            effects.push(Effect::Exit(code));
        }
    }
}
