//! `[process]`: how a process is started, signalled, stopped and started again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::values::process::{Limits, Umask};
use crate::config::values::signal::{Rewrites, SignalNumber};
use crate::config::values::{DAY, Deferred, Maybe, Number, Span, YEAR};

/// Milliseconds from the stop signal to KILL: under Docker's ten seconds with the heartbeat withdrawn before.
pub const STOP_TIMEOUT: u64 = 8_000;

/// Who gets a forwarded signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum SignalScope {
    /// The process alone.
    #[default]
    Child,
    /// Its whole group, as with dumb-init; TSTP, TTIN and TTOU then stop portcullis, too.
    Group,
}

/// After which ends a process is started again. Status 125 is never followed by another start, as with s6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RestartPolicy {
    /// None: the container ends with its process.
    #[default]
    Never,
    /// Those with another status than 0.
    OnFailure,
    /// All of them.
    Always,
}

/// Where the output of a process goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Output {
    /// To the streams of portcullis itself, untouched.
    #[default]
    Inherit,
    /// The same, each line behind the name of the process.
    Prefix,
}

/// What the third TERM or INT does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ThirdStop {
    /// It kills.
    #[default]
    Kill,
    /// The process gets it like the second one.
    Forward,
}

/// What becomes of a start that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnStartupFailure {
    /// The run ends with its exit code.
    #[default]
    Exit,
    /// Everything stays as it is, health endpoint and all, until TERM; then the run ends with that code.
    Hold,
}

/// Where `user` holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DropUser {
    /// Everywhere; where portcullis may not change its user, the start ends.
    #[default]
    Always,
    /// Where portcullis runs as root; as anybody else it stays who it is, as in a container that is started with `--user`.
    Root,
}

/// What every process has, a module's as well.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProcessKeys {
    /// Who it runs as: `app`, `app:group` or `1000:1000`, from `/etc/passwd` and `/etc/group` of the image, with the supplementary groups
    /// unless a group is named; by default who portcullis is. It sets `HOME`, and holds for the migration, too.
    pub user: Maybe<Text>,
    /// Where `user` holds.
    pub drop: DropUser,
    /// The directory in which it starts; by default portcullis' own.
    pub working_directory: Maybe<Text>,
    /// Its file mode creation mask, in octal; by default portcullis' own.
    pub umask: Option<Umask>,
    /// Its resource limits; by default portcullis' own.
    pub limits: Limits,
    /// Whether set-user-ID programs give it nothing.
    pub no_new_privileges: bool,
    /// The signal that it gets should portcullis be killed; by default none, `KILL` for a module.
    pub parent_death_signal: Option<SignalNumber>,
    /// Who gets a signal that is forwarded.
    pub signal_scope: SignalScope,
    /// The signal that asks it to stop; by default the one that portcullis got, `TERM` for a module.
    pub stop_signal: Option<SignalNumber>,
    /// How long it has from that signal until it is killed with all that it leaves behind.
    pub stop_timeout: Span<0, YEAR>,
    /// After which ends it is started again in place; by default `never`, for a module `on-failure`.
    pub restart: Option<RestartPolicy>,
    /// The first pause before it is started again, less up to a fifth at random; doubled each time. After `0s` the pauses go on with 20 ms.
    pub restart_delay: Span<0, DAY>,
    /// The longest pause before it is started again, 100 ms at least.
    pub restart_max_delay: Span<0, DAY>,
    /// After running this long the pause is the first one again and `restart_limit` counts anew; 1 s at least where the first pause is
    /// under 100 ms.
    pub restart_reset: Span<0, YEAR>,
    /// How often in a row it is started again; 0 for no limit.
    pub restart_limit: Number<0, 0xffff_ffff>,
    /// It is aborted when it sends no `WATCHDOG=1` for so long (`sd_notify(3)`); by default it need not.
    pub watchdog: Option<Span<10, DAY>>,
    /// Where its output goes.
    pub output: Output,
}

impl Default for ProcessKeys {
    fn default() -> Self {
        Self {
            user: Maybe(None),
            drop: DropUser::Always,
            working_directory: Maybe(None),
            umask: None,
            limits: Limits::default(),
            no_new_privileges: false,
            parent_death_signal: None,
            signal_scope: SignalScope::Child,
            stop_signal: None,
            stop_timeout: const { Span::of(STOP_TIMEOUT) },
            restart: None,
            restart_delay: const { Span::of(1_000) },
            restart_max_delay: const { Span::of(60_000) },
            restart_reset: const { Span::of(60_000) },
            restart_limit: const { Number::of(0) },
            watchdog: None,
            output: Output::Inherit,
        }
    }
}

/// What the main process alone has: it gets the signals, and decides how the run ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MainKeys {
    /// Signals that are forwarded as another one, as `{ TERM = "QUIT" }`.
    pub rewrite: Rewrites,
    /// Signals that nobody gets.
    pub ignore_signals: Vec<SignalNumber>,
    /// Signals that begin the stop, besides TERM and INT.
    pub stop_on: Vec<SignalNumber>,
    /// What the third TERM or INT does.
    pub third_stop: ThirdStop,
    /// How long it is not ready before it is asked to stop.
    pub drain_delay: Span<0, DAY>,
    /// Exit codes that become 0 after a stop that was asked for.
    pub success_codes: Vec<Number<0, 255>>,
    /// What becomes of a start that failed.
    pub on_startup_failure: OnStartupFailure,
    /// Modules that have to be up before it is started, or started again in place; one that was stopped by `portcullis stop` holds nothing up.
    /// Where one of them cannot start, the start has failed.
    pub after: Deferred<Vec<Text>>,
}

impl Default for MainKeys {
    fn default() -> Self {
        Self {
            rewrite: Rewrites::default(),
            ignore_signals: Vec::new(),
            stop_on: Vec::new(),
            third_stop: ThirdStop::Kill,
            drain_delay: const { Span::of(0) },
            success_codes: Vec::new(),
            on_startup_failure: OnStartupFailure::Exit,
            after: Deferred::default(),
        }
    }
}

/// How every process of this configuration is started, signalled, stopped and started again. A mode and a module have their own above it.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "process", deny_unknown_fields)]
pub struct ProcessSection {
    /// What every process has.
    #[serde(flatten)]
    pub shared: ProcessKeys,
    /// What the main process alone has.
    #[serde(flatten)]
    pub main: MainKeys,
    /// What is the orchestrator's.
    #[serde(flatten)]
    pub orchestrator: Orchestrator,
}
crate::union!(ProcessSection { shared: ProcessKeys, main: MainKeys, orchestrator: Orchestrator });

/// What is known of who starts the container.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Orchestrator {
    /// How long the orchestrator waits after TERM before it kills; by default Docker's ten seconds.
    pub grace_period: Option<Span<1000, YEAR>>,
}
