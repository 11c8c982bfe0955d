//! The only place where the state of a run changes: a pure function of the old state, an event and the time.
//!
//! ```text
//! init -> waiting -> migrating -> starting -> running -> draining -> stopped
//!            \___________\____________\_________________________-> failed
//! ```
//!
//! The shutdown has a fixed order within one deadline: not ready, heartbeat withdrawn, drain delay, stop signal to the main child, grace
//! period, TERM to its leftovers, KILL, exit with the main child's status.

mod beating;
mod checks;
mod deadlines;
mod ending;
mod healing;
mod migrating;
mod modules;
mod processes;
mod signals;
mod stages;
mod starting;
mod stepping;
mod stopping;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::check::{Check, Verdict};
use super::copy_on_write::CopyOnWrite;
use super::event::{CheckId, Effect, Event, LockNews, Notice, ProcessId, ProcessTimer, Readiness, Timer, Watch};
use super::process::{Process, RunState, StopRules, Then};
use super::shutdown::{Shutdown, StopRequests};
use super::snapshot::{APP, Child, Heartbeat, Migration, MigrationLock, MigrationStep, Phase, Snapshot, StageState};
use super::start::{Progress, StartSequence, StartStage};
use super::transition::{Machine, Transition};
use crate::clock::Moment;
use crate::exit::{Ended, Exit};
use crate::outcome::{ErrorKind, Outcome};
use crate::plan::process::StartSign;
use crate::plan::{Affects, Plan, ProcessPlan};
use migrating::Migrating;
use signals::Job;
use stepping::Stepping;

/// Why a run ends, decided once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The exit code.
    pub code: u8,
    /// One sentence for the last line.
    pub sentence: String,
    /// Whether the run ended as requested: with 0, or with the code of a stop by TERM or INT (128 plus the signal's number).
    pub as_requested: bool,
}

/// A run's state and the rules by which it changes.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    plan: Arc<Plan>,
    snapshot: Snapshot,
    start: StartSequence,
    processes: BTreeMap<ProcessId, Process>,
    migrating: Migrating,
    stepping: Stepping,
    shutdown: Option<Shutdown>,
    requests: StopRequests,
    ending: Option<Ending>,
    announced: Readiness,
    /// For how long the restart lease was requested; none if it was not, or has been released.
    leased: Option<Duration>,
    ever_ready: bool,
    ever_spawned: bool,
    /// The process whose next end is an out-of-memory kill.
    out_of_memory: Option<ProcessId>,
    job: Job,
    /// Whether we are PID 1, which gets some signals that other processes do not get.
    is_init: bool,
    /// The transitions of the last event.
    transitions: Vec<Transition>,
}

impl Lifecycle {
    /// A run of `plan` that has not begun yet.
    pub fn new(plan: Arc<Plan>, now: Moment) -> Self {
        let stages = Self::stages(&plan);
        let own = plan.checks.iter().enumerate().filter(|(id, _)| !plan.is_of_module(*id));
        let mut checks: Vec<CopyOnWrite<Check>> = own.map(|(id, check)| Check { id: Some(id), ..Check::new(check) }.into()).collect();
        if plan.main.is_some() {
            checks.push(Check::event(APP, "process", Affects::Readiness).into());
        }
        checks.extend(plan.heartbeat.as_ref().filter(|heartbeat| heartbeat.required).map(beating::check).map(CopyOnWrite::from));
        let snapshot = Snapshot {
            stages: stages.into(),
            checks: checks.into(),
            heartbeat: Heartbeat { configured: plan.heartbeat.is_some(), ..Heartbeat::default() },
            migration_lock: MigrationLock { kind: plan.migration.as_ref().and_then(|plan| plan.lock.word()), ..MigrationLock::default() },
            modules: plan.modules.iter().map(|module| Self::module_at_rest(module, now)).collect(),
            ..Snapshot::new(plan.service.clone(), now)
        };
        Self {
            plan,
            snapshot,
            start: StartSequence::default(),
            processes: BTreeMap::new(),
            migrating: Migrating::default(),
            stepping: Stepping::default(),
            shutdown: None,
            requests: StopRequests::default(),
            ending: None,
            announced: Readiness::Unknown,
            leased: None,
            ever_ready: false,
            ever_spawned: false,
            out_of_memory: None,
            job: Job::default(),
            is_init: false,
            transitions: Vec::new(),
        }
    }

    /// The same run as PID 1.
    #[must_use]
    pub const fn as_init(mut self, is_init: bool) -> Self {
        self.is_init = is_init;
        self
    }

    /// The current plan.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The current snapshot.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Why the run ends, once that is decided.
    pub const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// When the stop was requested.
    pub const fn stop_since(&self) -> Option<Moment> {
        self.requests.since
    }

    /// The transitions of the last event, in order.
    pub fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// Applies one event and returns the effects, in order. Nothing follows an [`Effect::Exit`].
    pub fn apply(&mut self, now: Moment, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.transitions.clear();
        if self.shutdown == Some(Shutdown::Exited) {
            return effects;
        }
        self.step(now, event, &mut effects);
        self.apply_held_back(now, &mut effects);
        self.forget_retired();
        self.spawn_in_turn(now, &mut effects);
        self.stop_in_turn(now, &mut effects);
        self.stop_step(now, &mut effects);
        self.announce(now, &mut effects);
        #[cfg(test)]
        self.is_as_assessed(now);
        self.settle_healing(&mut effects);
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
            Event::Recalled(id, at, outcome) => self.recalled(id, at, outcome, effects),
            Event::StartupProbed(id, outcome) => self.startup_probed(now, id, &outcome, effects),
            Event::Lock(news) => self.lock(now, news, effects),
            Event::Forked(id) => self.forked(id, effects),
            Event::Spawned(id, pid) => self.spawned(now, id, pid, effects),
            Event::SpawnFailed(id, code, why) => self.spawn_failed(now, id, code, why, effects),
            Event::Exited(id, ended) => self.ended(now, id, ended, effects),
            Event::GroupGone(id) => self.group_gone(now, id, effects),
            Event::Prepared(id, news) => self.prepared(now, id, news, effects),
            Event::Stopped(id, number) => self.was_stopped(id, number, effects),
            Event::OutOfMemory(id) => self.out_of_memory = Some(id),
            Event::Notified(id, notice) => self.notified(now, id, notice, effects),
            Event::Ordered(order) => self.take_order(now, order, effects),
            Event::Reloaded(plan) => self.reloaded(now, &plan, effects),
            Event::NoneLeft => self.none_left(),
            Event::Signalled(number) => self.signalled(now, number, effects),
            Event::Beaten(result) => self.beaten(now, result),
            Event::Counted(instances) => self.snapshot.instances = Some(instances),
            Event::Withdrawn => self.withdrawn(effects),
            Event::RestartGranted => self.restart_granted(now, effects),
            Event::Elapsed(timer) => self.elapsed(now, timer, effects),
            Event::Away(lost) => self.was_away(now, lost, effects),
        }
    }

    fn elapsed(&mut self, now: Moment, timer: Timer, effects: &mut Vec<Effect>) {
        match timer {
            Timer::Process(id, timer) => self.process_elapsed(now, id, timer, effects),
            Timer::Wait(id) => self.wait_over(now, id, effects),
            Timer::Release => self.lock_released(now, effects),
            Timer::Confirm => self.lock_unconfirmed(now, effects),
            Timer::Schema => self.migrating.overdue = true,
            Timer::Withdraw => self.withdrawn(effects),
            Timer::Drain => self.drained(effects),
            Timer::Precedence => self.stop_held_main(effects),
            Timer::Grace | Timer::Overlap => self.grace_over(effects),
            Timer::Reap => self.reap_over(now, effects),
        }
    }

    fn enter(&mut self, now: Moment, phase: Phase) {
        if phase == Phase::Failed {
            self.open_stages_failed(now);
        }
        self.snapshot.phase = phase;
        self.snapshot.phase_since = now;
    }

    fn main(&self) -> Option<&ProcessPlan> {
        self.plan.main.as_ref()
    }

    fn stop_timeout(&self) -> Duration {
        self.main().map_or(ProcessPlan::STOP_TIMEOUT, |main| main.stop_timeout)
    }

    fn state(&self, id: ProcessId) -> &RunState {
        self.processes.get(&id).map_or(&RunState::Idle, |process| &process.state)
    }

    fn process(&mut self, id: ProcessId) -> &mut Process {
        self.processes.entry(id).or_default()
    }

    /// The only place where the state of a process changes.
    fn transition(&mut self, id: ProcessId, to: RunState) {
        let from = self.state(id).word();
        self.note(Machine::Process(id), from, to.word());
        self.process(id).state = to;
    }

    /// The only place where the state of the shutdown changes.
    fn shut(&mut self, to: Shutdown) {
        self.note(Machine::Shutdown, self.shutdown.map_or("none", Shutdown::word), to.word());
        self.shutdown = Some(to);
        self.snapshot.shutdown = Some(to);
    }

    fn note(&mut self, machine: Machine, from: &'static str, to: &'static str) {
        if from != to {
            self.transitions.push(Transition { machine, from, to });
        }
    }
}
