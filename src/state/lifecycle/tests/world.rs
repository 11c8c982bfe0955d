//! A world around the reducer: processes, a lock and timers that perform the effects, and nothing else.

use std::collections::HashMap;

use super::table::may_follow;
use super::*;
use crate::exit::Exit;
use crate::plan::process::{RestartPlan, RestartPolicy};
use crate::state::event::Readiness;
use crate::state::snapshot::{Level, Look, StageState, Status};

/// How processes react to stop signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manners {
    /// They end at any signal that would end a process.
    Polite,
    /// Only KILL ends them.
    Stubborn,
    /// Not even KILL does: stuck in the kernel.
    Stuck,
}

/// What a run of the property test has.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(super) struct Setting {
    pub(super) manners: Manners,
    /// Whether Redis and the database confirm requests.
    pub(super) services_answer: bool,
    pub(super) migrates: bool,
    pub(super) has_main: bool,
    pub(super) has_started: bool,
    pub(super) restarts: bool,
    pub(super) drains: bool,
    /// Whether the file system of programs does not respond, or late.
    pub(super) hangs: bool,
}

impl Setting {
    fn plan(self) -> Plan {
        let full = full();
        let restart = RestartPlan {
            policy: if self.restarts { RestartPolicy::Always } else { RestartPolicy::Never },
            limit: 2,
            ..RestartPlan::default()
        };
        let main = full.main.clone().map(|main| ProcessPlan {
            started: main.started.clone().filter(|_| self.has_started),
            drain_delay: if self.drains { main.drain_delay } else { Duration::ZERO },
            restart,
            ..main
        });
        Plan { migration: full.migration.clone().filter(|_| self.migrates), main: main.filter(|_| self.has_main), ..full }
    }
}

/// An event from outside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    /// A check runs.
    Probe(usize, bool),
    /// The startup check runs.
    Startup(bool),
    /// A signal arrives.
    Signal(i32),
    /// The timer that is due next expires.
    Timer,
    /// Something that the run is waiting for happens: a lock, a withdrawal, a death.
    Answer(u8),
    /// A process ends by itself.
    Ends(u8),
    /// No process here could run for so many seconds.
    Away(u64),
}

/// The run and everything around it.
#[allow(clippy::struct_excessive_bools, reason = "each belongs to another part")]
pub(super) struct World {
    run: Run,
    setting: Setting,
    timers: HashMap<Timer, Moment>,
    main: bool,
    migration: bool,
    survivors: bool,
    dying: Vec<ProcessId>,
    asked_lock: bool,
    releasing: bool,
    /// Whether the lock is to be confirmed.
    doubted: bool,
    /// Whether a process is left of the migration's group, and whether its end is awaited.
    group: bool,
    group_awaited: bool,
    withdrawing: bool,
    spawns_fail: bool,
    /// Processes that do not execute their program yet.
    hanging: Option<ProcessId>,
    pub(super) exit: Option<u8>,
}

impl World {
    pub(super) fn new(setting: Setting, spawns_fail: bool) -> Self {
        Self {
            run: Run::of(setting.plan()),
            setting,
            timers: HashMap::new(),
            main: false,
            migration: false,
            survivors: false,
            dying: Vec::new(),
            asked_lock: false,
            releasing: false,
            doubted: false,
            group: false,
            group_awaited: false,
            withdrawing: false,
            spawns_fail,
            hanging: None,
            exit: None,
        }
    }

    pub(super) fn apply(&mut self, event: Event) {
        let before = self.run.phase();
        let shown = format!("{event:?}");
        let effects = self.run.apply(event);
        if self.exit.is_some() {
            assert_eq!(effects, [], "{shown} after the exit");
            return;
        }
        let phase = self.run.phase();
        let again = self.setting.restarts && before == Phase::Running && phase == Phase::Starting;
        assert!(may_follow(before, phase) || again, "{shown}: {before:?} to {phase:?}");
        self.laws(&shown);
        let mut spawned = None;
        for (index, effect) in effects.iter().enumerate() {
            if let Some(id) = self.perform(*effect, &shown) {
                assert_eq!(spawned, None, "{shown} spawns twice");
                spawned = Some(id);
            }
            assert!(self.exit.is_none() || index + 1 == effects.len(), "{shown}: {effects:?}");
        }
        match spawned {
            Some(id) if self.spawns_fail && !self.setting.hangs => {
                self.apply(Event::SpawnFailed(id, Exit::NotFound.code(), "not found".to_owned()));
            }
            Some(id) => {
                *self.alive(id) = true;
                self.hanging = Some(id);
                self.apply(Event::Forked(id));
                if !self.setting.hangs {
                    self.executes(id);
                }
            }
            None => {}
        }
    }

    /// The file system of its program responds; a program that cannot be executed ends.
    fn executes(&mut self, id: ProcessId) {
        self.hanging = None;
        if self.spawns_fail {
            self.dying.retain(|other| *other != id);
            *self.alive(id) = false;
            self.apply(Event::SpawnFailed(id, Exit::NotFound.code(), "not found".to_owned()));
        } else {
            self.apply(Event::Spawned(id, PID));
        }
    }

    fn alive(&mut self, id: ProcessId) -> &mut bool {
        match id {
            ProcessId::Main => &mut self.main,
            ProcessId::Migration => &mut self.migration,
            ProcessId::Module(_) | ProcessId::Step(_) => panic!("no plan here has modules or steps"),
        }
    }

    fn laws(&self, shown: &str) {
        let snapshot = self.run.lifecycle.snapshot();
        let look = Look::fresh(self.run.now);
        let [live, started, ready, deep] =
            [Level::Live, Level::Started, Level::Ready, Level::Deep].map(|level| snapshot.verdict(level, look));
        let open = snapshot.stages.iter().find(|stage| stage.began.is_some() && stage.ended.is_none());
        assert!(snapshot.phase != Phase::Failed || open.is_none(), "{shown}: a failed start goes on with {open:?}");
        assert!(!ready || (live && started && snapshot.phase == Phase::Running && snapshot.child.pid.is_some()), "{shown}");
        assert!(!deep || ready, "{shown}");
        assert_eq!(snapshot.overall(look) == Status::Up, deep && snapshot.phase == Phase::Running, "{shown}");
        assert!(!snapshot.started || started, "{shown}");
    }

    /// Performs the effects; returns what has to be spawned.
    fn perform(&mut self, effect: Effect, shown: &str) -> Option<ProcessId> {
        let snapshot = self.run.lifecycle.snapshot();
        match effect {
            Effect::Arm(timer, after) => {
                self.timers.insert(timer, self.run.now.after(after));
            }
            Effect::Disarm(timer) => {
                self.timers.remove(&timer);
            }
            Effect::AcquireLock => self.asked_lock = true,
            Effect::ConfirmLock => self.doubted = true,
            Effect::ReleaseLock => {
                let ends = self.run.lifecycle.ending().is_some();
                assert!(!self.doubted || ends, "{shown} is through with a lock that is in doubt");
                self.doubted = false;
                let works = self.migration || self.group;
                assert!(!works || self.setting.manners == Manners::Stuck, "{shown} releases the lock under a migration");
                self.releasing = true;
            }
            Effect::Spawn(id) => {
                let waits = |step: &str| {
                    snapshot.stages.iter().filter(|stage| stage.name.starts_with(step)).all(|stage| stage.step == StageState::Up)
                };
                assert!(waits("wait:"), "{shown} spawns {id:?} before the waits are through");
                assert!(id == ProcessId::Migration || waits("migrate"), "{shown} spawns {id:?} before the migration is through");
                assert!(!self.doubted, "{shown} spawns {id:?} under a lock that is in doubt");
                assert!(!*self.alive(id), "{shown} spawns {id:?} a second time");
                return Some(id);
            }
            Effect::Signal(id, number) => {
                assert!(*self.alive(id), "{shown} signals {id:?} which does not run");
                self.hit(id, number);
            }
            Effect::AwaitGroup(_) => self.group_awaited = true,
            Effect::TakeLock | Effect::Prepare(_) | Effect::CancelPreparation => panic!("{shown} does a step that no plan here has"),
            Effect::QuerySchema(_) | Effect::QueryDatabase => panic!("{shown} asks a question that no plan here has"),
            Effect::SignalGroup(id, number) => {
                if id == ProcessId::Migration && self.dies_of(number) {
                    self.group = false;
                }
                if *self.alive(id) {
                    self.hit(id, number);
                }
            }
            Effect::SignalSurvivors(number) | Effect::SignalLatecomers(number) => {
                if self.dies_of(number) {
                    self.survivors = false;
                }
            }
            Effect::Announce(readiness) => {
                let ready = snapshot.verdict(Level::Ready, Look::fresh(self.run.now));
                assert_eq!(readiness == Readiness::Ready, ready, "{shown} announces {readiness:?}");
                self.withdrawing |= readiness == Readiness::Stopped;
            }
            Effect::Exit(code) => {
                let left = self.main || self.migration || self.survivors;
                assert!(!left || self.setting.manners == Manners::Stuck, "{shown} leaves a process behind");
                let ending = self.run.lifecycle.ending().map(|ending| ending.code);
                assert_eq!(ending, Some(code), "{shown}");
                self.exit = Some(code);
            }
            Effect::Reload
            | Effect::Extend(..)
            | Effect::Watch(..)
            | Effect::ProbeAll
            | Effect::ProbeNow
            | Effect::Suspend(..)
            | Effect::Resume(_)
            | Effect::RestartLease(_)
            | Effect::Hold => {}
        }
        None
    }

    fn dies_of(&self, number: i32) -> bool {
        match self.setting.manners {
            Manners::Polite => number != libc::SIGCONT,
            Manners::Stubborn => number == libc::SIGKILL,
            Manners::Stuck => false,
        }
    }

    fn hit(&mut self, id: ProcessId, number: i32) {
        if self.dies_of(number) && !self.dying.contains(&id) {
            self.dying.push(id);
        }
    }

    fn dies(&mut self, id: ProcessId, ended: Ended) {
        self.dying.retain(|other| *other != id);
        *self.alive(id) = false;
        if self.hanging.take_if(|hanging| *hanging == id).is_some() {
            // One that was killed before it executed its program is reported like any other.
            self.apply(Event::Spawned(id, PID));
        }
        self.apply(Event::Exited(id, ended));
    }

    /// Takes one step, if that is possible now.
    pub(super) fn step(&mut self, step: Happening) {
        match step {
            Happening::Probe(id, passes) => self.apply(Event::Probed(id, if passes { passed() } else { refused() })),
            Happening::Startup(passes) if self.main => {
                self.apply(Event::StartupProbed(ProcessId::Main, if passes { passed() } else { refused() }))
            }
            Happening::Signal(number) => self.apply(signal(number)),
            Happening::Away(seconds) => {
                let lost = Duration::from_secs(seconds);
                self.run.now = self.run.now.after(lost);
                self.apply(Event::Away(lost));
            }
            // Dying processes have ended before the next timer expires.
            Happening::Timer if !self.dying.is_empty() => {
                self.answer(0);
            }
            Happening::Timer => {
                self.fire();
            }
            Happening::Answer(which) => {
                self.answer(which);
            }
            Happening::Ends(code) if self.main && self.hanging.is_none() && self.setting.manners != Manners::Stuck => {
                self.survivors = code % 2 == 1;
                self.dies(ProcessId::Main, Ended::Code(code));
            }
            Happening::Ends(code) if self.migration && self.hanging.is_none() && self.setting.manners != Manners::Stuck => {
                self.group = code % 3 == 1;
                self.dies(ProcessId::Migration, Ended::Code(code % 2));
            }
            Happening::Startup(_) | Happening::Ends(_) => {}
        }
    }

    /// Lets the next timer expire; whether there was one.
    fn fire(&mut self) -> bool {
        let Some((timer, at)) =
            self.timers.iter().map(|(timer, at)| (*timer, *at)).min_by_key(|(timer, at)| (at.mono, format!("{timer:?}")))
        else {
            return false;
        };
        self.timers.remove(&timer);
        self.doubted &= timer != Timer::Confirm;
        self.run.now = self.run.now.after(at.since(self.run.now));
        self.apply(Event::Elapsed(timer));
        true
    }

    /// Lets one thing happen that the run waits for; whether there was one.
    fn answer(&mut self, which: u8) -> bool {
        if let Some(id) = self.hanging.filter(|_| which % 2 == 1) {
            self.executes(id);
        } else if let Some(id) = self.dying.first().copied() {
            self.dies(id, Ended::Signal(15));
        } else if self.group_awaited && !self.group {
            self.group_awaited = false;
            self.apply(Event::GroupGone(ProcessId::Migration));
        } else if self.doubted && self.setting.services_answer {
            self.doubted = false;
            let lost = LockNews::Lost("it went".to_owned());
            self.apply(Event::Lock(if which % 4 == 3 { lost } else { LockNews::Confirmed }));
        } else if self.asked_lock && self.setting.services_answer {
            match which % 4 {
                0 => self.apply(Event::Lock(LockNews::Queued("two".into()))),
                1 => {
                    self.asked_lock = false;
                    self.apply(Event::Lock(LockNews::Unavailable(Exit::LockTimeout, "two holds it".to_owned())));
                }
                _ => {
                    self.asked_lock = false;
                    self.apply(Event::Lock(LockNews::Held));
                }
            }
        } else if self.releasing && self.setting.services_answer {
            self.releasing = false;
            self.apply(Event::Lock(LockNews::Released));
        } else if self.withdrawing && self.setting.services_answer {
            self.withdrawing = false;
            self.apply(Event::Withdrawn);
        } else if !self.main && !self.survivors {
            self.apply(Event::NoneLeft);
            return false;
        } else {
            return false;
        }
        true
    }

    /// Lets all pending events happen and all timers expire, until nothing is left to happen.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            if self.exit.is_some() || !(self.answer(2) || self.fire()) {
                return;
            }
        }
        panic!("the run does not settle: {:?} {:?}", self.run.phase(), self.timers);
    }
}
