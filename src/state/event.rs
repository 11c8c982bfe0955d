//! The events of a run and the effects of the reducer, as data, so that every rule can be tested without a clock or a process.

use std::sync::Arc;
use std::time::Duration;

use super::instances::Instances;
pub use super::migration::{ANOTHER_MODE, LockHolder, LockNews, Preparation};
pub use super::phase::Readiness;
use crate::clock::Moment;
use crate::exit::Ended;
use crate::outcome::{ErrorKind, Outcome};
pub use crate::plan::CheckId;
use crate::plan::step::ItemPlan;
use crate::plan::{ModuleId, Plan, StepId};

/// A process that the supervisor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcessId {
    /// The process of the mode.
    Main,
    /// The migration command.
    Migration,
    /// A module.
    Module(ModuleId),
    /// A command of a step.
    Step(StepId),
}

impl ProcessId {
    /// Whether it is a command that has to end before the start continues: of the migration, or of a step.
    pub const fn is_one_off(self) -> bool {
        matches!(self, Self::Migration | Self::Step(_))
    }
}

/// Work on another thread, because a file system or a command may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inquiry {
    /// Determines the commands of a step; a step without commands is done.
    Step(StepId),
    /// Whether the condition of the command of this number of a step holds.
    Item(StepId, usize),
    /// Whether the condition of the migration holds.
    Migration,
}

/// The result of work on another thread.
#[derive(Clone, Debug, PartialEq)]
pub enum PreparedStep {
    /// Its condition does not hold.
    Skipped,
    /// These commands have to run.
    Commands(Vec<ItemPlan>),
    /// It is done, with a description; for a condition: it holds.
    Done(String),
    /// It continues, with a description of its progress.
    Progress(String),
    /// It has failed, with the exit code and the reason.
    Failed(u8, String),
}

/// A control request for a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start it; does nothing if it runs or is starting.
    Start(ModuleId),
    /// Stop it.
    Stop(ModuleId),
    /// Stop it, and then start it as for the first time.
    Restart(ModuleId),
}

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// The run begins.
    Begin,
    /// A check was run.
    Probed(CheckId, Outcome),
    /// A check did not run, because its peer may not be probed yet; this is its earlier result.
    Recalled(CheckId, Moment, Outcome),
    /// The startup check of a process was run.
    StartupProbed(ProcessId, Outcome),
    /// News of the migration lock.
    Lock(LockNews),
    /// A process exists, but does not execute its program yet: reading the program file may block.
    Forked(ProcessId),
    /// A process executes its program.
    Spawned(ProcessId, i32),
    /// A process could not be started, before or after [`Event::Forked`]; with the exit code and the reason.
    SpawnFailed(ProcessId, u8, String),
    /// A process ended.
    Exited(ProcessId, Ended),
    /// The group of a process is empty.
    GroupGone(ProcessId),
    /// News of [`Effect::Prepare`].
    Prepared(Inquiry, PreparedStep),
    /// A process was stopped by this signal; it has not ended.
    Stopped(ProcessId, i32),
    /// The kernel killed this process because memory ran out; sent right before its end.
    OutOfMemory(ProcessId),
    /// A process reported its state.
    Notified(ProcessId, Notice),
    /// An authorized control request for a module.
    Ordered(Order),
    /// The configuration was read again; this is the new plan. Only checks and modules differ.
    Reloaded(Arc<Plan>),
    /// No child is left.
    NoneLeft,
    /// A signal arrived; its number.
    Signalled(i32),
    /// A heartbeat was written to Redis, or failed.
    Beaten(Result<(), ErrorKind>),
    /// The instances in the registry.
    Counted(Arc<Instances>),
    /// The heartbeat was withdrawn.
    Withdrawn,
    /// This replica may restart an unhealthy process: no other replica is restarting, or Redis does not answer.
    RestartGranted,
    /// An armed timer has expired.
    Elapsed(Timer),
    /// This process could not run for this long, while others could, or the machine was suspended (zero, because the clock stopped). The
    /// timers are already extended.
    Away(Duration),
}

/// A notification of a process (`sd_notify(3)`, or s6's notification-fd).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is ready.
    Ready,
    /// A status text.
    Status(String),
    /// It is alive.
    Watchdog,
    /// It needs this much more time to start or to stop.
    ExtendTimeout(Duration),
}

/// A timer; arming it again resets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// A timer of one process.
    Process(ProcessId, ProcessTimer),
    /// The limit of the wait for one dependency.
    Wait(CheckId),
    /// The limit for releasing the migration lock.
    Release,
    /// The limit for confirming that the lock is still held.
    Confirm,
    /// From the loss of the lock to KILL for its migration.
    Overlap,
    /// How long a replica whose mode does not migrate waits for one whose mode does.
    Schema,
    /// The shutdown: the limit for withdrawing the heartbeat.
    Withdraw,
    /// The shutdown: the drain delay.
    Drain,
    /// The shutdown: how long modules that are stopped before the process may delay its stop.
    Precedence,
    /// The shutdown: from the stop signal to KILL.
    Grace,
    /// The shutdown: from KILL to the exit without waiting any longer.
    Reap,
}

/// A timer of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcessTimer {
    /// How long its start may take; for a command: how long it may run.
    Limit,
    /// From its stop signal to KILL, if only this process is stopped.
    Grace,
    /// From that KILL to giving up on it.
    Reap,
    /// The pause before a restart; the supervisor adds jitter, except for a migration.
    Restart,
    /// The watchdog: the time within which it has to report that it is alive.
    Watchdog,
    /// From the ABRT of the watchdog to KILL.
    WatchdogKill,
}

/// Which probes of a process run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// None: it does not run.
    Nothing,
    /// Its startup check, until it passes.
    Start,
    /// A module's own checks.
    Checks,
}

/// When portcullis suspends itself together with its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspend {
    /// Always, as in dumb-init.
    Always,
    /// Only as a job of a shell: the shell sees it, and resumes us.
    AsJob,
    /// As a job of a shell; without a shell, a process that the terminal stopped is resumed at once, because nothing else would resume it.
    AsJobOrNotAtAll,
}

/// A check of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaQuestion {
    /// Is there anything to do?
    Check,
    /// Is it done?
    Verify,
}

/// An effect: what the supervisor has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send [`Event::Elapsed`] after this time.
    Arm(Timer, Duration),
    /// Extend an armed timer to this long from now on, as its process requested: never shorter than before, and at most twice its original
    /// time.
    Extend(Timer, Duration),
    /// Disarm the timer.
    Disarm(Timer),
    /// Wait for the migration lock; if it is already held, check in its database whether there is anything to migrate.
    AcquireLock,
    /// Wait for the same lock for a step, regardless of the migration.
    TakeLock,
    /// Send [`LockNews::Confirmed`] if it is still held, or was not held yet, and [`LockNews::Lost`] otherwise.
    ConfirmLock,
    /// Release it.
    ReleaseLock,
    /// Do this work on another thread; [`Event::Prepared`] follows.
    Prepare(Inquiry),
    /// Cancel the preparation.
    CancelPreparation,
    /// Start the process at once: the next applied event is [`Event::Forked`] or [`Event::SpawnFailed`].
    Spawn(ProcessId),
    /// Start the command that checks the schema; its events are those of [`ProcessId::Migration`].
    QuerySchema(SchemaQuestion),
    /// Verify the migration in the lock's database: [`LockNews::Verified`].
    QueryDatabase,
    /// Send [`Event::GroupGone`] as soon as the process' group is empty.
    AwaitGroup(ProcessId),
    /// Send this signal to the process only.
    Signal(ProcessId, i32),
    /// Send this signal to the process and its whole group.
    SignalGroup(ProcessId, i32),
    /// Send this signal to all remaining descendants, except running modules and their groups unless it is KILL; then send
    /// [`Event::NoneLeft`] when none is left.
    SignalSurvivors(i32),
    /// Send this signal to those of them that have not had one yet; then send [`Event::NoneLeft`] when none is left.
    SignalLatecomers(i32),
    /// Use the new plan.
    Reload,
    /// From now on run only these probes of the process.
    Watch(ProcessId, Watch),
    /// Start the checks that were not waited for.
    ProbeAll,
    /// Probe the awaited checks at once: what had to be done before the waits is done, or the process will be restarted.
    ProbeNow,
    /// Suspend portcullis itself until CONT; PID 1 cannot be suspended.
    Suspend(ProcessId, Suspend),
    /// Resume the process and its whole group, in the foreground if we own the terminal.
    Resume(ProcessId),
    /// Log that the start has failed and is held for inspection.
    Hold,
    /// Request the service's restart lease, for at most this long; none: release it, or cancel the request.
    RestartLease(Option<Duration>),
    /// Publish the readiness to the heartbeat.
    Announce(Readiness),
    /// Exit with this code.
    Exit(u8),
}

impl Effect {
    /// Whether other processes wait for it, or for an effect after it, and it is not logged.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::Signal(_, number) | Self::SignalGroup(_, number) => *number != libc::SIGKILL,
            Self::Arm(..) | Self::Extend(..) | Self::Disarm(_) | Self::Watch(..) | Self::Announce(_) | Self::Spawn(_) => true,
            _ => false,
        }
    }
}
