//! The one place where the state of a run changes: a pure function of what was, what happened and when.
//!
//! ```text
//! init -> waiting -> migrating -> starting -> running -> draining -> stopped
//!            \___________\____________\_________________________-> failed
//! ```
//!
//! Leaving has its own order, in one deadline: not ready, heartbeat withdrawn, drain delay, stop signal to the main child,
//! grace, TERM to what it left behind, KILL, exit with the main child's status.

mod beating;
mod blame;
mod forwarding;
mod leaving;
mod migrating;
mod modules;
mod notified;
mod restarting;
mod stages;
mod starting;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::check::{Check, Verdict};
use super::event::{CheckId, Effect, Event, LockNews, Notice, ProcessId, Readiness, Timer};
use super::snapshot::{APP, Child, Heartbeat, Level, Look, Migration, MigrationLock, MigrationStep, Phase, Snapshot, Stage, Step};
use crate::clock::Moment;
use crate::exit::{Ended, Exit};
use crate::outcome::{Class, Outcome, Why};
use crate::plan::module::ModuleStart;
use crate::plan::process::StartSign;
use crate::plan::{Affects, ModuleId, Plan, ProcessPlan};
use leaving::Leaving;
use migrating::Migrating;
use modules::Course;
use restarting::Restarting;

/// Why a run ends, decided once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The exit code.
    pub code: u8,
    /// One sentence for the last line.
    pub sentence: String,
    /// Whether it is the end that was asked for: 0, or the code that a stop by TERM or INT gives (128 and the signal's number).
    pub as_asked: bool,
}

/// A run's state and the rules by which it changes.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    plan: Arc<Plan>,
    snapshot: Snapshot,
    ending: Option<Ending>,
    leaving: Option<Leaving>,
    /// Whether there is a main child that does not execute its program yet.
    main_forked: bool,
    migration_runs: bool,
    migrating: Migrating,
    releasing: bool,
    stop_requests: u32,
    /// When the first of them came.
    stop_since: Option<Moment>,
    /// The signal of the last one, and when it came.
    last_stop: Option<(i32, Moment)>,
    killed: bool,
    announced: Readiness,
    ever_ready: bool,
    ever_spawned: bool,
    last_startup: Why,
    restarting: Option<Restarting>,
    restarts_in_a_row: u32,
    /// Whose death, the next one of its, was for want of memory.
    out_of_memory: Option<ProcessId>,
    stopped: bool,
    suspended: bool,
    held: bool,
    exited: bool,
    modules_begun: bool,
    courses: BTreeMap<ModuleId, Course>,
    /// Whether we are PID 1, whom signals reach that nobody else would be sent.
    is_init: bool,
    /// The signal that the main child is asked to stop by, once the modules that started after it are gone.
    held_stop: Option<i32>,
}

impl Lifecycle {
    /// A run of `plan` that has not begun.
    pub fn new(plan: Arc<Plan>, now: Moment) -> Self {
        let stage = |name: String| Stage { name, step: Step::Unknown, counts: true, began: None, ended: None };
        let mut stages: Vec<Stage> = plan.awaited().map(|(_, check)| stage(format!("wait:{}", check.name))).collect();
        let own = plan.checks.iter().enumerate().filter(|(id, _)| !plan.is_of_module(*id));
        let mut checks: Vec<Check> = own.map(|(id, check)| Check { id: Some(id), ..Check::new(check) }).collect();
        if plan.migration.is_some() {
            stages.push(stage("migrate".to_owned()));
        }
        if let Some(main) = &plan.main {
            stages.push(stage(format!("spawn:{APP}")));
            if main.started.is_some() {
                stages.push(stage(format!("started:{APP}")));
            }
            let with_main = plan.modules.iter().filter(|module| module.start == ModuleStart::WithMain);
            stages.extend(with_main.map(Self::module_stage));
            checks.push(Check::event(APP, "process", Affects::Readiness));
        }
        checks.extend(plan.heartbeat.as_ref().filter(|heartbeat| heartbeat.required).map(beating::check));
        let snapshot = Snapshot {
            sequence: 0,
            started_at: now,
            service: plan.service.clone(),
            phase: Phase::Init,
            phase_since: now,
            started: false,
            start_over: None,
            stages,
            checks,
            child: Child::default(),
            heartbeat: Heartbeat { configured: plan.heartbeat.is_some(), ..Heartbeat::default() },
            migration: Migration::Idle,
            migration_lock: MigrationLock { kind: plan.migration.as_ref().and_then(|plan| plan.lock.word()), ..MigrationLock::default() },
            modules: plan.modules.iter().map(|module| Self::module_at_rest(module, now)).collect(),
            reloads: 0,
            reloads_refused: 0,
            instances: None,
        };
        Self {
            plan,
            snapshot,
            ending: None,
            leaving: None,
            main_forked: false,
            migration_runs: false,
            migrating: Migrating::default(),
            releasing: false,
            stop_requests: 0,
            stop_since: None,
            last_stop: None,
            killed: false,
            announced: Readiness::Unknown,
            ever_ready: false,
            ever_spawned: false,
            last_startup: Class::Never.into(),
            restarting: None,
            restarts_in_a_row: 0,
            out_of_memory: None,
            stopped: false,
            suspended: false,
            held: false,
            exited: false,
            modules_begun: false,
            courses: BTreeMap::new(),
            is_init: false,
            held_stop: None,
        }
    }

    /// The same run as PID 1.
    #[must_use]
    pub const fn as_init(mut self, is_init: bool) -> Self {
        self.is_init = is_init;
        self
    }

    /// The orders that hold now.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What is known now.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Why the run ends, once that is decided.
    pub const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// When the stop was asked for.
    pub const fn stop_since(&self) -> Option<Moment> {
        self.stop_since
    }

    /// Takes one event in and says what has to be done, in this order. Nothing follows an [`Effect::Exit`].
    pub fn apply(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.exited {
            return effects;
        }
        self.step(now, event, &mut effects);
        self.forget_retired();
        self.advance_modules(now, &mut effects);
        self.leave_modules(now, &mut effects);
        self.announce(now, &mut effects);
        self.note_start_over(now);
        self.maybe_exit(&mut effects);
        self.snapshot.sequence += 1;
        effects
    }

    fn step(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        let Some(event) = self.held_back(event) else { return };
        match event {
            Event::Begin => self.begin(now, effects),
            Event::Probed(id, outcome) => self.probed(now, id, outcome, effects),
            Event::Recalled(id, at, outcome) => self.recalled(now, id, at, outcome, effects),
            Event::StartupProbed(outcome) => self.startup_probed(now, &outcome, effects),
            Event::Lock(news) => self.lock(now, news, effects),
            Event::Forked(id) => self.forked(id, effects),
            Event::Spawned(id, pid) => self.spawned(now, id, pid, effects),
            Event::SpawnFailed(id, code, why) => self.spawn_failed(now, id, code, why, effects),
            Event::Exited(ProcessId::Main, ended) => self.main_ended(now, ended, effects),
            Event::Exited(ProcessId::Migration, ended) => self.migration_ended(now, ended, effects),
            Event::GroupGone(ProcessId::Migration) => self.task_over(now, effects),
            Event::GroupGone(ProcessId::Main) | Event::Stopped(ProcessId::Module(_), _) => {}
            Event::Stopped(id, number) => self.was_stopped(id, number, effects),
            Event::OutOfMemory(id) => self.out_of_memory = Some(id),
            Event::Notified(notice) => self.notified(now, notice, effects),
            Event::Exited(ProcessId::Module(id), ended) => self.module_ended(now, id, ended, effects),
            Event::GroupGone(ProcessId::Module(id)) => self.module_group_gone(now, id, effects),
            Event::ModuleProbed(id, outcome) => self.module_probed(now, id, &outcome, effects),
            Event::ModuleNotified(id, notice) => self.module_notified(now, id, notice, effects),
            Event::Asked(order) => self.asked(now, order, effects),
            Event::Reloaded(plan) => self.reloaded(now, &plan, effects),
            Event::NoneLeft => self.none_left(),
            Event::Signalled(number) => self.signalled(now, number, effects),
            Event::Beaten(result) => self.beaten(now, result),
            Event::Counted(instances) => self.snapshot.instances = Some(instances),
            Event::Withdrawn => self.withdrawn(effects),
            Event::Elapsed(timer) => self.elapsed(now, timer, effects),
            Event::Away(lost) => self.was_away(now, lost, effects),
        }
    }

    fn elapsed(&mut self, now: Moment, timer: Timer, effects: &mut Vec<Effect>) {
        match timer {
            Timer::Wait(id) => {
                let waiting =
                    self.plan.checks.get(id).is_some_and(|plan| self.step_of(&format!("wait:{}", plan.name)) == Some(Step::Unknown));
                if (waiting && self.snapshot.phase == Phase::Waiting) || self.asks_again(id) {
                    self.wait_failed(now, id, effects);
                }
            }
            Timer::Startup => self.startup_failed(now, effects),
            Timer::Migration => self.migration_limit(now, effects),
            Timer::Retry => self.retry_migration(now, effects),
            Timer::Release if self.releasing => self.lock_released(now, effects),
            Timer::Confirm => self.lock_unconfirmed(now, effects),
            Timer::Schema => self.schema_overdue(),
            Timer::Grace | Timer::Overlap if self.migration_runs || self.leaves_behind() => self.kill_migration(effects),
            Timer::Withdraw => self.withdrawn(effects),
            Timer::Drain => self.drained(effects),
            Timer::Grace => self.grace_over(effects),
            Timer::Reap => self.reap_over(now, effects),
            Timer::Restart => self.pause_over(now, effects),
            // ABRT, as systemd's WatchdogSignal, so that a core or a traceback tells where it hangs.
            Timer::Watchdog if self.snapshot.child.pid.is_some() => {
                effects.push(Effect::Signal(ProcessId::Main, libc::SIGABRT));
                effects.push(Effect::Arm(Timer::WatchdogKill, self.stop_timeout()));
            }
            Timer::WatchdogKill if self.snapshot.child.pid.is_some() => {
                effects.push(Effect::SignalGroup(ProcessId::Main, libc::SIGKILL));
            }
            Timer::Precedence => self.ask_held_main(effects),
            Timer::Module(id, timer) => self.module_elapsed(now, id, timer, effects),
            Timer::Release | Timer::Overlap | Timer::Watchdog | Timer::WatchdogKill => {}
        }
    }

    fn enter(&mut self, now: Moment, phase: Phase) {
        self.snapshot.phase = phase;
        self.snapshot.phase_since = now;
    }

    fn main(&self) -> Option<&ProcessPlan> {
        self.plan.main.as_ref()
    }

    fn stop_timeout(&self) -> Duration {
        self.main().map_or(ProcessPlan::STOP_TIMEOUT, |main| main.stop_timeout)
    }

    fn feed_app(&mut self, now: Moment, outcome: Outcome) {
        if let Some(check) = self.snapshot.checks.iter_mut().find(|check| check.name == APP) {
            check.feed(now, outcome);
        }
    }
}
