//! The record of an instance for readers of the registry.

use serde_json::json;

use super::HeartbeatWriter;
use crate::heartbeat::identity::Who;
use crate::heartbeat::instances::LONGEST_PAYLOAD;
use crate::probe::redis::Session;
use crate::state::event::Readiness;
use crate::state::snapshot::{Look, ModuleState, Snapshot, Status};
use crate::view;

impl HeartbeatWriter {
    /// The record of this instance for readers of the registry.
    pub(super) fn payload(&self, state: Readiness, who: &Who, session: &Session, snapshot: &Snapshot, look: Look) -> String {
        let mut payload = json!({
            "v": 1,
            "service": snapshot.service.name,
            "instance": who.id,
            "state": payload_word(state, snapshot.overall(look)),
            "phase": snapshot.phase.word(),
            "since": self.since.as_millis() as u64,
            "seq": who.sequence,
            "mode": snapshot.service.mode,
            "version": snapshot.service.version,
            "build": snapshot.service.build,
            "host": self.host,
            "addr": session.local().map(|address| address.to_string()),
            "ttl": self.plan.ttl.as_secs(),
            "interval": self.plan.every.as_secs(),
            "reason": view::why(snapshot, look),
        });
        let modules = modules(snapshot);
        if let Some(modules) = modules {
            payload["modules"] = modules;
        }
        shortened(payload)
    }
}

/// The instance's status in words.
const fn payload_word(state: Readiness, status: Status) -> &'static str {
    match (state, status) {
        (Readiness::Stopped, _) => "STOPPED",
        (_, Status::Unknown) => "UNKNOWN",
        (_, Status::Up) => "UP",
        (_, Status::Down | Status::OutOfService) => "DOWN",
    }
}

/// The number of modules, of running ones, and the names of the others; none without modules.
fn modules(snapshot: &Snapshot) -> Option<serde_json::Value> {
    const NAMED: usize = 5;
    let up = snapshot.modules.iter().filter(|module| module.state == ModuleState::Activated).count();
    let down = snapshot.modules.iter().filter(|module| module.state == ModuleState::Broken).map(|module| module.name.as_str());
    let down: Vec<&str> = down.take(NAMED).collect();
    (!snapshot.modules.is_empty()).then(|| json!({ "all": snapshot.modules.len(), "up": up, "down": down }))
}

/// The payload as text; if it is too long, the reason is shortened first, then the parts that are only for people are dropped.
fn shortened(mut payload: serde_json::Value) -> String {
    let over = payload.to_string().len().saturating_sub(LONGEST_PAYLOAD);
    if over > 0 {
        let reason = payload["reason"].as_str().unwrap_or_default();
        let room = reason.len().saturating_sub(over.saturating_add("\u{2026}".len()));
        // The longest prefix that fits and ends between two characters.
        let kept = (0..=room).rev().find_map(|end| reason.get(..end)).unwrap_or_default();
        payload["reason"] = if kept.is_empty() { serde_json::Value::Null } else { format!("{kept}\u{2026}").into() };
    }
    for less in ["build", "host", "addr", "version", "mode", "modules"] {
        if payload.to_string().len() <= LONGEST_PAYLOAD {
            break;
        }
        if let Some(value) = payload.get_mut(less) {
            *value = serde_json::Value::Null;
        }
    }
    payload.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_and_status_have_their_own_words() {
        assert_eq!(payload_word(Readiness::Ready, Status::Down), "DOWN");
        assert_eq!(payload_word(Readiness::Ready, Status::Up), "UP");
        assert_eq!(payload_word(Readiness::NotReady, Status::OutOfService), "DOWN");
        assert_eq!(payload_word(Readiness::Stopped, Status::Unknown), "STOPPED");
    }

    #[test]
    fn a_long_payload_loses_what_is_only_for_people() {
        let long = "h".repeat(400);
        let text = shortened(json!({ "instance": "i".repeat(63), "host": long, "addr": "10.0.0.1", "version": "0.1.0", "mode": "api" }));
        assert!(text.len() <= LONGEST_PAYLOAD);
        assert!(text.contains(r#""host":null"#) && text.contains(r#""addr":"10.0.0.1""#), "{text}");
        assert_eq!(shortened(json!({ "host": "a" })), r#"{"host":"a"}"#);
        let wordy = shortened(json!({ "host": "a", "reason": "\u{fc}\"".repeat(300) }));
        assert!(wordy.len() <= LONGEST_PAYLOAD && wordy.contains(r#""host":"a""#) && wordy.contains('\u{2026}'), "{wordy}");
    }
}
