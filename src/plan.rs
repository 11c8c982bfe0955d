//! The validated, immutable plan of one run: the complete configuration with all decisions and defaults, and no state.

pub mod argv;
pub mod command;
pub mod condition;
pub mod file;
pub mod migration;
pub mod module;
pub mod process;
pub mod reload;
pub mod resolve;
pub mod step;
pub mod target;
mod views;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::check::{Affects, OnDown};
pub use crate::config::health::{ComponentNames, Details, Listen};
use crate::secret::Secret;
pub use command::CommandPlan;
pub use condition::ConditionPlan;
pub use migration::{HoldPlan, KeeperPlan, LockPlan, MigrationPlan, Orphans, SchemaCheck, SecondLock};
pub use module::{ModuleId, ModulePlan};
pub use process::{ProcessPlan, StartedPlan};
pub use reload::Retired;
pub use step::{OnFailure, StepAction, StepAt, StepId, StepPlan};
use target::{RedisPlace, Target};
pub use views::{ViewSwitch, Views};

/// The time limit for withdrawing the heartbeat before the process gets its stop signal.
pub const WITHDRAW_LIMIT: Duration = Duration::from_secs(1);

/// With `output = "prefix"`: how long the end of a stop that has used up its time is delayed to pass on the last lines, those of the
/// children and then our own.
pub const OUTPUT_LIMIT: Duration = Duration::from_millis(500);

/// Index of a check in [`Plan::checks`].
pub type CheckId = usize;

/// The plan of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Service, mode and instance, for health responses, Redis and metrics.
    pub service: Service,
    /// The checks of the service, in the order of the configuration; then the modules' own checks.
    pub checks: Vec<CheckPlan>,
    /// The steps of the start, in the order in which they run.
    pub steps: Vec<StepPlan>,
    /// The lock for the steps that need one, if the migration of this mode does not hold it.
    pub step_lock: Option<HoldPlan>,
    /// The migration of this mode; none when it is off.
    pub migration: Option<MigrationPlan>,
    /// The process; none when the mode ends after the migration.
    pub main: Option<ProcessPlan>,
    /// Further processes beside it, in the order of the configuration.
    pub modules: Vec<ModulePlan>,
    /// The modules that have to be up before the process is started.
    pub after: Vec<ModuleId>,
    /// Whether the process is an ad-hoc command (`run --exec`), for example a shell, and not the service.
    pub own_command: bool,
    /// Which rule of `[[arguments]]` applied, why, and the resulting arguments; none if no rule applied.
    pub arguments: Option<String>,
    /// Why there is no process, if the mode declares this as an error.
    pub refusal: Option<StartRefusal>,
    /// The readiness heartbeat; none without a Redis.
    pub heartbeat: Option<HeartbeatPlan>,
    /// The health endpoint; none when it is switched off.
    pub health: Option<HealthPlan>,
    /// Whether a failed start is held until TERM, with the health endpoint, so that it can be examined.
    pub hold: bool,
    /// Notices for the operator, logged once as warnings: a variable that Kubernetes set, a short `ttl`.
    pub notices: Vec<String>,
    /// Remarks for the operator, logged once: no Redis for a heartbeat.
    pub remarks: Vec<String>,
    /// What a reload removed: its numbers are not used again.
    pub retired: Retired,
}

impl Plan {
    /// An empty plan of this service.
    pub const fn of(service: Service) -> Self {
        Self {
            service,
            checks: Vec::new(),
            steps: Vec::new(),
            step_lock: None,
            migration: None,
            main: None,
            modules: Vec::new(),
            after: Vec::new(),
            own_command: false,
            arguments: None,
            refusal: None,
            heartbeat: None,
            health: None,
            hold: false,
            notices: Vec::new(),
            remarks: Vec::new(),
            retired: Retired { checks: BTreeSet::new(), modules: BTreeSet::new() },
        }
    }
}

impl Plan {
    /// Whether other commands run beside those of the start: those of checks and conditions. Each may leave processes behind.
    pub fn asks_commands(&self) -> bool {
        let by_migration = self.migration.as_ref().is_some_and(|migration| !migration.condition.commands().is_empty());
        let by_check = self.checks.iter().any(|check| matches!(check.target, Target::Exec(_)));
        by_migration || by_check || self.steps.iter().any(StepPlan::asks_commands)
    }
}

/// How a run ends if a mode refuses to start a process: after its migration, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRefusal {
    /// The exit code, 1 to 255.
    pub code: u8,
    /// What to do instead.
    pub message: String,
}

/// The identity of this replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The service's name; by default the mode.
    pub name: String,
    /// The selected mode, if there are modes.
    pub mode: Option<String>,
    /// This replica: `PORTCULLIS_INSTANCE_ID`, else the host's name.
    pub instance: String,
    /// The host name of this container.
    pub host: String,
    /// The application's version from the configuration, if set.
    pub version: Option<String>,
    /// The version of portcullis.
    pub build: &'static str,
}

impl Service {
    /// The default name.
    pub const UNNAMED: &'static str = "app";
}

/// One dependency: waited for before the start, checked while running.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckPlan {
    /// Its name, `[a-z0-9][a-z0-9_.-]{0,62}`, unique and not reserved.
    pub name: String,
    /// The target.
    pub target: Target,
    /// How long the start waits for it; zero: not at all, and it is first probed once the process runs.
    pub wait: Duration,
    /// Whether a wrong password or database ends the wait at once.
    pub fail_fast: bool,
    /// Whether a missing database counts as ready until it has existed once, because the migration creates it.
    pub creates_database: bool,
    /// What its result counts for.
    pub affects: Affects,
    /// The minimum time from the end of one probe to the start of the next while running; up to a tenth is added.
    pub interval: Duration,
    /// Whether its peer is probed at most once per interval, also during the wait, before a restart of the process and after a reload.
    pub rate_limited: bool,
    /// How long one run may take.
    pub timeout: Duration,
    /// Failures in a row until its state is down, at least 1.
    pub failure_threshold: u32,
    /// Successes in a row until its state is up, at least 1.
    pub success_threshold: u32,
    /// What happens when it goes down after having been up.
    pub on_down: OnDown,
}

impl CheckPlan {
    /// The longest [`interval`](Self::interval).
    pub const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
}

/// The readiness heartbeat.
#[derive(Clone, Debug, PartialEq)]
pub struct HeartbeatPlan {
    /// The Redis that holds it.
    pub target: RedisPlace,
    /// The key whose value `ready` means that at least one instance is ready.
    pub key: String,
    /// Expiry of every record.
    pub ttl: Duration,
    /// Time between two heartbeats, before jitter of minus 10 % at most.
    pub every: Duration,
    /// Whether only the key is written, without scripts and records; otherwise this happens only if Redis forbids scripts.
    pub simple: bool,
    /// Whether no other replica writes the key, so that it may be deleted even without scripts.
    pub exclusive: bool,
    /// Whether this replica is ready only while its heartbeats are written.
    pub required: bool,
}

/// The health endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthPlan {
    /// The listeners, each at the first of its addresses that can be bound; empty: no TCP.
    pub listen: Vec<Listen>,
    /// The unix socket for `healthcheck` and `status`.
    pub socket: Option<SocketName>,
    /// Whether a listener that cannot be bound ends the start (exit 78).
    pub required: bool,
    /// Who sees details.
    pub details: Details,
    /// The bearer token that authorizes a client.
    pub token: Option<Secret>,
    /// The hosts that requests over TCP may name; empty: any.
    pub hosts: Vec<String>,
    /// The number of connections that may be open at once on each TCP listener.
    pub max_connections: usize,
    /// The views on TCP; the unix socket has all of them, because `healthcheck` and `status` use it.
    pub views: Views,
    /// Whether control requests are accepted on the unix socket: only if the configuration has `[modules]`.
    pub control: bool,
}

/// A unix socket's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketName {
    /// Linux' abstract namespace (written `@name`): needs no writable path, lives in the network namespace.
    Abstract(String),
    /// A path.
    Path(PathBuf),
}

impl SocketName {
    /// Reads `@name` or a path.
    pub fn new(text: &str) -> Self {
        text.strip_prefix('@').map_or_else(|| Self::Path(PathBuf::from(text)), |name| Self::Abstract(name.to_owned()))
    }
}

impl std::fmt::Display for SocketName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Abstract(name) => write!(f, "@{name}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Plan {
    /// Whether there is only the process and the health endpoint: nothing is done before its start, which ends the run if it fails.
    pub fn is_process_alone(&self) -> bool {
        let Self { checks, steps, migration, main, modules, refusal, heartbeat, hold, .. } = self;
        checks.is_empty()
            && steps.is_empty()
            && modules.is_empty()
            && (migration.is_none() && refusal.is_none() && heartbeat.is_none() && !hold)
            && main.as_ref().is_some_and(|main| main.restart.policy == process::RestartPolicy::Never)
    }

    /// The longest time of a stop: withdrawal, drain, stop signal, KILL, and passing on the last lines.
    pub fn stop_budget(&self) -> Duration {
        let withdraw = if self.heartbeat.is_some() { WITHDRAW_LIMIT } else { Duration::ZERO };
        let mut processes = self.main.iter().chain(self.modules.iter().map(|module| &module.process));
        let output = if processes.any(ProcessPlan::is_relayed) { OUTPUT_LIMIT } else { Duration::ZERO };
        let own = |process: &ProcessPlan| process.drain_delay.saturating_add(process.stop_timeout);
        self.main.as_ref().map_or(Duration::ZERO, own).saturating_add(withdraw).saturating_add(output)
    }

    /// Whether this check is probed only while its module runs.
    pub fn is_of_module(&self, id: CheckId) -> bool {
        self.modules.iter().any(|module| module.checks.contains(&id))
    }

    /// Whether something is done before the waits, which the dependencies may need; only then are they probed.
    pub fn prepares(&self) -> bool {
        self.first().next().is_some() || self.steps.iter().any(|step| matches!(step.at, StepAt::Files | StepAt::First))
    }

    /// The checks that the start waits for, with their index.
    pub fn awaited(&self) -> impl Iterator<Item = (usize, &CheckPlan)> {
        self.checks.iter().enumerate().filter(|(id, check)| !check.wait.is_zero() && !self.retired.checks.contains(id))
    }
}
