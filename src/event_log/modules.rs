//! Logs the changes of each module.

use tracing::{info, warn};

use super::record_restart_limit;
use crate::clock::Moment;
use crate::plan::ModuleId;
use crate::state::snapshot::{Module, ModuleState, Phase, Snapshot};

/// Logs what is different in `after`.
pub(super) fn record(before: &Snapshot, after: &Snapshot) {
    for (new, old) in after.modules.changed(&before.modules, |old, new| old.id == new.id) {
        record_module(old, new, after.phase);
    }
}

/// Logs for each of these that the start still waits for it.
pub(super) fn awaited(snapshot: &Snapshot, needed: &[ModuleId], now: Moment) -> Vec<String> {
    let waits = |module: &&Module| matches!(module.state, ModuleState::Starting | ModuleState::Broken) && needed.contains(&module.id);
    let line = |module: &Module| format!("still waiting for module {}, {}s", module.name, now.since(module.since).as_secs());
    snapshot.modules.iter().filter(waits).map(line).collect()
}

fn record_module(old: &Module, new: &Module, phase: Phase) {
    let name = &new.name;
    record_restart_limit(&format!("module {name}"), &old.child, &new.child);
    if let (None, Some(pid)) = (old.child.pid, new.child.pid) {
        info!("module {name} runs as pid {pid}");
    }
    if let Some(why) = new.trouble.as_ref().filter(|why| old.trouble.as_ref() != Some(why) || old.child.restarts != new.child.restarts) {
        let next = if new.child.restarts > old.child.restarts { "; it will be restarted after a pause" } else { "" };
        warn!("module {name} is down: {why}{next}");
    }
    if old.state == new.state {
        return;
    }
    match (new.state, &new.child.last_exit) {
        (ModuleState::Activated, _) => info!("module {name} is up"),
        (ModuleState::Stopping, _) => info!("stopping module {name}"),
        (ModuleState::Deactivated, Some(ended)) if old.state == ModuleState::Stopping => info!("module {name} ended with {ended}"),
        (ModuleState::Deactivated, _) if phase == Phase::Running => info!("module {name} is stopped"),
        _ => {}
    }
}
