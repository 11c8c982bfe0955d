//! The validated, immutable orders of one run: everything that was read, decided and defaulted, and nothing that changes.

pub mod argv;
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
pub use condition::ConditionPlan;
pub use migration::{HoldPlan, KeeperPlan, LockPlan, MigrationPlan, Orphans, SchemaCheck, SecondLock};
pub use module::{ModuleId, ModulePlan};
pub use process::{ProcessPlan, StartedPlan};
pub use reload::Retired;
pub use step::{OnFailure, StepAction, StepAt, StepId, StepPlan};
use target::{RedisPlace, Target};
pub use views::{ViewSwitch, Views};

/// The longest anything is allowed to hold up the end: withdrawing the heartbeat before the process is signalled.
pub const WITHDRAW_LIMIT: Duration = Duration::from_secs(1);

/// The longest that passing on what was written last holds up the end of a stop that has used up its time, where `output = "prefix"`:
/// the children's lines and then our own.
pub const OUTPUT_LIMIT: Duration = Duration::from_millis(500);

/// Index of a check in [`Plan::checks`].
pub type CheckId = usize;

/// The orders of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Who this is, in health answers, in Redis and in metrics.
    pub service: Service,
    /// What is waited for and watched, in the order of the configuration; then the modules' own checks.
    pub checks: Vec<CheckPlan>,
    /// What is done once, in the order in which it is done.
    pub steps: Vec<StepPlan>,
    /// The lock of those that want one, where the migration of this mode does not hold it.
    pub step_lock: Option<HoldPlan>,
    /// The migration of this mode; none when it is off.
    pub migration: Option<MigrationPlan>,
    /// The process; none when the mode ends after the migration.
    pub main: Option<ProcessPlan>,
    /// Further processes beside it, in the order of the configuration.
    pub modules: Vec<ModulePlan>,
    /// Those of them that have to be up before the process is started.
    pub after: Vec<ModuleId>,
    /// Whether the process is a command of one's own (`run --exec`): a shell, a management command, and not the service.
    pub own_command: bool,
    /// Which rule of `[[arguments]]` held, why, and what the arguments came to; none where none held.
    pub arguments: Option<String>,
    /// Why there is no process, where the mode says that this is an error.
    pub refusal: Option<StartRefusal>,
    /// The readiness heartbeat; none without a Redis.
    pub heartbeat: Option<HeartbeatPlan>,
    /// The health endpoint; none when it is switched off.
    pub health: Option<HealthPlan>,
    /// Whether a start that failed is held, health endpoint and all, until TERM, so that somebody can look at it.
    pub hold: bool,
    /// What the operator should know, said once in the log as a warning: a variable that Kubernetes injected, a short `ttl`.
    pub notices: Vec<String>,
    /// What the operator may wonder about, said once in the log: no Redis for a heartbeat.
    pub remarks: Vec<String>,
    /// What a reload took away: its numbers stay taken.
    pub retired: Retired,
}

impl Plan {
    /// A plan of this service by which nothing happens.
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
    /// Whether commands are run beside those of the start: by checks, and by conditions. Each may leave something behind.
    pub fn asks_commands(&self) -> bool {
        let by_migration = self.migration.as_ref().is_some_and(|migration| !migration.condition.commands().is_empty());
        let by_check = self.checks.iter().any(|check| matches!(check.target, Target::Exec(_)));
        by_migration || by_check || self.steps.iter().any(StepPlan::asks_commands)
    }
}

/// How a run ends that a mode refuses a process: after its migration, where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRefusal {
    /// The exit code, 1 to 255.
    pub code: u8,
    /// What to do instead.
    pub message: String,
}

/// Who this is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The service's name; the mode when nothing else was said.
    pub name: String,
    /// The mode that was chosen, when there are modes.
    pub mode: Option<String>,
    /// This replica: `PORTCULLIS_INSTANCE_ID`, else the host's name.
    pub instance: String,
    /// The host's name, as this container has it.
    pub host: String,
    /// The application's version, as the configuration says it; none where it does not.
    pub version: Option<String>,
    /// The version of portcullis.
    pub build: &'static str,
}

impl Service {
    /// Its name where nothing says one.
    pub const UNNAMED: &'static str = "app";
}

/// One dependency: waited for before the start, checked while running.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckPlan {
    /// Its name, `[a-z0-9][a-z0-9_.-]{0,62}`, unique and not reserved.
    pub name: String,
    /// What is asked.
    pub target: Target,
    /// How long the start waits for it; zero: not at all, and it is first asked once the process runs.
    pub wait: Duration,
    /// Whether a wrong password or database ends the wait at once.
    pub fail_fast: bool,
    /// Whether a database that is not there counts as ready until it was there once, because the migration creates it.
    pub creates_database: bool,
    /// What its result counts for.
    pub affects: Affects,
    /// Time from the end of one run to the start of the next while running, at least; up to a tenth more.
    pub interval: Duration,
    /// Whether its peer is promised to be asked once an interval at most: while it is waited for, too, before the process is started
    /// again, and after a reload.
    pub rate_limited: bool,
    /// How long one run may take.
    pub timeout: Duration,
    /// Failures in a row that make it down, at least 1.
    pub failure_threshold: u32,
    /// Passes in a row that make it up, at least 1.
    pub success_threshold: u32,
    /// What is done when it goes down by its thresholds after having been up.
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
    /// Time between two beats, before jitter of minus 10 % at most.
    pub every: Duration,
    /// Whether the key alone is written, without scripts and records; else only where Redis forbids scripts.
    pub simple: bool,
    /// Whether no other replica writes the key, so that it may be deleted where scripts cannot say so.
    pub exclusive: bool,
    /// Whether this replica is ready only while its beats are written.
    pub required: bool,
}

/// The health endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthPlan {
    /// What to listen on, each at the first of its addresses that binds; empty: no TCP.
    pub listen: Vec<Listen>,
    /// The unix socket for `healthcheck` and `status`.
    pub socket: Option<SocketName>,
    /// Whether a listener that cannot be bound ends the start (exit 78).
    pub required: bool,
    /// Who sees details.
    pub details: Details,
    /// The bearer token that authorizes.
    pub token: Option<Secret>,
    /// The hosts that requests over TCP may name; empty: any.
    pub hosts: Vec<String>,
    /// What is answered over TCP; the unix socket answers everything, because `healthcheck` and `status` ask there.
    pub views: Views,
    /// Whether orders for modules are taken on the unix socket: only where the configuration knows of modules.
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
    /// Whether the process is all there is: nothing is done before its start, and nobody asks how it is.
    pub fn is_process_alone(&self) -> bool {
        let Self { checks, steps, migration, main, modules, refusal, heartbeat, health, hold, .. } = self;
        checks.is_empty()
            && steps.is_empty()
            && modules.is_empty()
            && (migration.is_none() && refusal.is_none() && heartbeat.is_none() && health.is_none() && !hold)
            && main.as_ref().is_some_and(|main| main.restart.policy == process::RestartPolicy::Never)
    }

    /// The longest that a stop can take: withdrawn, drained, signalled, killed, the last lines passed on.
    pub fn stop_budget(&self) -> Duration {
        let withdraw = if self.heartbeat.is_some() { WITHDRAW_LIMIT } else { Duration::ZERO };
        let mut processes = self.main.iter().chain(self.modules.iter().map(|module| &module.process));
        let output = if processes.any(ProcessPlan::is_relayed) { OUTPUT_LIMIT } else { Duration::ZERO };
        let own = |process: &ProcessPlan| process.drain_delay.saturating_add(process.stop_timeout);
        self.main.as_ref().map_or(Duration::ZERO, own).saturating_add(withdraw).saturating_add(output)
    }

    /// Whether this check is asked only while its module runs.
    pub fn is_of_module(&self, id: CheckId) -> bool {
        self.modules.iter().any(|module| module.checks.contains(&id))
    }

    /// The checks that the start waits for, with their index.
    pub fn awaited(&self) -> impl Iterator<Item = (usize, &CheckPlan)> {
        self.checks.iter().enumerate().filter(|(id, check)| !check.wait.is_zero() && !self.retired.checks.contains(id))
    }
}
