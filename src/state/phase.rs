//! The phase of a run, its status for Spring clients, and its readiness for the heartbeat.

/// The phase of a run; it only moves forward, except from running back to starting for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has begun.
    Init,
    /// It waits for dependencies.
    Waiting,
    /// The migration runs, or this replica waits for its lock.
    Migrating,
    /// The process is being started, or its startup check has not passed yet.
    Starting,
    /// The process runs.
    Running,
    /// It is being stopped, and not ready.
    Draining,
    /// It has ended as intended.
    Stopped,
    /// The start failed.
    Failed,
}

impl Phase {
    /// Every phase in order.
    pub const ALL: [Self; 8] =
        [Self::Init, Self::Waiting, Self::Migrating, Self::Starting, Self::Running, Self::Draining, Self::Stopped, Self::Failed];

    /// Whether the shutdown has begun, or the run has ended: nothing is started any more.
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Draining | Self::Stopped | Self::Failed)
    }

    /// The name in logs, metrics and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Waiting => "waiting",
            Self::Migrating => "migrating",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// The overall status: UNKNOWN until the start is complete, then UP or DOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The start is not complete.
    Unknown,
    /// Everything that counts is up.
    Up,
    /// Something that counts is not up.
    Down,
    /// It is being stopped.
    OutOfService,
}

impl Status {
    /// The name in Spring.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::OutOfService => "OUT_OF_SERVICE",
        }
    }
}

/// The readiness for readers of the heartbeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// The start is not complete.
    #[default]
    Unknown,
    /// It accepts traffic.
    Ready,
    /// It does not accept traffic.
    NotReady,
    /// This instance is shutting down.
    Stopped,
}
