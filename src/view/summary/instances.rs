//! The instances of the service in the registry, in a few words each.

use std::fmt::Write;
use std::time::Duration;

use crate::state::check::State;
use crate::state::event::Readiness;
use crate::state::instances::{Instance, Instances};
use crate::state::snapshot::{Look, Phase, Snapshot, Status};
use crate::view::time;

/// The usual time to live of a record: older readings are outdated.
const OLD: Duration = Duration::from_secs(60);

/// The number of instances of the service; none if unknown.
pub(in crate::view) fn instances(snapshot: &Snapshot, look: Look) -> Option<String> {
    let known = snapshot.instances.as_ref()?;
    Some(format!("{} of {} ready, read from Redis {} ago", known.ready, known.all, time::rough(look.now.since(known.read))))
}

/// Whether the last reading is too old: they are read with each heartbeat.
pub(in crate::view) fn instances_are_old(known: &Instances, look: Look) -> bool {
    look.now.since(known.read) > OLD
}

/// One instance in a few words, and its state.
pub(in crate::view) fn instance(instance: &Instance, look: Look) -> (State, String) {
    let phase = instance.phase.map_or("starting", Phase::word);
    let mut words = match instance.readiness {
        Readiness::Ready => "ready".to_owned(),
        Readiness::NotReady | Readiness::Stopped => "not ready".to_owned(),
        Readiness::Unknown => phase.to_owned(),
    };
    if let Some(since) = instance.since {
        let _ = write!(words, " for {}", time::rough(look.now.wall.saturating_sub(since)));
    }
    let ails = instance.status == Some(Status::Down);
    match instance.readiness {
        Readiness::NotReady | Readiness::Stopped => _ = write!(words, ", {phase}"),
        Readiness::Ready if ails => words.push_str(", but DOWN"),
        Readiness::Ready | Readiness::Unknown => {}
    }
    if instance.late {
        let _ = write!(words, ", silent for {}", time::rough(instance.silent));
    }
    let state = match instance.readiness {
        Readiness::NotReady | Readiness::Stopped => State::Down,
        Readiness::Unknown => State::Unknown,
        Readiness::Ready if ails || instance.late => State::Degraded,
        Readiness::Ready => State::Up,
    };
    (state, words)
}
