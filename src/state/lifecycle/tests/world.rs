//! A world around the reducer: processes, a lock and timers that perform the effects, and nothing else.

use std::collections::{BTreeSet, HashMap};

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

/// What a run of the property test may have or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Feature {
    /// Redis and the database confirm requests.
    Confirmations,
    Migration,
    Main,
    StartupCheck,
    Restarts,
    Drain,
    /// The file system of programs does not respond, or late.
    HangingFiles,
}

impl Feature {
    pub(super) const ALL: [Self; 7] =
        [Self::Confirmations, Self::Migration, Self::Main, Self::StartupCheck, Self::Restarts, Self::Drain, Self::HangingFiles];
}

/// What a run of the property test has.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) manners: Manners,
    pub(super) features: BTreeSet<Feature>,
}

impl Setting {
    fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    fn plan(&self) -> Plan {
        let full = full();
        let restart = RestartPlan {
            policy: if self.has(Feature::Restarts) { RestartPolicy::Always } else { RestartPolicy::Never },
            limit: 2,
            ..RestartPlan::default()
        };
        let main = full.main.clone().map(|main| ProcessPlan {
            started: main.started.clone().filter(|_| self.has(Feature::StartupCheck)),
            drain_delay: if self.has(Feature::Drain) { main.drain_delay } else { Duration::ZERO },
            restart,
            ..main
        });
        let migration = full.migration.clone().filter(|_| self.has(Feature::Migration));
        Plan { migration, main: main.filter(|_| self.has(Feature::Main)), ..full }
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

/// What the run has requested and not got yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pending {
    /// The end of the migration's group.
    GroupEnd,
    /// Whether the lock is still held: until then it is in doubt.
    LockConfirmation,
    Lock,
    LockRelease,
    RestartPermission,
    Withdrawal,
}

/// The run and everything around it.
pub(super) struct World {
    run: Run,
    setting: Setting,
    timers: HashMap<Timer, Moment>,
    alive: BTreeSet<ProcessId>,
    /// The processes that have left others behind: the main process its survivors, the migration its group.
    leftovers: BTreeSet<ProcessId>,
    dying: Vec<ProcessId>,
    pending: BTreeSet<Pending>,
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
            alive: BTreeSet::new(),
            leftovers: BTreeSet::new(),
            dying: Vec::new(),
            pending: BTreeSet::new(),
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
        let again = self.setting.has(Feature::Restarts) && before == Phase::Running && phase == Phase::Starting;
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
            Some(id) if self.spawns_fail && !self.setting.has(Feature::HangingFiles) => {
                self.apply(Event::SpawnFailed(id, Exit::NotFound.code(), "not found".to_owned()));
            }
            Some(id) => {
                self.alive.insert(id);
                self.hanging = Some(id);
                self.apply(Event::Forked(id));
                if !self.setting.has(Feature::HangingFiles) {
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
            self.alive.remove(&id);
            self.apply(Event::SpawnFailed(id, Exit::NotFound.code(), "not found".to_owned()));
        } else {
            self.apply(Event::Spawned(id, PID));
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
            Effect::AcquireLock => drop(self.pending.insert(Pending::Lock)),
            Effect::ConfirmLock => drop(self.pending.insert(Pending::LockConfirmation)),
            Effect::ReleaseLock => {
                let ends = self.run.lifecycle.ending().is_some();
                let in_doubt = self.pending.remove(&Pending::LockConfirmation);
                assert!(!in_doubt || ends, "{shown} is through with a lock that is in doubt");
                let works = [&self.alive, &self.leftovers].iter().any(|these| these.contains(&ProcessId::Migration));
                assert!(!works || self.setting.manners == Manners::Stuck, "{shown} releases the lock under a migration");
                self.pending.insert(Pending::LockRelease);
            }
            Effect::Spawn(id) => {
                let waits = |step: &str| {
                    snapshot.stages.iter().filter(|stage| stage.name.starts_with(step)).all(|stage| stage.step == StageState::Up)
                };
                assert!(waits("wait:"), "{shown} spawns {id:?} before the waits are through");
                assert!(id == ProcessId::Migration || waits("migrate"), "{shown} spawns {id:?} before the migration is through");
                assert!(!self.pending.contains(&Pending::LockConfirmation), "{shown} spawns {id:?} under a lock that is in doubt");
                assert!(matches!(id, ProcessId::Main | ProcessId::Migration), "{shown} spawns {id:?}, which no plan here has");
                assert!(!self.alive.contains(&id), "{shown} spawns {id:?} a second time");
                return Some(id);
            }
            Effect::Signal(id, number) => {
                assert!(self.alive.contains(&id), "{shown} signals {id:?} which does not run");
                self.hit(id, number);
            }
            Effect::AwaitGroup(_) => drop(self.pending.insert(Pending::GroupEnd)),
            Effect::TakeLock | Effect::Prepare(_) | Effect::CancelPreparation => panic!("{shown} does a step that no plan here has"),
            Effect::QuerySchema(_) | Effect::QueryDatabase => panic!("{shown} asks a question that no plan here has"),
            Effect::SignalGroup(id, number) => {
                if id == ProcessId::Migration && self.dies_of(number) {
                    self.leftovers.remove(&id);
                }
                if self.alive.contains(&id) {
                    self.hit(id, number);
                }
            }
            Effect::SignalSurvivors(number) | Effect::SignalLatecomers(number) => {
                if self.dies_of(number) {
                    self.leftovers.remove(&ProcessId::Main);
                }
            }
            Effect::Announce(readiness) => {
                let ready = snapshot.verdict(Level::Ready, Look::fresh(self.run.now));
                assert_eq!(readiness == Readiness::Ready, ready, "{shown} announces {readiness:?}");
                if readiness == Readiness::Stopped {
                    self.pending.insert(Pending::Withdrawal);
                }
            }
            Effect::Exit(code) => {
                let none_left = self.alive.is_empty() && !self.leftovers.contains(&ProcessId::Main);
                assert!(none_left || self.setting.manners == Manners::Stuck, "{shown} leaves a process behind");
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
        self.alive.remove(&id);
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
            Happening::Startup(passes) if self.alive.contains(&ProcessId::Main) => {
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
            Happening::Ends(code) if self.hanging.is_none() && self.setting.manners != Manners::Stuck => self.ends(code),
            Happening::Startup(_) | Happening::Ends(_) => {}
        }
    }

    /// The process, or else the migration, ends by itself.
    fn ends(&mut self, code: u8) {
        let Some(id) = [ProcessId::Main, ProcessId::Migration].into_iter().find(|id| self.alive.contains(id)) else { return };
        let (leaves_others, code) = if id == ProcessId::Main { (code % 2 == 1, code) } else { (code % 3 == 1, code % 2) };
        self.leftovers.remove(&id);
        self.leftovers.extend(leaves_others.then_some(id));
        self.dies(id, Ended::Code(code));
    }

    /// Lets the next timer expire; whether there was one.
    fn fire(&mut self) -> bool {
        let Some((timer, at)) =
            self.timers.iter().map(|(timer, at)| (*timer, *at)).min_by_key(|(timer, at)| (at.mono, format!("{timer:?}")))
        else {
            return false;
        };
        self.timers.remove(&timer);
        if timer == Timer::Confirm {
            self.pending.remove(&Pending::LockConfirmation);
        }
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
        } else {
            return self.answer_request(which);
        }
        true
    }

    /// Answers one request of the run; whether one could be answered.
    fn answer_request(&mut self, which: u8) -> bool {
        let has_group = self.leftovers.contains(&ProcessId::Migration);
        let confirms = self.setting.has(Feature::Confirmations);
        let can_be_answered = |request: &&Pending| if **request == Pending::GroupEnd { !has_group } else { confirms };
        let Some(request) = self.pending.iter().find(can_be_answered).copied() else {
            if self.leftovers.contains(&ProcessId::Main) || self.alive.contains(&ProcessId::Main) {
                return false;
            }
            self.apply(Event::NoneLeft);
            return false;
        };
        let choice = which % 4;
        // One that is queued still waits for the lock.
        if (request, choice) != (Pending::Lock, 0) {
            self.pending.remove(&request);
        }
        self.apply(match (request, choice) {
            (Pending::GroupEnd, _) => Event::GroupGone(ProcessId::Migration),
            (Pending::LockConfirmation, 3) => Event::Lock(LockNews::Lost("it went".to_owned())),
            (Pending::LockConfirmation, _) => Event::Lock(LockNews::Confirmed),
            (Pending::Lock, 0) => Event::Lock(LockNews::Queued("two".into())),
            (Pending::Lock, 1) => Event::Lock(LockNews::Unavailable(Exit::LockTimeout, "two holds it".to_owned())),
            (Pending::Lock, _) => Event::Lock(LockNews::Held),
            (Pending::LockRelease, _) => Event::Lock(LockNews::Released),
            (Pending::RestartPermission, _) => Event::RestartGranted,
            (Pending::Withdrawal, _) => Event::Withdrawn,
        });
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
