//! Every state that a small run can reach by any event, breadth first: the laws hold in all of them, and the drawings show every
//! transition.
//!
//! The clock stands still: an armed timer may expire at any moment, which is more than a real clock allows.

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write;
use std::hash::{Hash, Hasher};

use super::modules::{ONE, checked, module, restarting};
use super::world::Pending;
use super::*;
use crate::exit::Exit;
use crate::plan::module::{ModuleStart, Predecessor};
use crate::plan::process::RestartPolicy;
use crate::plan::{ConditionPlan, ModuleId, ModulePlan, StepAction, StepAt, StepPlan};
use crate::state::check::Verdict;
use crate::state::copy_on_write::CopyOnWrite;
use crate::state::event::{Inquiry, Order, PreparedStep, Readiness};
use crate::state::process::{RunState, Then};
use crate::state::snapshot::{Child, Level, Look, Migration};
use crate::state::start::StartStage;
use crate::state::transition::{Machine, Transition};

/// More states than these have never occurred; a walk that does not end is an error of its own.
const MOST: usize = 1_000_000;

/// A process, a module that starts after it, a readiness check, a migration under a lock, and a heartbeat; none is restarted.
fn whole() -> Plan {
    let full = full();
    let main = full.main.clone().map(|main| ProcessPlan { drain_delay: Duration::ZERO, ..main });
    let migration = full.migration.clone().map(|migration| MigrationPlan { timeout: Duration::ZERO, ..migration });
    let module = ModulePlan { after: vec![Predecessor::Main], ..module(0) };
    let check = CheckPlan { failure_threshold: 1, ..check("db", 60, Affects::Readiness) };
    Plan { checks: vec![check], main, migration, modules: vec![module], ..full }
}

/// The same without the module: everything that can be is retried, it drains, a failed start is held, and a check that goes down restarts
/// the process.
fn again() -> Plan {
    let (full, whole) = (full(), whole());
    let restart = RestartPlan { policy: RestartPolicy::OnFailure, limit: 1, ..RestartPlan::default() };
    let main = full.main.clone().map(|main| ProcessPlan { restart, watchdog: Some(Duration::from_secs(9)), ..main });
    let migration = full.migration.clone().map(|migration| MigrationPlan { retries: 1, timeout: Duration::ZERO, ..migration });
    let checks = vec![CheckPlan { on_down: crate::plan::OnDown::Restart, ..whole.checks[0].clone() }];
    Plan { checks, main, migration, modules: Vec::new(), hold: true, ..whole }
}

/// The same without migration and heartbeat: the module is restarted, too.
fn beside() -> Plan {
    let whole = whole();
    let main = whole.main.clone().map(|main| ProcessPlan { started: None, ..main });
    let module = restarting(checked(whole.modules[0].clone()), RestartPolicy::OnFailure, 1);
    Plan { main, migration: None, heartbeat: None, modules: vec![module], ..whole }
}

/// A migration under a lock after a module that starts before everything.
fn behind_proxy() -> Plan {
    let whole = whole();
    let module = ModulePlan { start: ModuleStart::First, after: Vec::new(), ..whole.modules[0].clone() };
    let main = whole.main.clone().map(|main| ProcessPlan { started: None, ..main });
    Plan { checks: Vec::new(), main, heartbeat: None, modules: vec![module], ..whole }
}

/// The process starts after a module that starts with it.
fn after_module() -> Plan {
    let beside = beside();
    let module = ModulePlan { after: Vec::new(), ..beside.modules[0].clone() };
    Plan { checks: Vec::new(), after: vec![ONE], modules: vec![module], ..beside }
}

/// A process that is restarted, a migration, and steps around it: one whose files are examined first, one under the lock that is retried,
/// and one beside the process.
fn stepped() -> Plan {
    let again = again();
    let command = || StepAction::Commands(vec![process().into()]);
    let first = StepPlan { condition: ConditionPlan::Any(Vec::new()), ..StepPlan::new("first", StepAt::First, command()) };
    let check = Some(Box::new(process()));
    let locked = StepPlan { locked: true, retries: 1, check, ..StepPlan::new("locked", StepAt::Migrated, command()) };
    let beside = StepPlan { timeout: Duration::from_secs(9), ..StepPlan::new("beside", StepAt::Up, command()) };
    let main = again.main.clone().map(|main| ProcessPlan { started: None, watchdog: None, ..main });
    let migration = again.migration.clone().map(|migration| MigrationPlan { retries: 0, ..migration });
    Plan { checks: Vec::new(), heartbeat: None, main, migration, steps: vec![first, locked, beside], hold: false, ..again }
}

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    /// The event of its start comes next.
    Requested,
    Forked,
    Executes,
    /// It got KILL.
    Dying,
}

/// The lock's keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeper {
    Idle,
    Requested,
    Held,
    Releasing,
}

/// The run and its surroundings.
#[derive(Clone)]
struct World {
    run: Run,
    timers: BTreeSet<Timer>,
    alive: BTreeMap<ProcessId, Life>,
    groups: BTreeSet<ProcessId>,
    keeper: Keeper,
    pending: BTreeSet<Pending>,
    /// The step that is prepared on another thread.
    prepares: Option<Inquiry>,
    survivors: bool,
    /// Whether the checks are probed.
    checks_begun: bool,
    exit: Option<u8>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let checks_begun = !plan.prepares();
        Self {
            checks_begun,
            run: Run::of(plan),
            timers: BTreeSet::new(),
            alive: BTreeMap::new(),
            groups: BTreeSet::new(),
            keeper: Keeper::Idle,
            pending: BTreeSet::new(),
            prepares: None,
            survivors: false,
            exit: None,
        }
    }

    /// Everything that decides what may follow, without times and counts that only grow.
    fn key(&self) -> u64 {
        let (run, snapshot) = (&self.run.lifecycle, self.run.lifecycle.snapshot());
        let mut text = String::new();
        for (id, process) in &run.processes {
            let state = &process.state;
            let _ = match state {
                RunState::Stopping(Then::Restart(_)) => write!(text, "{id:?} restarts {}", process.in_a_row),
                RunState::Up(_) | RunState::Unhealthy(..) | RunState::Starting(_) => {
                    write!(text, "{id:?} {} {}", state.word(), process.in_a_row)
                }
                _ => write!(text, "{id:?} {state:?} {}", process.in_a_row),
            };
        }
        let steps: Vec<_> = snapshot.stages.iter().map(|stage| (stage.name.as_str(), stage.step)).collect();
        let checks: Vec<_> = snapshot.checks.iter().map(|check| (check.name.as_str(), check.verdict)).collect();
        let modules: Vec<_> = snapshot.modules.iter().map(|module| (module.state, module.child.pid.is_some())).collect();
        let migration = std::mem::discriminant(&snapshot.migration);
        let healing = |child: &CopyOnWrite<Child>| child.healing.as_ref().map(|healing| healing.stage);
        let healing: Vec<_> = snapshot.modules.iter().map(|module| &module.child).chain([&snapshot.child]).map(healing).collect();
        let _ = write!(text, "{healing:?} {}", run.leased.is_some());
        let ending = run.ending().map(|ending| (ending.code, ending.as_requested));
        let _ = write!(text, "{:?} {:?} {steps:?} {checks:?} {modules:?} {migration:?} {ending:?}", snapshot.phase, run.start);
        let _ = write!(text, "{:?} {:?} {} {:?}", run.migrating, run.shutdown, run.requests.count, run.announced);
        let _ = write!(text, "{:?} {:?} {:?}", run.stepping, self.prepares, snapshot.step.as_ref().map(|step| step.doing));
        let _ = write!(text, "{} {} {}", run.ever_ready, run.ever_spawned, snapshot.child.pid.is_some());
        let _ = write!(text, "{:?} {:?} {:?} {:?}", self.timers, self.alive, self.groups, self.keeper);
        let _ = write!(text, "{:?} {} {} {:?}", self.pending, self.survivors, self.checks_begun, self.exit);
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    }

    /// This is no longer pending.
    fn settle(&mut self, request: Pending) {
        self.pending.remove(&request);
    }

    /// Everything that may happen now.
    fn events(&self) -> Vec<Event> {
        let run = &self.run.lifecycle;
        if !run.start.has_begun() && run.ending().is_none() {
            return vec![Event::Begin, signal(libc::SIGTERM)];
        }
        if let Some((id, _)) = self.alive.iter().find(|(_, life)| **life == Life::Requested) {
            let failed = [Exit::NotFound, Exit::Internal].map(|exit| Event::SpawnFailed(*id, exit.code(), String::new()));
            return std::iter::once(Event::Forked(*id)).chain(failed).collect();
        }
        let mut events = Vec::new();
        if !run.plan.checks.is_empty() && self.checks_begun {
            events.extend([Event::Probed(0, passed()), Event::Probed(0, refused())]);
        }
        if run.requests.count < 3 {
            events.push(signal(libc::SIGTERM));
        }
        for (id, life) in &self.alive {
            match life {
                Life::Requested => {}
                Life::Forked => events.extend([Event::Spawned(*id, PID), Event::SpawnFailed(*id, 127, String::new())]),
                Life::Executes => {
                    events.extend([0, 1].map(|code| Event::Exited(*id, Ended::Code(code))));
                    if matches!(run.state(*id), RunState::Starting(_)) {
                        events.push(Event::StartupProbed(*id, passed()));
                    }
                }
                Life::Dying => events.push(Event::Exited(*id, Ended::Signal(9))),
            }
        }
        let dies = self.alive.values().any(|life| *life == Life::Dying);
        let reaps = |timer: &Timer| matches!(timer, Timer::Reap | Timer::Process(_, ProcessTimer::Reap));
        events.extend(self.timers.iter().filter(|timer| !(dies && reaps(timer))).map(|timer| Event::Elapsed(*timer)));
        events.extend(self.groups.iter().filter(|id| !self.alive.contains_key(id)).map(|id| Event::GroupGone(*id)));
        let lost = || Event::Lock(LockNews::Lost(String::new()));
        match self.keeper {
            _ if self.pending.contains(&Pending::LockConfirmation) => events.extend([Event::Lock(LockNews::Confirmed), lost()]),
            Keeper::Requested => events.extend([
                Event::Lock(LockNews::Held),
                Event::Lock(LockNews::Unavailable(Exit::LockTimeout, String::new())),
                Event::Away(Duration::ZERO),
            ]),
            Keeper::Held => events.extend([lost(), Event::Away(Duration::ZERO)]),
            Keeper::Releasing => events.push(Event::Lock(LockNews::Released)),
            Keeper::Idle => {}
        }
        if let Some(id) = self.prepares {
            let news = [PreparedStep::Skipped, PreparedStep::Commands(vec![process().into()]), PreparedStep::Failed(1, String::new())];
            events.extend(news.map(|news| Event::Prepared(id, news)));
        }
        if self.pending.contains(&Pending::RestartPermission) {
            events.push(Event::RestartGranted);
        }
        if self.pending.contains(&Pending::Withdrawal) {
            events.push(Event::Withdrawn);
        }
        if self.survivors && self.alive.is_empty() {
            events.push(Event::NoneLeft);
        }
        let first = run.start.stage() == Some(StartStage::FirstModules);
        if (run.snapshot().phase == Phase::Running || first) && run.shutdown.is_none() && !run.plan.modules.is_empty() {
            events.extend([Order::Start(ONE), Order::Stop(ONE), Order::Restart(ONE)].map(Event::Ordered));
        }
        events
    }

    /// The surroundings after this event.
    fn happens(&mut self, event: &Event) {
        match event {
            Event::Forked(id) => drop(self.alive.insert(*id, Life::Forked)),
            Event::Spawned(id, _) => drop(self.alive.insert(*id, Life::Executes)),
            Event::Exited(id, _) | Event::SpawnFailed(id, ..) => drop(self.alive.remove(id)),
            Event::GroupGone(id) => drop(self.groups.remove(id)),
            Event::Elapsed(timer) => {
                self.timers.remove(timer);
                if *timer == Timer::Confirm {
                    self.settle(Pending::LockConfirmation);
                }
            }
            Event::Lock(LockNews::Held) => self.keeper = Keeper::Held,
            Event::Lock(LockNews::Confirmed) => self.settle(Pending::LockConfirmation),
            Event::Lock(LockNews::Lost(_)) => {
                self.keeper = Keeper::Idle;
                self.settle(Pending::LockConfirmation);
            }
            Event::Lock(LockNews::Unavailable(..) | LockNews::Released) => self.keeper = Keeper::Idle,
            Event::Withdrawn => self.settle(Pending::Withdrawal),
            Event::NoneLeft => self.survivors = false,
            Event::RestartGranted => self.settle(Pending::RestartPermission),
            Event::Prepared(..) => self.prepares = None,
            Event::Signalled(_) => self.run.now = self.run.now.after(Duration::from_secs(1)),
            _ => {}
        }
    }

    /// Applies one event and its immediate effects, and checks every law.
    fn apply(&mut self, event: Event, seen: &mut BTreeSet<Transition>) {
        let shown = format!("{event:?}");
        self.happens(&event);
        let before = (self.run.lifecycle.ending().cloned(), self.run.lifecycle.shutdown, self.run.lifecycle.announced);
        // A module that does not come up is stopped whatever else happens.
        let takes_too_long = matches!(event, Event::Elapsed(Timer::Process(_, ProcessTimer::Limit)));
        let of_main = if let Event::Exited(ProcessId::Main, ended) = &event { Some(ended.exit_code()) } else { None };
        let effects = self.run.lifecycle.apply(self.run.now, event);
        let run = &self.run.lifecycle;
        seen.extend(run.transitions().iter().map(|transition| Transition { machine: kind(transition.machine), ..*transition }));
        let (ending, shutdown, announced) = before;
        assert!(ending.is_none() || run.ending() == ending.as_ref(), "{shown}: the end was decided once");
        if let Some(code) = of_main.filter(|_| ending.is_none()) {
            let again = *run.state(ProcessId::Main) == RunState::Backoff;
            let state = (&run.processes, run.shutdown, run.ending(), run.snapshot().phase, shutdown);
            assert!(again || run.ending().map(|ending| ending.code) == Some(code), "{shown}: the exit code is the process': {state:?}");
        }
        let snapshot = run.snapshot();
        let check = snapshot.check("db").map_or(Verdict::Up, |check| check.verdict);
        let ready = snapshot.verdict(Level::Ready, Look::fresh(self.run.now));
        let open = snapshot.stages.iter().find(|stage| stage.began.is_some() && stage.ended.is_none());
        assert!(snapshot.phase != Phase::Failed || open.is_none(), "{shown}: a failed start goes on with {open:?}");
        assert!(!ready || (check == Verdict::Up && snapshot.child.pid.is_some()), "{shown}: ready while the check is {check:?}");
        let comes_first = |id: ModuleId| run.plan.module(id).is_some_and(|plan| plan.start == ModuleStart::First);
        for effect in effects {
            self.checks_begun |= effect == Effect::ProbeNow;
            match effect {
                Effect::Signal(ProcessId::Module(id), libc::SIGTERM) if run.shutdown.is_some() && comes_first(id) && !takes_too_long => {
                    let before = [ProcessId::Main, ProcessId::Migration].into_iter().find(|id| self.alive.contains_key(id));
                    assert_eq!(before, None, "{shown}: a module that came first is stopped before it");
                    assert_ne!(self.keeper, Keeper::Held, "{shown}: a module that came first is stopped before the lock is given back");
                }
                Effect::Arm(timer, _) => drop(self.timers.insert(timer)),
                Effect::Disarm(timer) => drop(self.timers.remove(&timer)),
                Effect::AcquireLock | Effect::TakeLock => self.keeper = Keeper::Requested,
                Effect::Prepare(id) => {
                    assert!(shutdown.is_none() && run.ending().is_none(), "{shown}: {id:?} is begun in the shutdown");
                    self.prepares = Some(id);
                }
                Effect::CancelPreparation => self.prepares = None,
                Effect::ConfirmLock => drop(self.pending.insert(Pending::LockConfirmation)),
                Effect::ReleaseLock => {
                    self.keeper = Keeper::Releasing;
                    self.pending.remove(&Pending::LockConfirmation);
                }
                Effect::Spawn(id) => {
                    assert!(shutdown.is_none() && run.ending().is_none(), "{shown}: {id:?} is started in the shutdown");
                    assert!(!self.alive.contains_key(&id), "{shown}: {id:?} is started twice");
                    let one_off = |id: &ProcessId| id.is_one_off();
                    assert!(!one_off(&id) || !self.alive.keys().any(one_off), "{shown}: {id:?} is started beside another one");
                    let is_locked = id.is_one_off() && run.step_is_locked();
                    assert!(!is_locked || self.keeper == Keeper::Held, "{shown}: a step without its lock");
                    let migrates = id == ProcessId::Migration;
                    assert!(!migrates || self.keeper == Keeper::Held, "{shown}: migrates without its lock");
                    assert!(!migrates || snapshot.migration != Migration::Done, "{shown}: migrates again");
                    let is_first = matches!(id, ProcessId::Module(id) if comes_first(id));
                    assert!(is_first || run.start.stage() != Some(StartStage::FirstModules), "{shown}: {id:?} does not wait");
                    let held = id == ProcessId::Main && run.plan.after.iter().any(|id| run.is_awaited(*id));
                    assert!(!held, "{shown}: the process does not wait for those that it comes after");
                    self.alive.insert(id, Life::Requested);
                }
                Effect::Signal(id, libc::SIGKILL) | Effect::SignalGroup(id, libc::SIGKILL) => {
                    self.alive.entry(id).and_modify(|life| *life = Life::Dying);
                }
                Effect::SignalSurvivors(number) | Effect::SignalLatecomers(number) => {
                    self.survivors = true;
                    if number == libc::SIGKILL {
                        self.alive.values_mut().for_each(|life| *life = Life::Dying);
                    }
                }
                Effect::RestartLease(Some(_)) => drop(self.pending.insert(Pending::RestartPermission)),
                Effect::RestartLease(None) => drop(self.pending.remove(&Pending::RestartPermission)),
                Effect::AwaitGroup(id) => drop(self.groups.insert(id)),
                Effect::Announce(readiness) => {
                    assert_ne!(announced, Readiness::Stopped, "{shown}: a heartbeat after the stop began");
                    assert!(readiness != Readiness::Ready || (ready && run.shutdown.is_none()), "{shown}: ready in the shutdown");
                    if readiness == Readiness::Stopped {
                        self.pending.insert(Pending::Withdrawal);
                    }
                }
                Effect::Exit(code) => {
                    assert!(self.alive.is_empty(), "{shown}: {:?} are left behind", self.alive);
                    assert_eq!(run.ending().map(|ending| ending.code), Some(code), "{shown}");
                    self.exit = Some(code);
                }
                _ => {}
            }
        }
    }
}

/// One drawing for every process.
const fn kind(machine: Machine) -> Machine {
    if let Machine::Process(_) = machine { Machine::Process(ProcessId::Main) } else { machine }
}

/// Walks every state of a run of this plan; returns their number, and from how many of them no path leads to an exit.
fn walk(plan: Plan, transitions: &mut BTreeSet<Transition>) -> (usize, usize) {
    let first = World::new(plan);
    let mut known = HashMap::from([(first.key(), 0_usize)]);
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut exits = Vec::new();
    let mut queue = VecDeque::from([(0, first)]);
    while let Some((number, world)) = queue.pop_front() {
        for event in world.events() {
            let mut next = world.clone();
            next.apply(event, transitions);
            let count = known.len();
            match known.entry(next.key()) {
                Entry::Occupied(entry) => before[*entry.get()].push(number),
                Entry::Vacant(entry) => {
                    assert!(count < MOST, "the walk does not end: {:?} {:?}", world.timers, world.run.lifecycle.processes);
                    entry.insert(count);
                    before.push(vec![number]);
                    if next.exit.is_some() {
                        exits.push(count);
                    } else {
                        queue.push_back((count, next));
                    }
                }
            }
        }
    }
    let mut ends = vec![false; known.len()];
    while let Some(number) = exits.pop() {
        if !std::mem::replace(&mut ends[number], true) {
            exits.extend(&before[number]);
        }
    }
    (known.len(), ends.iter().filter(|ends| !**ends).count())
}

/// The transitions of the drawing under this heading of `docs/architecture.md`.
fn drawn(heading: &str) -> BTreeSet<(String, String)> {
    let text = include_str!("../../../../docs/architecture.md");
    let part = text.split_once(&format!("### {heading}\n")).unwrap_or_else(|| panic!("no drawing of {heading}")).1;
    let part = part.split_once("```mermaid\n").and_then(|(_, part)| part.split_once("```")).unwrap().0;
    let arrow = |line: &str| {
        let (from, to) = line.split_once("-->")?;
        let to = to.split(':').next().unwrap_or_default();
        Some((from.trim().to_owned(), to.trim().to_owned()))
    };
    part.lines().filter_map(arrow).filter(|(from, to)| from != "[*]" && to != "[*]").collect()
}

#[test]
fn every_reachable_state_keeps_the_laws_and_the_drawings_show_every_transition() {
    let mut transitions = BTreeSet::new();
    let plans = [
        ("whole", whole as fn() -> Plan),
        ("again", again),
        ("beside", beside),
        ("behind proxy", behind_proxy),
        ("after module", after_module),
        ("stepped", stepped),
    ];
    for (name, plan) in plans {
        let (states, endless) = walk(plan(), &mut transitions);
        println!("{name}: {states} states");
        assert_eq!(endless, 0, "{name}: from some states no path leads to an exit");
    }
    let mut differences = Vec::new();
    let drawings = [(Machine::Start, "The start"), (Machine::Process(ProcessId::Main), "A process"), (Machine::Shutdown, "The shutdown")];
    for (machine, heading) in drawings {
        let seen = transitions.iter().filter(|transition| transition.machine == machine);
        let seen: BTreeSet<(String, String)> = seen.map(|seen| (seen.from.to_owned(), seen.to.to_owned())).collect();
        let drawn = drawn(heading);
        let lines = |verb: &str, these: Vec<&(String, String)>| {
            these.into_iter().map(|(from, to)| format!("{heading} {verb} {from} --> {to}")).collect::<Vec<_>>()
        };
        differences.extend(lines("lacks", seen.difference(&drawn).collect()));
        differences.extend(lines("invents", drawn.difference(&seen).collect()));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
