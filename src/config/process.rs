//! `[process]`: how a process is started, signalled, stopped and restarted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::values::process::{Limits, Umask};
use crate::config::values::signal::{Rewrites, SignalNumber};
use crate::config::values::{DAY, Deferred, Maybe, Number, Span, YEAR};

/// Milliseconds from the stop signal to KILL: less than Docker's ten seconds, including the withdrawal of the heartbeat.
pub const STOP_TIMEOUT: u64 = 8_000;

/// Which processes get a forwarded signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum SignalScope {
    /// Only the process.
    #[default]
    Child,
    /// Its whole process group, as with dumb-init; TSTP, TTIN and TTOU then also stop portcullis.
    Group,
}

/// When a process is restarted after its end. It is never restarted after status 125, as with s6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum RestartPolicy {
    /// Never: the container ends with its process.
    #[default]
    Never,
    /// After an end with a status other than 0.
    OnFailure,
    /// Always.
    Always,
}

/// Where the output of a process goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Output {
    /// To the streams of portcullis, unchanged.
    #[default]
    Inherit,
    /// The same, with the name of the process before each line.
    Prefix,
}

/// What the third TERM or INT does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum ThirdStop {
    /// It kills the process.
    #[default]
    Kill,
    /// It is forwarded to the process, like the second one.
    Forward,
}

/// What happens after a failed start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum OnStartupFailure {
    /// The run ends with its exit code.
    #[default]
    Exit,
    /// Everything stays as it is, including the health endpoint, until TERM; then the run ends with that code.
    Hold,
}

/// When `user` applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DropUser {
    /// Always; if portcullis may not change the user, the start fails.
    #[default]
    Always,
    /// Only if portcullis runs as root; otherwise the process has the user of portcullis, for example in a container that is started with `--user`.
    Root,
}

/// The keys of every process, including modules.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProcessKeys {
    /// The user that it runs as: `app`, `app:group` or `1000:1000`, from `/etc/passwd` and `/etc/group` of the image, with the supplementary groups
    /// unless a group is named; by default the user of portcullis. It also sets `HOME`, and applies to the migration, too.
    pub user: Maybe<Text>,
    /// When `user` applies.
    pub drop: DropUser,
    /// The working directory; by default that of portcullis.
    pub working_directory: Maybe<Text>,
    /// Its file mode creation mask, in octal; by default that of portcullis.
    pub umask: Option<Umask>,
    /// Its resource limits; by default those of portcullis.
    pub limits: Limits,
    /// Whether set-user-ID programs give it no further privileges.
    pub no_new_privileges: bool,
    /// The signal that it gets if portcullis is killed; by default none, `KILL` for a module.
    pub parent_death_signal: Option<SignalNumber>,
    /// Which processes get a forwarded signal.
    pub signal_scope: SignalScope,
    /// The signal that stops it; by default the one that portcullis received, `TERM` for a module.
    pub stop_signal: Option<SignalNumber>,
    /// The time from that signal until it is killed, together with its leftovers.
    pub stop_timeout: Span<0, YEAR>,
    /// When it is restarted inside the container after its end; by default `never`, for a module `on-failure`.
    pub restart: Option<RestartPolicy>,
    /// The first pause before a restart; it is doubled each time. Each pause is shortened at random by up to a fifth. After `0s` the next pause is 20
    /// ms.
    pub restart_delay: Span<0, DAY>,
    /// The longest pause before a restart, at least 100 ms.
    pub restart_max_delay: Span<0, DAY>,
    /// After running for this long, the pause is the first one again and `restart_limit` counts from 0; at least 1 s if the first pause is less than
    /// 100 ms.
    pub restart_reset: Span<0, YEAR>,
    /// How often in a row it is restarted; 0 for no limit.
    pub restart_limit: Number<0, 0xffff_ffff>,
    /// It is aborted if it sends no `WATCHDOG=1` for this long (`sd_notify(3)`); by default there is no watchdog.
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

/// The keys of the main process only: it gets the signals, and decides how the run ends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MainKeys {
    /// Signals that are forwarded as another signal, for example `{ TERM = "QUIT" }`.
    pub rewrite: Rewrites,
    /// Signals that are not forwarded.
    pub ignore_signals: Vec<SignalNumber>,
    /// Signals that begin the stop, besides TERM and INT.
    pub stop_on: Vec<SignalNumber>,
    /// What the third TERM or INT does.
    pub third_stop: ThirdStop,
    /// How long it is not ready before it gets its stop signal.
    pub drain_delay: Span<0, DAY>,
    /// Exit codes that become 0 after a requested stop.
    pub success_codes: Vec<Number<0, 255>>,
    /// What happens after a failed start.
    pub on_startup_failure: OnStartupFailure,
    /// Modules that have to be up before it is started or restarted; a module that was stopped by `portcullis stop` is not waited for. If one of them
    /// cannot start, the start fails.
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

/// How every process of this configuration is started, signalled, stopped and restarted. The keys of a mode or a module override it.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "process", deny_unknown_fields)]
pub struct ProcessSection {
    /// The keys of every process.
    #[serde(flatten)]
    pub shared: ProcessKeys,
    /// The keys of the main process only.
    #[serde(flatten)]
    pub main: MainKeys,
    /// The keys about the orchestrator.
    #[serde(flatten)]
    pub orchestrator: Orchestrator,
}
crate::union!(ProcessSection { shared: ProcessKeys, main: MainKeys, orchestrator: Orchestrator });

/// What is known about the orchestrator that starts the container.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Orchestrator {
    /// How long the orchestrator waits between TERM and KILL; by default Docker's ten seconds.
    pub grace_period: Option<Span<1000, YEAR>>,
}
