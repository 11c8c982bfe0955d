//! `[checks.NAME]`: what is asked, when and how often, and what its result counts for.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::config::condition::Condition;
use crate::config::interpolate::Text;
use crate::config::target::TargetKeys;
use crate::config::values::{DAY, Deferred, Maybe, Number, Span, YEAR};

/// What the name of a check or a module looks like.
const NAME: &str = "^[a-z0-9][a-z0-9_.-]{0,62}$";

/// Names that mean something else in one of the health answers.
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

/// What the result of a check, or the running of a module, counts for (`readiness` includes `health`; `liveness` includes `health`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Affects {
    /// It is shown and counts for nothing.
    None,
    /// `/healthz` and the other deep answers.
    #[default]
    Health,
    /// Also `/readyz` and the heartbeat.
    Readiness,
    /// `/healthz` and `/livez`: opt-in, an orchestrator kills by it.
    Liveness,
}

impl Affects {
    /// Whether the deep answers count it.
    pub const fn health(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether readiness counts it.
    pub const fn readiness(self) -> bool {
        matches!(self, Self::Readiness)
    }

    /// Whether liveness counts it.
    pub const fn liveness(self) -> bool {
        matches!(self, Self::Liveness)
    }
}

/// What is done when a check goes down by its thresholds after having been up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnDown {
    /// It is shown and counted.
    #[default]
    Report,
    /// Its process (that of its module, else the main process) is stopped by its own stop protocol and started anew, within its restart
    /// limits and back-off; with a heartbeat by one replica of the service at a time.
    Restart,
}

/// What a database that is not there means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum MissingDatabase {
    /// It is not ready.
    #[default]
    Wait,
    /// It counts as ready until it was there once: the migration creates it.
    Ready,
}

/// When and how often a target is asked, and what its result counts for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Watching {
    /// Several HTTP endpoints that are asked in parallel and make one result, in place of one target.
    #[schemars(extend("minItems" = 1))]
    pub targets: Deferred<Vec<Endpoint>>,
    /// How many of several endpoints are asked at a time.
    pub parallel: Number<1, 64>,
    /// In which case there is this check.
    pub when: Deferred<Condition>,
    /// Keys that stand above those of the check; the first variant whose `when` holds is taken.
    pub variants: Deferred<Vec<CheckVariant>>,
    /// How long the start waits for it; `"0s"`: not at all. By default 60s, and 0s for the process, a module and a check of a module.
    pub wait: Option<Span<0, YEAR>>,
    /// What its result counts for.
    pub affects: Affects,
    /// The pause between two tries while running; at least that long, and at most a tenth longer. By default 5s.
    pub interval: Option<Span<100, DAY>>,
    /// How long one try may take; of several targets, how long each may.
    pub timeout: Span<10, 600_000>,
    /// How many failures in a row make it down.
    pub failure_threshold: Number<1, 1000>,
    /// How many passes in a row make it up again.
    pub success_threshold: Number<1, 1000>,
    /// Whether a refused login or a missing database ends the wait at once, with 69.
    pub fail_fast: bool,
    /// What a database that is not there means.
    pub missing_database: MissingDatabase,
    /// What is done when it goes down by its thresholds after having been up: `restart` stops its process (that of its module, else the
    /// main one) and starts it anew.
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

/// A dependency that is waited for and watched.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "check", deny_unknown_fields)]
pub struct CheckSection {
    /// When, how often, and what for.
    #[serde(flatten)]
    pub watching: Watching,
    /// What is asked.
    #[serde(flatten)]
    pub target: TargetKeys,
}
crate::union!(CheckSection { watching: Watching, target: TargetKeys });

/// The keys of a check that stand above it in the case that `when` names.
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

/// What an endpoint has besides its target.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Label {
    /// How messages and answers call it; by default its number.
    pub name: Maybe<Text>,
}

/// One of several HTTP endpoints of a check.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "endpoint", deny_unknown_fields)]
pub struct Endpoint {
    /// Its name.
    #[serde(flatten)]
    pub label: Label,
    /// What is asked.
    #[serde(flatten)]
    pub target: TargetKeys,
}
crate::union!(Endpoint { label: Label, target: TargetKeys });
