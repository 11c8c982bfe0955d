//! Laws on random runs with modules: forward only, one exit, started in order and stopped in reverse order, and no process left behind.

use std::collections::{BTreeMap, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;

use super::modules::{checked, module};
use super::table::may_follow;
use super::*;
use crate::plan::module::{ModuleStart, OnExit, Predecessor};
use crate::plan::process::RestartPolicy;
use crate::plan::{ModuleId, ModulePlan};
use crate::state::event::Order;
use crate::state::snapshot::{Level, Look, ModuleState, Status};

const MODULES: u32 = 4;

prop_compose! {
    /// Modules that start before everything, after main, after those with a smaller number, or in no order.
    fn plans()(
        seeds in vec((any::<[bool; 7]>(), 0..3u8, 0..3u8), 0..=MODULES as usize),
    ) -> Vec<ModulePlan> {
        let mut before_is_first = true;
        let plan = |(index, (flags, on_exit, policy)): (usize, ([bool; 7], u8, u8))| {
            let [first, after_main, after_last, on_demand, counts, has_check, all] = flags;
            let number = index as u32;
            let first = first && !after_main && (!after_last || before_is_first);
            before_is_first = first;
            let mut after = Vec::new();
            after.extend(after_main.then_some(Predecessor::Main));
            after.extend((after_last && number > 0).then(|| Predecessor::Module(ModuleId(number - 1))));
            let policy = [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always][policy as usize];
            let affects = if all { Affects::Readiness } else { Affects::Health };
            let plan = ModulePlan {
                after,
                start: match () {
                    () if first => ModuleStart::First,
                    () if on_demand => ModuleStart::OnDemand,
                    () => ModuleStart::WithMain,
                },
                counts,
                affects,
                on_exit: [OnExit::Ignore, OnExit::Degrade, OnExit::StopAll][on_exit as usize],
                ..module(number)
            };
            let restart = RestartPlan { policy, limit: 2, ..RestartPlan::default() };
            let plan = ModulePlan { process: ProcessPlan { restart, ..plan.process }, ..plan };
            if has_check { checked(plan) } else { plan }
        };
        seeds.into_iter().enumerate().map(plan).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    /// A module's startup check runs.
    Probe(u32, bool),
    /// A process ends by itself.
    Ends(Option<u32>, u8),
    Order(u32, u8),
    Signal(i32),
    Timer,
    /// A process that got a stop signal ends, or a group is found empty.
    Answer,
}

fn happening() -> impl Strategy<Value = Happening> {
    let number = || 0..MODULES;
    prop_oneof![
        4 => (number(), prop::bool::weighted(0.7)).prop_map(|(id, passes)| Happening::Probe(id, passes)),
        3 => (number(), any::<u8>()).prop_map(|(id, code)| Happening::Ends(Some(id), code)),
        1 => (0..20u8).prop_map(|code| Happening::Ends(None, code)),
        4 => (number(), 0..3u8).prop_map(|(id, order)| Happening::Order(id, order)),
        1 => prop::sample::select(vec![libc::SIGTERM, libc::SIGHUP]).prop_map(Happening::Signal),
        3 => Just(Happening::Timer),
        6 => Just(Happening::Answer),
    ]
}

/// The run, its processes and its timers.
struct World {
    run: Run,
    plans: Vec<ModulePlan>,
    timers: HashMap<Timer, Moment>,
    alive: BTreeMap<ProcessId, i32>,
    dying: Vec<ProcessId>,
    groups: Vec<ProcessId>,
    stubborn: bool,
    next_pid: i32,
    /// Whether the process may get its stop signal before the end of those that started after it.
    hurried: bool,
    survivors_signalled: bool,
    exit: Option<u8>,
}

impl World {
    /// If it `waits`, the process starts after every module that can be waited for.
    fn new(plans: Vec<ModulePlan>, stubborn: bool, waits: bool) -> Self {
        let mut world = Self {
            run: Run::of(bare()),
            plans,
            timers: HashMap::new(),
            alive: BTreeMap::new(),
            dying: Vec::new(),
            groups: Vec::new(),
            stubborn,
            next_pid: 100,
            hurried: false,
            survivors_signalled: false,
            exit: None,
        };
        let before = world.plans.iter().filter(|plan| waits && !world.is_behind_main(plan.id));
        let after = before.map(|plan| plan.id).collect();
        world.run = Run::of(Plan { modules: world.plans.clone(), after, ..bare() });
        world
    }

    fn apply(&mut self, event: Event) {
        let (before, shown) = (self.run.phase(), format!("{event:?}"));
        let effects = self.run.apply(event);
        if self.exit.is_some() {
            assert_eq!(effects, [], "{shown} after the exit");
            return;
        }
        assert!(may_follow(before, self.run.phase()), "{shown}: {before:?} to {:?}", self.run.phase());
        self.laws(&shown);
        let mut news = Vec::new();
        for (index, effect) in effects.iter().enumerate() {
            self.perform(*effect, &shown, &mut news);
            assert!(self.exit.is_none() || index + 1 == effects.len(), "{shown}: {effects:?}");
        }
        // The main process' events come first, as in the supervisor.
        news.sort_by_key(|id| *id != ProcessId::Main);
        for id in news {
            self.next_pid += 1;
            let pid = self.next_pid;
            self.alive.insert(id, pid);
            self.apply(Event::Forked(id));
            self.apply(Event::Spawned(id, pid));
        }
    }

    fn laws(&self, shown: &str) {
        let snapshot = self.run.lifecycle.snapshot();
        let look = Look::fresh(self.run.now);
        let [live, started, ready, deep] =
            [Level::Live, Level::Started, Level::Ready, Level::Deep].map(|level| snapshot.verdict(level, look));
        assert!(!ready || (live && started && snapshot.phase == Phase::Running), "{shown}");
        assert!(!deep || ready, "{shown}");
        assert_eq!(snapshot.overall(look) == Status::Up, deep && snapshot.phase == Phase::Running, "{shown}");
        for module in snapshot.modules.iter() {
            let plan = &self.plans[module.id.0 as usize];
            let up = module.state == ModuleState::Activated;
            let shown = format!("{shown}: {module:?}");
            assert!(!up || module.child.pid.is_some(), "{shown} is up without a process");
            let counted = plan.counts && matches!(module.state, ModuleState::Starting);
            let overall = snapshot.overall(look);
            assert!(!counted || overall != Status::Up, "{shown} counts, starts, and the whole is up");
            let unseen = !plan.counts && module.state == ModuleState::Starting;
            assert!(!unseen || snapshot.assess(look).checks_of(module).next().is_none(), "{shown} does not count and has a check");
            let stopped = matches!(module.state, ModuleState::Resolved | ModuleState::Deactivated);
            let gone = snapshot.phase == Phase::Running && stopped && plan.start == ModuleStart::OnDemand;
            assert!(!gone || plan.on_exit == OnExit::Ignore || snapshot.start_of(module).is_none(), "{shown} is stopped and counts");
        }
    }

    fn perform(&mut self, effect: Effect, shown: &str, news: &mut Vec<ProcessId>) {
        let snapshot = self.run.lifecycle.snapshot();
        match effect {
            Effect::Arm(timer, after) => drop(self.timers.insert(timer, self.run.now.after(after))),
            Effect::Disarm(timer) => drop(self.timers.remove(&timer)),
            Effect::Spawn(id) => {
                let awaited = self.run.lifecycle.plan.after.iter().find(|module| self.run.lifecycle.is_awaited(**module));
                assert!(id != ProcessId::Main || awaited.is_none(), "{shown} starts the process before {awaited:?}");
                assert!(!self.alive.contains_key(&id) && !news.contains(&id), "{shown} spawns {id:?} a second time");
                if let ProcessId::Module(id) = id {
                    for predecessor in &self.plans[id.0 as usize].after {
                        let up = match predecessor {
                            Predecessor::Main => snapshot.phase == Phase::Running,
                            Predecessor::Module(other) => snapshot.modules[other.0 as usize].state == ModuleState::Activated,
                        };
                        assert!(up, "{shown} spawns {id:?} before {predecessor:?} is up");
                    }
                }
                news.push(id);
            }
            Effect::Signal(id, number) => {
                assert!(self.alive.contains_key(&id), "{shown} signals {id:?} which does not run");
                if number == libc::SIGTERM && id == ProcessId::Main {
                    let first = self.alive.keys().find(|id| matches!(id, ProcessId::Module(id) if self.is_behind_main(*id)));
                    assert!(self.hurried || first.is_none(), "{shown} stops the process before {first:?}");
                }
                if let ProcessId::Module(module) = id
                    && number == libc::SIGTERM
                    && self.comes_first(id)
                    && self.run.lifecycle.shutdown.is_some()
                {
                    let others: Vec<_> = self.alive.keys().filter(|other| !self.comes_first(**other)).collect();
                    assert!(others.is_empty(), "{shown} stops {module:?} before {others:?}");
                }
                self.hit(id, number);
            }
            Effect::SignalGroup(id, number) => self.hit(id, number),
            Effect::AwaitGroup(id) => self.groups.push(id),
            Effect::SignalSurvivors(number) | Effect::SignalLatecomers(number) => {
                self.survivors_signalled = true;
                if number == libc::SIGKILL {
                    self.dying = self.alive.keys().copied().collect();
                }
            }
            Effect::Exit(code) => {
                assert_eq!(self.alive, BTreeMap::new(), "{shown} leaves a process behind");
                assert_eq!(self.run.lifecycle.ending().map(|ending| ending.code), Some(code));
                self.exit = Some(code);
            }
            _ => {}
        }
    }

    fn comes_first(&self, id: ProcessId) -> bool {
        matches!(id, ProcessId::Module(id) if self.plans[id.0 as usize].start == ModuleStart::First)
    }

    fn is_behind_main(&self, id: ModuleId) -> bool {
        let plan = &self.plans[id.0 as usize];
        let behind = |predecessor: &Predecessor| match predecessor {
            Predecessor::Main => true,
            Predecessor::Module(other) => self.is_behind_main(*other),
        };
        plan.start == ModuleStart::OnDemand || plan.after.iter().any(behind)
    }

    fn hit(&mut self, id: ProcessId, number: i32) {
        let dies = number == libc::SIGKILL || (number == libc::SIGTERM && !self.stubborn);
        if dies && self.alive.contains_key(&id) && !self.dying.contains(&id) {
            self.dying.push(id);
        }
    }

    fn dies(&mut self, id: ProcessId, ended: Ended) {
        self.dying.retain(|other| *other != id);
        if self.alive.remove(&id).is_some() {
            self.apply(Event::Exited(id, ended));
        }
    }

    fn step(&mut self, step: Happening) {
        let id = |number: u32| ModuleId(number % MODULES.max(1));
        match step {
            Happening::Probe(number, passes) if self.alive.contains_key(&ProcessId::Module(id(number))) => {
                self.apply(Event::StartupProbed(ProcessId::Module(id(number)), if passes { passed() } else { refused() }));
            }
            Happening::Ends(Some(number), code) => self.dies(ProcessId::Module(id(number)), Ended::Code(code % 3)),
            Happening::Ends(None, 0) => self.dies(ProcessId::Main, Ended::Code(0)),
            Happening::Order(number, order) => {
                let order = [Order::Start, Order::Stop, Order::Restart][order as usize](id(number));
                self.apply(Event::Ordered(order));
            }
            Happening::Signal(number) => {
                self.hurried |= number == libc::SIGTERM && self.run.phase() == Phase::Draining;
                self.apply(signal(number));
            }
            // Dying processes have ended before the next timer expires.
            Happening::Timer if !self.dying.is_empty() => drop(self.answer()),
            Happening::Timer => drop(self.fire()),
            Happening::Answer => drop(self.answer()),
            Happening::Probe(..) | Happening::Ends(..) => {}
        }
    }

    fn fire(&mut self) -> bool {
        let next = self.timers.iter().map(|(timer, at)| (*timer, *at)).min_by_key(|(timer, at)| (at.mono, format!("{timer:?}")));
        let Some((timer, at)) = next else { return false };
        self.timers.remove(&timer);
        self.run.now = self.run.now.after(at.since(self.run.now));
        self.hurried |= timer == Timer::Precedence;
        self.apply(Event::Elapsed(timer));
        true
    }

    fn answer(&mut self) -> bool {
        if let Some(id) = self.dying.first().copied() {
            self.dies(id, Ended::Signal(15));
        } else if let Some(id) = self.groups.pop() {
            self.apply(Event::GroupGone(id));
        } else if self.alive.is_empty() && std::mem::take(&mut self.survivors_signalled) {
            self.apply(Event::NoneLeft);
        } else {
            return false;
        }
        true
    }

    fn settle(&mut self) {
        for _ in 0..300 {
            if self.exit.is_some() || !(self.answer() || self.fire()) {
                return;
            }
        }
        panic!("the run does not settle: {:?} {:?} {:?}", self.run.phase(), self.timers, self.alive);
    }
}

/// Any event, whether it is possible here or not.
fn any_event(id: ModuleId, choice: u8) -> Event {
    let process = ProcessId::Module(id);
    let timers = [
        ProcessTimer::Limit,
        ProcessTimer::Grace,
        ProcessTimer::Reap,
        ProcessTimer::Restart,
        ProcessTimer::Watchdog,
        ProcessTimer::WatchdogKill,
    ];
    match choice {
        0..=5 => Event::Elapsed(Timer::Process(ProcessId::Module(id), timers[choice as usize])),
        6 => Event::Spawned(process, PID),
        7 => Event::SpawnFailed(process, 127, "not found".to_owned()),
        8 => Event::SpawnFailed(process, 70, "no room".to_owned()),
        9 => Event::Exited(process, Ended::Code(choice % 3)),
        10 => Event::GroupGone(process),
        11 => Event::StartupProbed(ProcessId::Module(id), passed()),
        12 => Event::StartupProbed(ProcessId::Module(id), refused()),
        13 => Event::Ordered(Order::Start(id)),
        14 => Event::Ordered(Order::Stop(id)),
        15 => Event::Ordered(Order::Restart(id)),
        16 => Event::Spawned(ProcessId::Main, PID),
        17 => Event::Exited(ProcessId::Main, Ended::Code(0)),
        18 => Event::Elapsed(Timer::Precedence),
        19 => Event::NoneLeft,
        20 => Event::Stopped(process, libc::SIGTSTP),
        _ => signal(libc::SIGTERM),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_run_with_modules_keeps_the_laws_and_a_stop_ends_it(plans in plans(), stubborn in any::<bool>(), waits in any::<bool>(), steps in vec(happening(), 0..80)) {
        let mut world = World::new(plans, stubborn, waits);
        world.apply(Event::Begin);
        for step in steps {
            world.step(step);
        }
        world.step(Happening::Signal(libc::SIGTERM));
        world.settle();
        prop_assert!(world.exit.is_some(), "TERM did not end it: {:?} {:?}", world.alive, world.timers);
    }

    #[test]
    fn even_impossible_news_of_modules_never_lead_back(plans in plans(), choices in vec((0..MODULES, 0..22u8), 0..60)) {
        let mut world = World::new(plans, false, true);
        world.run.apply(Event::Begin);
        let mut exits = 0;
        for (number, choice) in choices {
            let before = world.run.phase();
            let effects = world.run.apply(any_event(ModuleId(number), choice));
            prop_assert!(may_follow(before, world.run.phase()), "{number} {choice}: {before:?} to {:?}", world.run.phase());
            prop_assert!(exits == 0 || effects.is_empty());
            exits += effects.iter().filter(|effect| matches!(effect, Effect::Exit(_))).count();
            prop_assert!(exits <= 1);
        }
    }
}
