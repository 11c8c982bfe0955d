//! What can happen to a run, and what the reducer answers: data, so that every rule can be tested without a clock or a process.

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
    /// The process that the mode names.
    Main,
    /// The migration command.
    Migration,
    /// A module.
    Module(ModuleId),
    /// A command of a step.
    Step(StepId),
}

impl ProcessId {
    /// Whether it is a command that is to end before the start goes on: one of the migration, or of a step.
    pub const fn is_one_off(self) -> bool {
        matches!(self, Self::Migration | Self::Step(_))
    }
}

/// What is found out away from the loop, because a file system or a command may keep it waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inquiry {
    /// What there is to do for a step; where that is no command, it is done.
    Step(StepId),
    /// Whether the condition of the command of this number of a step holds.
    Item(StepId, usize),
    /// Whether the condition of the migration holds.
    Migration,
}

/// What was found or done, away from the loop.
#[derive(Clone, Debug, PartialEq)]
pub enum PreparedStep {
    /// Its condition does not hold.
    Skipped,
    /// These commands are to be run.
    Commands(Vec<ItemPlan>),
    /// It is done, and what was, in words; of a condition: it holds.
    Done(String),
    /// It goes on: how far it is, in words.
    Progress(String),
    /// It has failed: the code to end with, and why.
    Failed(u8, String),
}

/// What somebody wants of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It shall run; nothing when it does, or is on its way.
    Start(ModuleId),
    /// It shall not run.
    Stop(ModuleId),
    /// It shall be stopped, and then started as for the first time.
    Restart(ModuleId),
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The run begins.
    Begin,
    /// A check was run.
    Probed(CheckId, Outcome),
    /// A check was not run, because its peer may not be asked yet; this is what it found at that moment before.
    Recalled(CheckId, Moment, Outcome),
    /// The startup check of a process was run.
    StartupProbed(ProcessId, Outcome),
    /// News of the migration lock.
    Lock(LockNews),
    /// There is a process, which does not execute its program yet: until then that program's file may hang.
    Forked(ProcessId),
    /// A process executes its program.
    Spawned(ProcessId, i32),
    /// A process could not be started, before or after [`Event::Forked`]: the code to end with, and why.
    SpawnFailed(ProcessId, u8, String),
    /// A process ended.
    Exited(ProcessId, Ended),
    /// Nobody is left of a process' group.
    GroupGone(ProcessId),
    /// News of [`Effect::Prepare`].
    Prepared(Inquiry, PreparedStep),
    /// A process was stopped by this signal; it has not ended.
    Stopped(ProcessId, i32),
    /// The kernel killed this process for want of memory; comes right before its end.
    OutOfMemory(ProcessId),
    /// A process told how it is.
    Notified(ProcessId, Notice),
    /// Somebody with the right to it wants something of a module.
    Ordered(Order),
    /// The configuration was read again: from now on these orders hold. Only checks and modules differ.
    Reloaded(Arc<Plan>),
    /// No child of ours is left.
    NoneLeft,
    /// A signal arrived; its number.
    Signalled(i32),
    /// A beat was written to Redis, or was not.
    Beaten(Result<(), ErrorKind>),
    /// Who is in the registry.
    Counted(Arc<Instances>),
    /// The heartbeat was withdrawn.
    Withdrawn,
    /// This replica may restart what is unhealthy: no other one of the service does now, or nobody can say.
    RestartGranted,
    /// A timer that was armed has run out.
    Elapsed(Timer),
    /// Others may have lived on without us: nobody here could run for this long, or the machine was suspended (zero, for the clock
    /// stood). The timers are moved already.
    Away(Duration),
}

/// What a process can tell about itself (`sd_notify(3)`, or s6's notification-fd).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The start is through.
    Ready,
    /// What it is doing, for people.
    Status(String),
    /// It is alive.
    Watchdog,
    /// It needs this much longer to start or to stop.
    ExtendTimeout(Duration),
}

/// A timer; arming it again moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// One of a process' own.
    Process(ProcessId, ProcessTimer),
    /// The limit of one dependency's wait.
    Wait(CheckId),
    /// The limit for giving the migration lock back.
    Release,
    /// The limit for confirming that the lock is still ours.
    Confirm,
    /// From the loss of the lock to KILL for its migration.
    Overlap,
    /// For how long a replica whose mode does not migrate waits for one whose mode does.
    Schema,
    /// The shutdown: the limit for withdrawing the heartbeat.
    Withdraw,
    /// The shutdown: the drain delay.
    Drain,
    /// The shutdown: how long modules that are stopped before the process may hold up its stop.
    Precedence,
    /// The shutdown: from the stop signal to KILL.
    Grace,
    /// The shutdown: from KILL to leaving without the dead.
    Reap,
}

/// A timer of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcessTimer {
    /// How long it may take to be up; a command that is to end: how long it may run.
    Limit,
    /// From its stop signal to KILL, where it alone is stopped.
    Grace,
    /// From that KILL to taking it for gone.
    Reap,
    /// The pause before it is started again; the supervisor adds jitter, but not to a migration's.
    Restart,
    /// The time within which it has to say that it is alive.
    Watchdog,
    /// From the ABRT to one that did not to KILL.
    WatchdogKill,
}

/// What of a process is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nothing: it does not run.
    Nothing,
    /// Its startup check, until it passes.
    Start,
    /// A module's own checks.
    Checks,
}

/// When portcullis stops together with its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspend {
    /// Always, as dumb-init does it.
    Always,
    /// As a shell's job alone: the shell sees it, and continues us.
    AsJob,
    /// As a shell's job; where no shell is and the terminal stopped the process, it is continued at once, because nobody else would.
    AsJobOrNotAtAll,
}

/// A question about the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaQuestion {
    /// Is there anything to do?
    Check,
    /// Is it done?
    Verify,
}

/// What the supervisor has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send [`Event::Elapsed`] after this time.
    Arm(Timer, Duration),
    /// Give an armed timer this long from now on, as its process asks for: never less than it has, and at most twice what it was armed for.
    Extend(Timer, Duration),
    /// Forget the timer.
    Disarm(Timer),
    /// Queue for the migration lock; where it is ours, ask its database whether there is anything to migrate.
    AcquireLock,
    /// Queue for the same lock on behalf of a step, whatever is to be migrated.
    TakeLock,
    /// Say [`LockNews::Confirmed`] if it is still ours, or was not yet, and [`LockNews::Lost`] otherwise.
    ConfirmLock,
    /// Give it back.
    ReleaseLock,
    /// Find this out away from the loop: [`Event::Prepared`].
    Prepare(Inquiry),
    /// Leave off what is being prepared.
    CancelPreparation,
    /// Start the process at once: [`Event::Forked`] or [`Event::SpawnFailed`] is the next event that is applied.
    Spawn(ProcessId),
    /// Start the command that says how the schema stands; the news are those of [`ProcessId::Migration`].
    QuerySchema(SchemaQuestion),
    /// Have the lock's database say whether the migration has done what it should: [`LockNews::Verified`].
    QueryDatabase,
    /// Say [`Event::GroupGone`] as soon as nobody is left of the process' group.
    AwaitGroup(ProcessId),
    /// Send the process itself this signal.
    Signal(ProcessId, i32),
    /// Send the process and its whole group this signal.
    SignalGroup(ProcessId, i32),
    /// Send everything that is left below us this signal, but for modules that run and their groups unless it is KILL; then say
    /// [`Event::NoneLeft`] when nothing is.
    SignalSurvivors(i32),
    /// Send those of them this signal that were sent none yet, then say [`Event::NoneLeft`] when nothing is.
    SignalLatecomers(i32),
    /// Take over the orders that hold now: they are not those from before.
    Reload,
    /// Ask this of the process from now on, and nothing else.
    Watch(ProcessId, Watch),
    /// Begin with the checks that were not waited for.
    ProbeAll,
    /// Ask the awaited checks at once: the modules that come before the waits are up, or the process is to be started again.
    ProbeNow,
    /// Stop portcullis itself until CONT; PID 1 cannot be stopped.
    Suspend(ProcessId, Suspend),
    /// Continue the process and its whole group, in the foreground where the terminal is ours to give.
    Resume(ProcessId),
    /// Tell that the start has failed and is held until somebody has looked.
    Hold,
    /// Ask for the service's one permission to restart, held for this long at most; none: give it back, or ask no longer.
    RestartLease(Option<Duration>),
    /// Tell the readers of the heartbeat.
    Announce(Readiness),
    /// Leave with this code.
    Exit(u8),
}

impl Effect {
    /// Whether somebody outside waits for it, or for what stands behind it, and nothing is said of it.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::Signal(_, number) | Self::SignalGroup(_, number) => *number != libc::SIGKILL,
            Self::Arm(..) | Self::Extend(..) | Self::Disarm(_) | Self::Watch(..) | Self::Announce(_) | Self::Spawn(_) => true,
            _ => false,
        }
    }
}
