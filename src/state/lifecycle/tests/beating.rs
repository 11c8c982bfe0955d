//! A readiness that waits for its heartbeat: what fails, what is reported all the same, and what does not change.

use super::*;
use crate::plan::ModulePlan;
use crate::plan::module::ModuleStart;
use crate::plan::reload::Reload;
use crate::state::event::Readiness;
use crate::state::snapshot::{HEARTBEAT, Level, Look, Status};

/// [`full`], with a heartbeat that readiness waits for.
fn required() -> Plan {
    let full = full();
    Plan { heartbeat: full.heartbeat.clone().map(|heartbeat| HeartbeatPlan { required: true, ..heartbeat }), ..full }
}

/// A run of [`required`] whose process is up, and whose heartbeat has no result yet.
fn up() -> (Run, Vec<Effect>) {
    let mut run = Run::of(required());
    let way = way_to(Phase::Running).into_iter().filter(|event| !matches!(event, Event::Beaten(_)));
    let effects = run.all(way);
    (run, effects)
}

/// What /livez, /startupz, /readyz and the deep answers would say.
fn verdicts(run: &Run) -> [bool; 4] {
    let look = Look::fresh(run.now);
    [Level::Live, Level::Started, Level::Ready, Level::Deep].map(|level| run.lifecycle.snapshot().verdict(level, look))
}

fn failing(run: &Run) -> Vec<(String, ErrorKind)> {
    let items = run.lifecycle.snapshot().assess(Look::fresh(run.now)).items(Level::Ready).into_iter();
    items.filter(|item| !item.passes).map(|item| (item.name.to_owned(), item.kind)).collect()
}

const NOT_READY: [bool; 4] = [true, true, false, false];

#[test]
fn ready_once_the_first_heartbeat_is_written_and_again_once_one_is() {
    let (mut run, _) = up();
    assert_eq!((verdicts(&run), failing(&run)), (NOT_READY, vec![(HEARTBEAT.to_owned(), ErrorKind::Never)]));
    for round in 0..2 {
        assert_eq!(run.apply(Event::Beaten(Ok(()))), [], "round {round}");
        assert_eq!((verdicts(&run), failing(&run)), ([true; 4], vec![]), "round {round}");
        assert_eq!(run.lifecycle.snapshot().overall(Look::fresh(run.now)), Status::Up);
        // The first that fails is enough, whatever the reason.
        for kind in [ErrorKind::Refused, ErrorKind::Auth] {
            assert_eq!(run.apply(Event::Beaten(Err(kind))), [], "neither the process nor the heartbeat hears of it");
            assert_eq!((verdicts(&run), failing(&run)), (NOT_READY, vec![(HEARTBEAT.to_owned(), kind)]), "round {round}");
        }
        assert_eq!(run.lifecycle.snapshot().overall(Look::fresh(run.now)), Status::Down);
    }
    assert_eq!(run.phase(), Phase::Running);
}

#[test]
fn what_is_published_to_redis_does_not_depend_on_the_heartbeat() {
    let (mut run, effects) = up();
    assert!(effects.contains(&Effect::Announce(Readiness::Ready)), "{effects:?}");
    run.apply(Event::Beaten(Err(ErrorKind::Timeout)));
    let published = run.lifecycle.snapshot().as_published();
    let look = Look::fresh(run.now);
    assert!(published.check(HEARTBEAT).is_none() && published.verdict(Level::Deep, look) && published.overall(look) == Status::Up);
    // Other failures are reported.
    let effects = run.all([refused(), refused()].map(|outcome| Event::Probed(1, outcome)));
    assert_eq!(effects, [Effect::Announce(Readiness::NotReady)]);
    assert!(!run.lifecycle.snapshot().as_published().verdict(Level::Ready, Look::fresh(run.now)));
}

#[test]
fn a_stop_withdraws_what_was_announced_though_it_was_never_written() {
    let (mut run, _) = up();
    let effects = run.apply(signal(libc::SIGTERM));
    assert!(effects.contains(&Effect::Announce(Readiness::Stopped)), "{effects:?}");
}

#[test]
fn a_heartbeat_before_the_process_runs_counts_and_is_not_a_start() {
    let mut run = Run::of(required());
    run.apply(Event::Begin);
    run.apply(Event::Beaten(Ok(())));
    assert_eq!(verdicts(&run), [true, false, false, false]);
    run.all(way_to(Phase::Running).into_iter().skip(1).filter(|event| !matches!(event, Event::Beaten(_))));
    assert_eq!(verdicts(&run), [true; 4]);
}

#[test]
fn a_reload_keeps_what_is_known_of_the_beats() {
    let old = Plan { heartbeat: required().heartbeat, modules: Vec::new(), ..bare() };
    let mut run = Run::of(old.clone());
    run.all([Event::Begin, Event::Spawned(ProcessId::Main, PID), Event::Beaten(Err(ErrorKind::Refused))]);
    let module = ModulePlan { start: ModuleStart::OnDemand, ..modules::module(0) };
    let new = Plan { checks: vec![check("db", 0, Affects::Health)], modules: vec![module], ..old.clone() };
    run.apply(Event::Reloaded(Arc::new(Reload::new(&old, new).unwrap().plan)));
    assert_eq!(run.lifecycle.snapshot().reloads, 1);
    assert_eq!(failing(&run), [(HEARTBEAT.to_owned(), ErrorKind::Refused)]);
}

#[test]
fn by_default_readiness_does_not_hang_on_it() {
    let mut run = run_in(Phase::Running);
    run.apply(Event::Beaten(Err(ErrorKind::Refused)));
    assert_eq!((verdicts(&run), run.lifecycle.snapshot().check(HEARTBEAT).is_none()), ([true; 4], true));
}
