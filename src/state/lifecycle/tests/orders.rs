//! Orders to modules in the reducer, at every moment: before the process starts, during a pause, and when the orders themselves change.

use super::modules::{ONE, module};
use super::*;
use crate::state::event::Order;
use crate::state::snapshot::ModuleState;

const PROCESS: ProcessId = ProcessId::Module(ONE);

fn spawns(effects: &[Effect]) -> bool {
    effects.contains(&Effect::Spawn(PROCESS))
}

#[test]
fn the_last_order_before_the_process_starts_holds() {
    for (orders, starts) in [
        (vec![Order::Stop(ONE)], false),
        (vec![Order::Start(ONE), Order::Stop(ONE)], false),
        (vec![Order::Stop(ONE), Order::Start(ONE)], true),
        (vec![Order::Restart(ONE)], true),
        (Vec::new(), true),
    ] {
        let mut run = Run::of(Plan { modules: vec![module(0)], ..full() });
        run.apply(Event::Begin);
        run.all(orders.iter().map(|order| Event::Asked(*order)));
        let effects: Vec<Effect> = way_to(Phase::Running)[1..].iter().flat_map(|event| run.apply(event.clone())).collect();
        assert_eq!(run.phase(), Phase::Running);
        assert_eq!(spawns(&effects), starts, "{orders:?}");
        assert_eq!(run.state(ONE), if starts { ModuleState::Starting } else { ModuleState::Deactivated }, "{orders:?}");
        assert!(starts || run.lifecycle.snapshot().stage("module:m0").is_none(), "{orders:?}: what was stopped counts for nothing");
    }
}
