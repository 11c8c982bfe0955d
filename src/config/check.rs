//! `[checks.NAME]`: what is probed, when and how often, and what the result counts for.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::condition::Condition;
use crate::config::interpolate::Text;
use crate::config::target::TargetKeys;
use crate::config::values::{DAY, Deferred, Maybe, Number, Span, YEAR};

/// The form of the name of a check or a module.
const NAME: &str = "^[a-z0-9][a-z0-9_.-]{0,62}$";

/// Names that have another meaning in one of the health responses.
pub const RESERVED: [&str; 17] = [
    "status",
    "_meta",
    "ping",
    "scheduler",
    "supervisor",
    "startup",
    "shutdown",
    "liveness",
    "readiness",
    "livenessState",
    "readinessState",
    "uptime",
    "version",
    "modules",
    "app",
    "main",
    "heartbeat",
];

/// The schema of these names.
pub fn names() -> serde_json::Value {
    json!({ "pattern": NAME, "not": { "enum": RESERVED } })
}

/// What the result of a check, or the running state of a module, counts for (`readiness` and `liveness` include `health`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Affects {
    /// It is shown but does not count.
    None,
    /// `/healthz` and the other deep health responses.
    #[default]
    Health,
    /// Also `/readyz` and the heartbeat.
    Readiness,
    /// `/healthz` and `/livez`: opt-in, because an orchestrator kills the container when `/livez` fails.
    Liveness,
}

impl Affects {
    /// Whether it counts for the deep health responses.
    pub const fn health(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether it counts for readiness.
    pub const fn readiness(self) -> bool {
        matches!(self, Self::Readiness)
    }

    /// Whether it counts for liveness.
    pub const fn liveness(self) -> bool {
        matches!(self, Self::Liveness)
    }
}

/// What happens when a check that was up goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnDown {
    /// It is shown and counts.
    #[default]
    Report,
    /// Its process (that of its module, else the main process) is stopped in the configured way and started again, within its restart limits and
    /// back-off; with a heartbeat, by one replica of the service at a time.
    Restart,
}

/// What a missing database means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum MissingDatabase {
    /// It is not ready.
    #[default]
    Wait,
    /// It counts as ready until it has existed once: the migration creates it.
    Ready,
}

/// When and how often a target is probed, and what the result counts for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Watching {
    /// Several HTTP endpoints that are probed in parallel and give one result, instead of one target.
    #[schemars(extend("minItems" = 1))]
    pub targets: Deferred<Vec<Endpoint>>,
    /// How many of several endpoints are probed at a time.
    pub parallel: Number<1, 64>,
    /// The check exists only if this condition holds.
    pub when: Deferred<Condition>,
    /// Keys that override those of the check; the first variant whose `when` holds applies.
    pub variants: Deferred<Vec<CheckVariant>>,
    /// How long the start waits for it; `"0s"` means not at all. By default 60s, and 0s for the process, a module and a check of a module.
    pub wait: Option<Span<0, YEAR>>,
    /// What its result counts for.
    pub affects: Affects,
    /// The pause between two probes while running; the actual pause is up to a tenth longer. By default 5s.
    pub interval: Option<Span<100, DAY>>,
    /// How long one probe may take; with several targets, how long each may take.
    pub timeout: Span<10, 600_000>,
    /// How many failures in a row change its state to down.
    pub failure_threshold: Number<1, 1000>,
    /// How many successes in a row change its state to up again.
    pub success_threshold: Number<1, 1000>,
    /// Whether a refused login or a missing database ends the wait at once, with 69.
    pub fail_fast: bool,
    /// What a missing database means.
    pub missing_database: MissingDatabase,
    /// What happens when it goes down after having been up: `restart` stops its process (that of its module, else the main one) and starts it again.
    pub on_down: OnDown,
    /// Allows `affects = "liveness"` and `on_down = "restart"` with a target outside the container.
    pub i_know: bool,
}

impl Default for Watching {
    fn default() -> Self {
        Self {
            targets: Deferred::default(),
            parallel: const { Number::of(8) },
            when: Deferred::default(),
            variants: Deferred::default(),
            wait: None,
            affects: Affects::default(),
            interval: None,
            timeout: const { Span::of(2000) },
            failure_threshold: const { Number::of(3) },
            success_threshold: const { Number::of(1) },
            fail_fast: false,
            missing_database: MissingDatabase::default(),
            on_down: OnDown::default(),
            i_know: false,
        }
    }
}

/// A dependency that is waited for and then checked while running.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "check", deny_unknown_fields)]
pub struct CheckSection {
    /// When and how often it is probed, and what it counts for.
    #[serde(flatten)]
    pub watching: Watching,
    /// The target.
    #[serde(flatten)]
    pub target: TargetKeys,
}
crate::union!(CheckSection { watching: Watching, target: TargetKeys });

/// Keys that override those of a check if `when` holds.
#[derive(Clone, Debug, Serialize)]
pub struct CheckVariant(CheckSection);

impl JsonSchema for CheckVariant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "variant".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = generator.subschema_for::<CheckSection>();
        schema.insert("required".to_owned(), json!(["when"]));
        schema
    }
}

/// The keys of an endpoint besides its target.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Label {
    /// Its name in messages and health responses; by default its number.
    pub name: Maybe<Text>,
}

/// One of several HTTP endpoints of a check.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "endpoint", deny_unknown_fields)]
pub struct Endpoint {
    /// Its name.
    #[serde(flatten)]
    pub label: Label,
    /// The target.
    #[serde(flatten)]
    pub target: TargetKeys,
}
crate::union!(Endpoint { label: Label, target: TargetKeys });
