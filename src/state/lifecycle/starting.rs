//! Runs the stages of the start, and handles start, failure and end of the main process.

use super::{APP, CheckId, Duration, Effect, Ended, ErrorKind, Exit, Lifecycle, Machine, Moment, Outcome, Phase, ProcessId};
use super::{Progress, RunState, Shutdown, StageState, StartStage, Then, Timer, Watch};
use crate::exit::signal_code;
use crate::plan::StepAt;
use crate::state::process::refusal;
use std::collections::BTreeSet;

impl Lifecycle {
    pub(super) fn begin(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.shutdown.is_none() && !self.start.has_begun() {
            self.walk_start(now, effects);
        }
    }

    /// Begins one stage after another, until one is not done at once.
    fn walk_start(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        loop {
            let from = self.start.word();
            let stage = self.start.advance();
            self.note(Machine::Start, from, self.start.word());
            let progress = match stage {
                Some(StartStage::Files) => self.begin_steps(now, StepAt::Files, effects),
                Some(StartStage::First) => self.begin_steps(now, StepAt::First, effects),
                Some(StartStage::FirstModules) => self.begin_first_modules(now),
                Some(StartStage::Waits) => self.begin_waits(now, effects),
                Some(StartStage::Ready) => self.begin_steps(now, StepAt::Ready, effects),
                Some(StartStage::Migration) => self.begin_migration(now, effects),
                Some(StartStage::Migrated) => self.begin_steps(now, StepAt::Migrated, effects),
                Some(StartStage::Modules) => self.begin_modules(now),
                Some(StartStage::Process) => self.begin_process(now, effects),
                Some(StartStage::Up) => self.begin_steps(now, StepAt::Up, effects),
                None => return,
            };
            if progress == Progress::Pending {
                return;
            }
        }
    }

    /// Continues the start if this is its current stage.
    pub(super) fn stage_is_over(&mut self, now: Moment, stage: StartStage, effects: &mut Vec<Effect>) {
        if self.start.stage() == Some(stage) {
            self.walk_start(now, effects);
        }
    }

    fn begin_process(&mut self, now: Moment, effects: &mut Vec<Effect>) -> Progress {
        if self.plan.main.is_some() {
            self.enter(now, Phase::Starting);
            self.stage_began(now, &format!("spawn:{APP}"));
            self.transition(ProcessId::Main, RunState::Waiting(BTreeSet::new()));
        } else if let Some(refusal) = self.plan.refusal.clone() {
            self.fail(now, refusal.code, refusal.message, effects);
        } else {
            let done = if self.plan.migration.is_some() { "the migration is done and" } else { "everything is ready and" };
            self.decide(Exit::Success.code(), format!("{done} this mode starts no process"));
            self.enter(now, Phase::Stopped);
            self.close(effects);
        }
        Progress::Pending
    }

    /// Spawns every process whose turn it is, modules before the main process. Derived from the state after each event, so that no change
    /// is missed.
    pub(super) fn spawn_in_turn(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        // The end may be decided before the shutdown begins, because the migration lock is released first.
        if self.shutdown.is_some() || self.ending.is_some() {
            return;
        }
        self.first_modules_up(now, effects);
        self.spawn_modules(now, effects);
        let waits = matches!(self.state(ProcessId::Main), RunState::Waiting(unanswered) if unanswered.is_empty());
        if waits && !self.plan.after.iter().any(|id| self.is_awaited(*id)) {
            self.enter(now, Phase::Starting);
            self.spawn(ProcessId::Main, Effect::Spawn(ProcessId::Main), effects);
        }
    }

    /// A restarted process waits for its predecessors; the main process also waits for the dependencies again.
    pub(super) fn wait_again(&mut self, id: ProcessId, effects: &mut Vec<Effect>) {
        let mut unanswered: BTreeSet<CheckId> = BTreeSet::new();
        if id == ProcessId::Main {
            for (check, plan) in self.plan.awaited() {
                unanswered.insert(check);
                effects.push(Effect::Arm(Timer::Wait(check), plan.wait));
            }
        }
        if !unanswered.is_empty() {
            effects.push(Effect::ProbeNow);
        }
        self.transition(id, RunState::Waiting(unanswered));
    }

    pub(super) fn main_executes(&mut self, now: Moment) {
        self.stage_ended(now, &format!("spawn:{APP}"), StageState::Up);
        self.feed(now, ProcessId::Main, Outcome::passed(Duration::ZERO));
        self.stage_began(now, &format!("started:{APP}"));
    }

    pub(super) fn main_up(&mut self, now: Moment, is_checked: bool, effects: &mut Vec<Effect>) {
        if is_checked {
            self.stage_ended(now, &format!("started:{APP}"), StageState::Up);
            effects.push(Effect::Watch(ProcessId::Main, Watch::Nothing));
        }
        self.enter(now, Phase::Running);
        self.snapshot.started = true;
        if !self.plan.own_command {
            effects.push(Effect::ProbeAll);
        }
        self.stage_is_over(now, StartStage::Process, effects);
    }

    pub(super) fn main_start_failed(&mut self, now: Moment, stage: &str, why: &str, effects: &mut Vec<Effect>) {
        self.decide(Exit::Unavailable.code(), format!("the {why}"));
        self.stage_ended(now, &format!("{stage}:{APP}"), StageState::Down);
        self.enter(now, Phase::Failed);
        self.send_stop(libc::SIGTERM, effects);
    }

    pub(super) fn main_spawn_failed(&mut self, now: Moment, code: u8, why: String, effects: &mut Vec<Effect>) {
        self.stage_ended(now, &format!("spawn:{APP}"), StageState::Down);
        self.feed(now, ProcessId::Main, Outcome::failed(ErrorKind::Exited, "", Duration::ZERO));
        self.fail(now, code, why, effects);
    }

    /// Its end ends the run, unless it is restarted.
    pub(super) fn main_ended(&mut self, now: Moment, ended: Ended, ran: Option<Duration>, for_memory: &str, effects: &mut Vec<Effect>) {
        self.feed(now, ProcessId::Main, Outcome::failed(ErrorKind::Exited, "", Duration::ZERO));
        Self::stop_watching(ProcessId::Main, effects);
        let in_a_row = self.process(ProcessId::Main).in_a_row;
        let heals = matches!(self.state(ProcessId::Main), RunState::Stopping(Then::Restart(_)));
        let again = heals || self.main().is_some_and(|main| refusal(&main.restart, in_a_row, ran, ended).is_none());
        if again && self.shutdown.is_none() {
            self.back_off(now, ProcessId::Main, ran, effects);
            return;
        }
        self.decide_by(ended, ran, for_memory);
        self.transition(ProcessId::Main, RunState::Idle);
        let failed = self.snapshot.phase == Phase::Starting && ended != Ended::Code(0);
        self.enter_end(now, if failed { Phase::Failed } else { Phase::Stopped });
        self.close(effects);
    }

    /// It did not end after KILL; the end of the container ends it.
    pub(super) fn main_stuck(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.decide(signal_code(libc::SIGKILL as u8), "the process did not end after KILL".to_owned());
        self.shut(Shutdown::Killing(ProcessId::Main));
        self.transition(ProcessId::Main, RunState::Idle);
        self.enter_end(now, Phase::Stopped);
        self.close(effects);
        self.none_left();
    }

    /// A failed start stays failed, however its process ends.
    fn enter_end(&mut self, now: Moment, phase: Phase) {
        if self.snapshot.phase != Phase::Failed {
            self.enter(now, phase);
        }
    }
}
