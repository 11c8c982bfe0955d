//! The whole configuration: what stands at its top level, and the tables below it.

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

/// The top level, and the tables that are read by themselves.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    /// The service's name in health answers, in Redis and in metrics; by default the mode, else `app`.
    pub service: Maybe<Text>,
    /// The application's version in `/health`, `/actuator/info`, Redis and on the page, as `"${VERSION:-}"`; by default none is told.
    pub version: Maybe<Text>,
    /// The mode that is started; by default what `MODE` says, or the only one there is.
    pub mode: Maybe<Text>,
    /// The mode to take where the one that is asked for is unknown, or none is.
    pub mode_fallback: Maybe<Text>,
    /// Conditions by name, for `{ condition = "NAME" }`; each is asked once in a start, before anything else is done.
    pub conditions: Deferred<Named<Condition>>,
    /// Cases in which nothing is started; all that hold are told at once, before anything else is done.
    pub refuse: Deferred<Vec<RefusalSection>>,
    /// Cases in which something is to be said; a start goes on all the same.
    pub warn: Deferred<Vec<WarningSection>>,
    /// What becomes of the arguments: the first rule that holds says so. Where none does, the mode's command has to take them.
    pub arguments: Deferred<Vec<Rule>>,
    /// Options among the arguments, before a `--`, that become variables and are taken off, as `"--workers" = "WORKERS"`.
    #[schemars(extend("propertyNames" = serde_json::json!({ "pattern": "^-" })))]
    pub options: Deferred<Named<OptionSection>>,
    /// The dependencies that are waited for and watched, by name.
    #[schemars(extend("propertyNames" = crate::config::check::names()))]
    pub checks: Deferred<Named<CheckSection>>,
    /// What is done once in a start, in this order within each of its times.
    pub steps: Deferred<Vec<StepSection>>,
    /// The command that runs once across all replicas.
    pub migrations: Deferred<Migrations>,
    /// What is written, copied, made, removed or given to somebody before the process is started, in this order.
    pub files: Deferred<Vec<File>>,
    /// The processes of which one is started, by name.
    #[schemars(extend("propertyNames" = serde_json::json!({ "minLength": 1 })))]
    pub modes: Deferred<Named<Mode>>,
    /// Where and how often the readiness is written.
    pub heartbeat: Deferred<HeartbeatSection>,
    /// The health endpoint.
    pub health: Deferred<Health>,
    /// A Dify whose APIs are asked one by one; the report stands in `/actuator/health`.
    pub dify: Deferred<Dify>,
    /// What holds for every process.
    pub process: Deferred<ProcessSection>,
    /// The variables of every process.
    pub env: Deferred<EnvironmentSection>,
    /// Further processes beside that of the mode, by name.
    #[schemars(extend("propertyNames" = crate::config::check::names()))]
    pub modules: Deferred<Named<ModuleSection>>,
}

/// The same as a document: with what is taken out before the rest is read.
#[derive(JsonSchema)]
#[schemars(
    title = "portcullis.toml",
    description = "The configuration of portcullis. A string may hold ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:+instead}, ${NAME+instead}, ${NAME:?message}, $$, and ${@cpus}, ${@nproc}, ${@hostname}, ${@uid}, ${@gid}, ${@instance}.",
    deny_unknown_fields
)]
pub struct Document {
    /// What is read of it.
    #[schemars(flatten)]
    pub configuration: Configuration,
    /// What lays it over a preset.
    #[schemars(flatten)]
    pub presets: PresetKeys,
}
