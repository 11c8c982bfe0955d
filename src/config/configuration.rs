//! The whole configuration: its top-level keys and its tables.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::arguments::{OptionSection, RefusalSection, Rule, WarningSection};
use crate::config::check::CheckSection;
use crate::config::condition::Condition;
use crate::config::dify::Dify;
use crate::config::environment::EnvironmentSection;
use crate::config::file::File;
use crate::config::health::Health;
use crate::config::heartbeat::HeartbeatSection;
use crate::config::interpolate::Text;
use crate::config::migration::Migrations;
use crate::config::mode::Mode;
use crate::config::module::ModuleSection;
use crate::config::preset_keys::PresetKeys;
use crate::config::process::ProcessSection;
use crate::config::step::StepSection;
use crate::config::values::{Deferred, Maybe, Named};

/// The top level, and the tables that are read separately.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    /// The name of the service in health responses, in Redis and in metrics; by default the mode, else `app`.
    pub service: Maybe<Text>,
    /// The application's version in `/health`, `/actuator/info`, Redis and on the page, for example `"${VERSION:-}"`; by default none.
    pub version: Maybe<Text>,
    /// The mode to start; by default the value of `MODE`, or the only mode.
    pub mode: Maybe<Text>,
    /// The mode to start if the requested one is unknown, or none is requested.
    pub mode_fallback: Maybe<Text>,
    /// Conditions by name, for `{ condition = "NAME" }`; each is evaluated once in a start, before anything else.
    pub conditions: Deferred<Named<Condition>>,
    /// Cases in which the start is refused; all that apply are reported at once, before anything else.
    pub refuse: Deferred<Vec<RefusalSection>>,
    /// Cases in which something is to be said; a start goes on all the same.
    pub warn: Deferred<Vec<WarningSection>>,
    /// Rules for the arguments: the first one whose `when` holds applies. If none does, the mode's command has to take the arguments.
    pub arguments: Deferred<Vec<Rule>>,
    /// Options among the arguments, before a `--`, that set variables and are removed from the arguments, for example `"--workers" = "WORKERS"`.
    #[schemars(extend("propertyNames" = serde_json::json!({ "pattern": "^-" })))]
    pub options: Deferred<Named<OptionSection>>,
    /// The dependencies that are waited for and then checked while running, by name.
    #[schemars(extend("propertyNames" = crate::config::check::names()))]
    pub checks: Deferred<Named<CheckSection>>,
    /// Commands that run once in a start; those with the same `at` run in this order.
    pub steps: Deferred<Vec<StepSection>>,
    /// The command that runs once for all replicas.
    pub migrations: Deferred<Migrations>,
    /// Files, directories and links that are written, copied, created, removed or changed before the process is started, in this order.
    pub files: Deferred<Vec<File>>,
    /// The processes, by name; one of them is started.
    #[schemars(extend("propertyNames" = serde_json::json!({ "minLength": 1 })))]
    pub modes: Deferred<Named<Mode>>,
    /// Where and how often the readiness is written to Redis.
    pub heartbeat: Deferred<HeartbeatSection>,
    /// The health endpoint.
    pub health: Deferred<Health>,
    /// A Dify whose APIs are monitored; the report is in `/actuator/health`.
    pub dify: Deferred<Dify>,
    /// Settings of every process.
    pub process: Deferred<ProcessSection>,
    /// The variables of every process.
    pub env: Deferred<EnvironmentSection>,
    /// Further processes beside the main process, by name.
    #[schemars(extend("propertyNames" = crate::config::check::names()))]
    pub modules: Deferred<Named<ModuleSection>>,
}

/// The same as a document: with the keys that are removed before the rest is read.
#[derive(JsonSchema)]
#[schemars(
    title = "portcullis.toml",
    description = "The configuration of portcullis. A string may hold ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:+instead}, ${NAME+instead}, ${NAME:?message}, $$, and ${@cpus}, ${@nproc}, ${@hostname}, ${@uid}, ${@gid}, ${@instance}.",
    deny_unknown_fields
)]
pub struct Document {
    /// The keys that are read.
    #[schemars(flatten)]
    pub configuration: Configuration,
    /// The keys that merge it over a preset.
    #[schemars(flatten)]
    pub presets: PresetKeys,
}
