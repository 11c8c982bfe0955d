//! From the first spawn to the process that runs: what its start needs, when it is through, and what its failure means.

use std::time::Duration;

use super::notified::{not_executed, not_through};
use super::{APP, Class, Effect, Ended, Exit, Lifecycle, Moment, Outcome, Phase, ProcessId, StartSign, Step, Timer};

/// How long a program that has no startup check may take to be executed.
pub(super) const EXEC_LIMIT: Duration = Duration::from_secs(60);

impl Lifecycle {
    pub(super) fn start(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.plan.main.is_none() {
            if let Some(refusal) = self.plan.refusal.clone() {
                self.decide(refusal.code, refusal.message);
                self.enter(now, Phase::Failed);
                self.close(now, effects);
                return;
            }
            let done = if self.plan.migration.is_some() { "the migration is done and" } else { "everything is ready and" };
            self.decide(Exit::Success.code(), format!("{done} this mode starts no process"));
            self.enter(now, Phase::Stopped);
            self.close(now, effects);
            return;
        }
        self.enter(now, Phase::Starting);
        self.stage_began(now, &format!("spawn:{APP}"));
        self.begin_modules(now, effects);
        effects.push(Effect::Spawn(ProcessId::Main));
    }

    /// Whether the run stands where the news of this process' spawn are expected.
    pub(super) fn spawns(&self, id: ProcessId) -> bool {
        match id {
            ProcessId::Migration => self.task_starts(),
            ProcessId::Main => self.snapshot.phase == Phase::Starting && self.snapshot.child.pid.is_none() && self.restarting.is_none(),
            ProcessId::Module(id) => self.spawns_module(id),
        }
    }

    /// Whether there is a main child, whether or not it executes its program yet.
    pub(super) const fn main_lives(&self) -> bool {
        self.snapshot.child.pid.is_some() || self.main_forked
    }

    /// From here on the process can be asked to stop, and the time for its start runs.
    pub(super) fn forked(&mut self, id: ProcessId, effects: &mut Vec<Effect>) {
        self.ever_spawned = true;
        match id {
            _ if !self.spawns(id) => {}
            ProcessId::Module(id) => self.module_forked(id, effects),
            ProcessId::Migration => self.task_forked(effects),
            ProcessId::Main => {
                self.main_forked = true;
                let within = self.main().and_then(|main| main.started.as_ref()).map_or(EXEC_LIMIT, |started| started.within);
                effects.push(Effect::Arm(Timer::Startup, within));
            }
        }
    }

    pub(super) fn spawned(&mut self, now: Moment, id: ProcessId, pid: i32, effects: &mut Vec<Effect>) {
        self.ever_spawned = true;
        (self.stopped, self.suspended) = (false, false);
        match id {
            _ if !self.spawns(id) => {}
            ProcessId::Module(id) => self.module_spawned(now, id, pid, effects),
            ProcessId::Migration => self.task_started(effects),
            ProcessId::Main => {
                self.snapshot.child.pid = Some(pid);
                let was_forked = std::mem::take(&mut self.main_forked);
                self.stage_ended(now, &format!("spawn:{APP}"), Step::Up);
                self.feed_app(now, Outcome::passed(Duration::ZERO));
                let started = self.plan.main.as_ref().and_then(|main| main.started.as_ref());
                match started.map(|started| (started.within, matches!(started.sign, StartSign::Answers { .. }))) {
                    Some((within, asks)) => {
                        self.last_startup = Class::Never.into();
                        effects.push(Effect::Arm(Timer::Startup, within));
                        if asks {
                            effects.push(Effect::AskStartup(true));
                        }
                        self.stage_began(now, &format!("started:{APP}"));
                    }
                    None => {
                        if was_forked {
                            effects.push(Effect::Disarm(Timer::Startup));
                        }
                        self.run(now, effects);
                    }
                }
            }
        }
    }

    pub(super) fn spawn_failed(&mut self, now: Moment, id: ProcessId, code: u8, why: String, effects: &mut Vec<Effect>) {
        if !self.spawns(id) {
            self.forked_has_ended(now, id, Ended::Code(code), effects);
            return;
        }
        if id == ProcessId::Main && std::mem::take(&mut self.main_forked) {
            effects.push(Effect::Disarm(Timer::Startup));
        }
        // A full process table may have room in a while; a missing program will not appear.
        if id == ProcessId::Main && code == Exit::Internal.code() && self.restarts_after(None, Ended::Code(code)) {
            self.restart(now, None, effects);
            return;
        }
        if let ProcessId::Module(id) = id {
            self.module_spawn_failed(now, id, code, why, effects);
            return;
        }
        self.decide(code, why);
        match id {
            ProcessId::Module(_) => {}
            ProcessId::Migration => self.task_failed_to_start(now, effects),
            ProcessId::Main => {
                self.stage_ended(now, &format!("spawn:{APP}"), Step::Down);
                self.feed_app(now, Outcome::failed(Class::Exited, "", Duration::ZERO));
                self.enter(now, Phase::Failed);
                self.close(now, effects);
            }
        }
    }

    /// Somebody was asked to stop before it executed its program, and never did.
    fn forked_has_ended(&mut self, now: Moment, id: ProcessId, ended: Ended, effects: &mut Vec<Effect>) {
        match id {
            ProcessId::Main if self.main_forked => self.main_ended(now, ended, effects),
            ProcessId::Module(id) if self.module_is_forked(id) => self.module_ended(now, id, ended, effects),
            _ => {}
        }
    }

    pub(super) fn startup_probed(&mut self, now: Moment, outcome: &Outcome, effects: &mut Vec<Effect>) {
        if self.snapshot.phase != Phase::Starting || self.snapshot.child.pid.is_none() {
            return;
        }
        self.last_startup = outcome.why();
        if outcome.result.is_ok() {
            self.started(now, effects);
        }
    }

    pub(super) fn started(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.stage_ended(now, &format!("started:{APP}"), Step::Up);
        effects.push(Effect::Disarm(Timer::Startup));
        effects.push(Effect::AskStartup(false));
        self.run(now, effects);
    }

    pub(super) fn run(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.enter(now, Phase::Running);
        self.snapshot.started = true;
        if !self.plan.own_command {
            effects.push(Effect::AskAll);
        }
        self.expect_watchdog(effects);
    }

    pub(super) fn startup_failed(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.snapshot.phase != Phase::Starting || !self.main_lives() {
            return;
        }
        let started = self.plan.main.as_ref().and_then(|main| main.started.as_ref());
        let (stage, why) = match started {
            _ if self.main_forked => ("spawn", not_executed(started)),
            Some(started) => ("started", not_through(started, self.last_startup)),
            None => return,
        };
        self.decide(Exit::Unavailable.code(), format!("the {why}"));
        self.stage_ended(now, &format!("{stage}:{APP}"), Step::Down);
        self.enter(now, Phase::Failed);
        self.send_stop(libc::SIGTERM, effects);
    }
}
