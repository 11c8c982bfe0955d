//! The reducer's rules: one run in order, every exit, every signal, and laws on random runs.

mod beating;
mod first;
mod forwarding;
mod hanging;
mod healing;
mod laws;
mod migrating;
mod modules;
mod neighbours;
mod order;
mod orders;
mod reloading;
mod restarting;
mod shutdown;
mod stepping;
mod table;
mod walk;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::super::event::{Effect, Event, LockNews, ProcessId, ProcessTimer, Timer, Watch};
use super::super::snapshot::{Level, Look, Phase};
use super::Lifecycle;
use crate::clock::Moment;
use crate::exit::Ended;
use crate::outcome::{ErrorKind, Outcome};
use crate::plan::argv::{Argv, Word};
use crate::plan::process::{RestartPlan, SignalPlan, StartSign};
use crate::plan::target::{Address, RedisPlace, RedisTarget, Target};
use crate::plan::{Affects, CheckPlan, HeartbeatPlan, LockPlan, MigrationPlan, Plan, ProcessPlan, Service, StartedPlan};

/// The pid of every process of these tests.
const PID: i32 = 42;

impl Lifecycle {
    /// Readiness, which is derived from what changed, is that of the whole assessment; called after every event of every test.
    pub(super) fn is_as_assessed(&self, now: Moment) {
        let (snapshot, fresh) = (&self.snapshot, Look::fresh(now));
        assert_eq!(snapshot.is_ready(now), snapshot.verdict(Level::Ready, fresh));
        assert_eq!(snapshot.is_ready_but_for_heartbeat(now), snapshot.as_published().verdict(Level::Ready, fresh));
        // What a module waits for is only looked at while it waits.
        for module in snapshot.modules.iter().filter(|_| self.shutdown.is_none() && self.ending.is_none()) {
            let other = self.held_up_by(module.id, &mut BTreeSet::new()).and_then(|id| self.plan.module(id));
            assert_eq!(module.held_up_by.as_ref(), other.map(|other| &other.name), "{module:?}");
        }
    }
}

fn target() -> Target {
    Target::Tcp(Address { host: "db".to_owned(), port: 5432 })
}

fn check(name: &str, wait: u64, affects: Affects) -> CheckPlan {
    CheckPlan {
        name: name.to_owned(),
        target: target(),
        wait: Duration::from_secs(wait),
        fail_fast: false,
        creates_database: false,
        affects,
        interval: Duration::from_secs(5),
        rate_limited: false,
        timeout: Duration::from_secs(2),
        failure_threshold: 2,
        success_threshold: 1,
        on_down: crate::plan::OnDown::default(),
    }
}

fn process() -> ProcessPlan {
    ProcessPlan { stop_timeout: Duration::from_secs(8), ..ProcessPlan::new(Argv::new(vec![Word::plain("serve")]).unwrap()) }
}

/// Only a process.
fn bare() -> Plan {
    let service =
        Service { name: "api".to_owned(), mode: None, instance: "one".to_owned(), host: String::new(), version: None, build: "0.1.0" };
    Plan { main: Some(process()), ..Plan::of(service) }
}

/// A plan with everything: a wait, a check that is not waited for, a migration, a startup check, a heartbeat, a drain delay.
fn full() -> Plan {
    let sign = StartSign::Answers { target: Box::new(target()), timeout: Duration::from_secs(2) };
    let started = StartedPlan { sign, within: Duration::from_secs(120) };
    let address = Address { host: "redis".to_owned(), port: 6379 };
    Plan {
        checks: vec![check("db", 60, Affects::Health), check("search", 0, Affects::Readiness)],
        migration: Some(MigrationPlan {
            lock_timeout: Duration::from_secs(60),
            timeout: Duration::from_secs(600),
            ..MigrationPlan::new(process(), LockPlan::None)
        }),
        main: Some(ProcessPlan { started: Some(started), drain_delay: Duration::from_secs(5), ..process() }),
        heartbeat: Some(HeartbeatPlan {
            target: RedisPlace::One(RedisTarget { address, username: None, password: None, database: 0, tls: None }),
            key: "api_service_status".to_owned(),
            ttl: Duration::from_secs(60),
            every: Duration::from_secs(20),
            simple: false,
            exclusive: false,
            required: false,
        }),
        ..bare()
    }
}

/// A run with its clock, which advances by a second with every event.
#[derive(Clone)]
struct Run {
    lifecycle: Lifecycle,
    now: Moment,
}

impl Run {
    fn of(plan: Plan) -> Self {
        let now = Moment::default().after(Duration::from_secs(100));
        Self { lifecycle: Lifecycle::new(Arc::new(plan), now), now }
    }

    fn apply(&mut self, event: Event) -> Vec<Effect> {
        self.now = self.now.after(Duration::from_secs(1));
        self.lifecycle.apply(self.now, event)
    }

    /// Applies all, and returns the effects of the last one.
    fn all(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<Effect> {
        events.into_iter().map(|event| self.apply(event)).last().unwrap_or_default()
    }

    fn phase(&self) -> Phase {
        self.lifecycle.snapshot().phase
    }

    /// The exit code and its sentence, once they are decided.
    fn ending(&self) -> (u8, &str) {
        let ending = self.lifecycle.ending().unwrap();
        (ending.code, &ending.sentence)
    }
}

fn passed() -> Outcome {
    Outcome::passed(Duration::from_millis(3))
}

fn refused() -> Outcome {
    Outcome::failed(ErrorKind::Refused, "", Duration::from_millis(1))
}

fn signal(number: i32) -> Event {
    Event::Signalled(number)
}

/// The events that lead a run of [`full`] into `phase`.
fn way_to(phase: Phase) -> Vec<Event> {
    let way = [
        (Phase::Waiting, vec![Event::Begin]),
        (Phase::Migrating, vec![Event::Probed(0, passed())]),
        (
            Phase::Starting,
            vec![
                Event::Lock(LockNews::Held),
                Event::Spawned(ProcessId::Migration, PID),
                Event::Exited(ProcessId::Migration, Ended::Code(0)),
                Event::GroupGone(ProcessId::Migration),
                Event::Lock(LockNews::Released),
                Event::Spawned(ProcessId::Main, PID),
            ],
        ),
        (Phase::Running, vec![Event::StartupProbed(ProcessId::Main, passed()), Event::Probed(1, passed()), Event::Beaten(Ok(()))]),
        (Phase::Draining, vec![signal(libc::SIGTERM)]),
        (Phase::Stopped, vec![Event::Exited(ProcessId::Main, Ended::Code(0))]),
    ];
    if phase == Phase::Failed {
        let mut events = way_to(Phase::Starting);
        events.push(Event::Elapsed(Timer::Process(ProcessId::Main, ProcessTimer::Limit)));
        return events;
    }
    let mut events = Vec::new();
    if phase == Phase::Init {
        return events;
    }
    for (reached, part) in way {
        events.extend(part);
        if reached == phase {
            break;
        }
    }
    events
}

fn run_in(phase: Phase) -> Run {
    let mut run = Run::of(full());
    run.all(way_to(phase));
    assert_eq!(run.phase(), phase);
    run
}

fn exit_of(effects: &[Effect]) -> Option<u8> {
    effects.iter().find_map(|effect| if let Effect::Exit(code) = effect { Some(*code) } else { None })
}
