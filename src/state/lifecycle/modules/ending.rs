//! How a module ends: asked to, by itself, or because its start took too long; started again or not, and what that means for the whole.

use super::{At, Class, Duration, Effect, Ended, Exit, Lifecycle, ModuleId, ModuleState, ModuleTimer, Moment, Outcome, ProcessId, Step};
use super::{Stopping, Timer, Watch, stage_name};
use crate::plan::ModulePlan;
use crate::plan::module::OnExit;
use crate::state::lifecycle::blame::why_not_again;
use crate::state::lifecycle::leaving::REAP_LIMIT;
use crate::state::lifecycle::notified::{not_executed, not_through};
use crate::state::lifecycle::restarting::{next_pause, refusal};

impl Lifecycle {
    pub(in crate::state::lifecycle) fn module_elapsed(&mut self, now: Moment, id: ModuleId, timer: ModuleTimer, effects: &mut Vec<Effect>) {
        let at = self.at(id);
        match timer {
            ModuleTimer::Startup if at == At::Starting => self.module_took_too_long(now, id, effects),
            ModuleTimer::Grace if matches!(at, At::Stopping | At::Clearing) => {
                effects.push(Effect::SignalGroup(ProcessId::Module(id), libc::SIGKILL));
                effects.push(Effect::Arm(Timer::Module(id, ModuleTimer::Reap), REAP_LIMIT));
            }
            // What is still there after KILL is stuck in the kernel, and would be in the way of another one.
            ModuleTimer::Reap if at == At::Stopping => {
                if let Some(module) = self.module_mut(id) {
                    module.child.pid = None;
                    module.trouble = Some("it did not end after KILL".to_owned());
                }
                (self.course(id).at, self.course(id).forked) = (At::Rest, false);
                self.module_enters(now, id, ModuleState::Broken);
            }
            ModuleTimer::Reap if at == At::Clearing => self.module_group_gone(now, id, effects),
            ModuleTimer::Restart if at == At::Pausing => {
                effects.push(Effect::SignalGroup(ProcessId::Module(id), libc::SIGKILL));
                self.course(id).at = At::Awaiting;
            }
            ModuleTimer::Watchdog if at == At::Up => {
                effects.push(Effect::Signal(ProcessId::Module(id), libc::SIGABRT));
                effects.push(Effect::Arm(Timer::Module(id, ModuleTimer::WatchdogKill), self.course(id).stopping.timeout));
            }
            ModuleTimer::WatchdogKill if at == At::Up => effects.push(Effect::SignalGroup(ProcessId::Module(id), libc::SIGKILL)),
            _ => {}
        }
    }

    fn module_took_too_long(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plan.module(id).cloned() else { return };
        let last = self.course(id).last_startup.unwrap_or(Class::Never.into());
        let why = match plan.process.started.as_ref() {
            started if self.module_is_forked(id) => not_executed(started),
            Some(started) => not_through(started, last),
            None => return,
        };
        let why = format!("its {why}");
        self.course(id).failed = Some(Exit::Unavailable.code());
        self.stop_module(now, id, effects);
        self.start_failed(now, &plan, why);
    }

    /// Says that a start has failed; what was up once stays so for the start, and is down for the running.
    fn start_failed(&mut self, now: Moment, plan: &ModulePlan, why: String) {
        if let Some(module) = self.module_mut(plan.id) {
            module.trouble = Some(why);
        }
        if !self.course(plan.id).was_up {
            self.stage_ended(now, &stage_name(&plan.name), Step::Down);
        }
        self.module_enters(now, plan.id, ModuleState::Broken);
        self.module_is_down(now, plan);
    }

    /// Where its end means nothing, nothing counts that could be down.
    fn module_is_down(&mut self, now: Moment, plan: &ModulePlan) {
        if plan.on_exit == OnExit::Ignore {
            self.snapshot.checks.retain(|check| check.module != Some(plan.id));
        } else {
            self.feed_module(now, plan.id, Outcome::failed(Class::Exited, "", Duration::ZERO));
        }
    }

    /// Asks a module to end, and wakes it should it be stopped: a signal to a stopped process stays pending.
    pub(super) fn stop_module(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        self.course(id).at = At::Stopping;
        self.module_enters(now, id, ModuleState::Stopping);
        self.stop_asking(id, effects);
        let (process, Stopping { signal, group, timeout }) = (ProcessId::Module(id), self.course(id).stopping);
        let send = |number| if group { Effect::SignalGroup(process, number) } else { Effect::Signal(process, number) };
        effects.extend([signal, libc::SIGCONT].map(send));
        effects.push(Effect::Arm(Timer::Module(id, ModuleTimer::Grace), timeout));
    }

    fn stop_asking(&mut self, id: ModuleId, effects: &mut Vec<Effect>) {
        self.snapshot.checks.retain(|check| check.module != Some(id) || check.id.is_none());
        effects.push(Effect::Watch(id, Watch::Nothing));
        for timer in [ModuleTimer::Startup, ModuleTimer::Watchdog, ModuleTimer::WatchdogKill] {
            effects.push(Effect::Disarm(Timer::Module(id, timer)));
        }
    }

    pub(in crate::state::lifecycle) fn module_ended(&mut self, now: Moment, id: ModuleId, ended: Ended, effects: &mut Vec<Effect>) {
        let at = self.at(id);
        let Some(plan) = self.plan.module(id).cloned().filter(|_| at.lives() && at != At::Spawning) else { return };
        if let Some(module) = self.module_mut(id) {
            (module.child.pid, module.child.last_exit) = (None, Some(ended));
        }
        self.course(id).forked = false;
        let for_memory = self.of_memory(ProcessId::Module(id));
        let ran = self.module_ran(now, id);
        self.stop_asking(id, effects);
        if self.leaving.is_some() {
            self.module_left(now, id, effects);
            return;
        }
        let failed = self.course(id).failed;
        if at == At::Stopping && failed.is_none() {
            self.clear(id, false, effects);
            return;
        }
        if failed.is_none() {
            let not_again = why_not_again(&plan.process.restart, self.course(id).in_a_row, ran, ended);
            self.start_failed(now, &plan, format!("it ended with {ended}{for_memory}{not_again}"));
        }
        let code = failed.unwrap_or_else(|| ended.exit_code());
        // A start that failed has failed, whatever status its process ends with when it is asked to.
        let counted = if failed.is_some() { Ended::Code(code) } else { ended };
        if refusal(&plan.process.restart, self.course(id).in_a_row, ran, counted).is_none() {
            for timer in [ModuleTimer::Grace, ModuleTimer::Reap] {
                effects.push(Effect::Disarm(Timer::Module(id, timer)));
            }
            effects.push(Effect::SignalGroup(ProcessId::Module(id), libc::SIGTERM));
            self.start_after_pause(&plan, ran, effects);
        } else {
            self.clear(id, at != At::Stopping, effects);
            self.ended_for_good(now, &plan, code, effects);
        }
    }

    pub(in crate::state::lifecycle) fn module_spawn_failed(
        &mut self,
        now: Moment,
        id: ModuleId,
        code: u8,
        why: String,
        effects: &mut Vec<Effect>,
    ) {
        let Some(plan) = self.plan.module(id).cloned() else { return };
        self.start_failed(now, &plan, why);
        self.course(id).at = At::Rest;
        if std::mem::take(&mut self.course(id).forked) {
            effects.push(Effect::Disarm(Timer::Module(id, ModuleTimer::Startup)));
        }
        if self.leaving.is_some() {
            self.module_left(now, id, effects);
        } else if code == Exit::Internal.code()
            && refusal(&plan.process.restart, self.course(id).in_a_row, None, Ended::Code(code)).is_none()
        {
            // A full process table may have room in a while; a missing program will not appear.
            self.start_after_pause(&plan, None, effects);
        } else {
            self.ended_for_good(now, &plan, code, effects);
        }
    }

    /// How long the module's process was up; none where it is not.
    fn module_ran(&mut self, now: Moment, id: ModuleId) -> Option<Duration> {
        let course = self.course(id);
        (course.at == At::Up).then(|| now.since(course.up_since))
    }

    fn start_after_pause(&mut self, plan: &ModulePlan, ran: Option<Duration>, effects: &mut Vec<Effect>) {
        let course = self.course(plan.id);
        let length = next_pause(&plan.process.restart, ran, &mut course.in_a_row);
        course.at = At::Pausing;
        if let Some(module) = self.module_mut(plan.id) {
            module.child.restarts += 1;
        }
        effects.push(Effect::Arm(Timer::Module(plan.id, ModuleTimer::Restart), length));
    }

    /// Sees off what the process left in its group; `anew` where no deadline runs yet.
    pub(super) fn clear(&mut self, id: ModuleId, anew: bool, effects: &mut Vec<Effect>) {
        self.course(id).at = At::Clearing;
        effects.push(Effect::SignalGroup(ProcessId::Module(id), libc::SIGTERM));
        if anew {
            effects.push(Effect::Arm(Timer::Module(id, ModuleTimer::Grace), self.course(id).stopping.timeout));
        }
        effects.push(Effect::AwaitGroup(ProcessId::Module(id)));
    }

    pub(in crate::state::lifecycle) fn module_group_gone(&mut self, now: Moment, id: ModuleId, effects: &mut Vec<Effect>) {
        if self.at(id) != At::Clearing {
            return;
        }
        for timer in [ModuleTimer::Grace, ModuleTimer::Reap] {
            effects.push(Effect::Disarm(Timer::Module(id, timer)));
        }
        self.course(id).at = At::Rest;
        if self.course(id).again {
            self.install(now, id);
        } else if self.snapshot.modules.iter().any(|module| module.id == id && module.state == ModuleState::Stopping) {
            self.module_enters(now, id, ModuleState::Deactivated);
        }
    }

    fn ended_for_good(&mut self, now: Moment, plan: &ModulePlan, code: u8, effects: &mut Vec<Effect>) {
        match plan.on_exit {
            OnExit::Ignore if code == 0 => self.module_enters(now, plan.id, ModuleState::Deactivated),
            OnExit::Ignore | OnExit::Degrade => {}
            OnExit::StopAll => {
                let trouble = self.snapshot.modules.iter().find(|module| module.id == plan.id).and_then(|module| module.trouble.clone());
                let why = trouble.unwrap_or_default();
                self.decide(code, format!("module {} stops everything: {why}", plan.name));
                self.leave(now, libc::SIGTERM, effects);
            }
        }
    }
}
