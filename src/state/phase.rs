//! Where a run stands, in the words that it has for itself, for Spring's readers and for those of its heartbeat.

/// Where a run stands; it only moves forward, except from running back to starting for a restart in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Nothing has begun.
    Init,
    /// Dependencies are waited for.
    Waiting,
    /// The migration runs, or its lock is queued for.
    Migrating,
    /// The process is being started, or its startup check has not passed yet.
    Starting,
    /// The process runs.
    Running,
    /// It is being stopped: not ready, and on its way out.
    Draining,
    /// It has ended as it was meant to.
    Stopped,
    /// The start failed.
    Failed,
}

impl Phase {
    /// Every phase in order.
    pub const ALL: [Self; 8] =
        [Self::Init, Self::Waiting, Self::Migrating, Self::Starting, Self::Running, Self::Draining, Self::Stopped, Self::Failed];

    /// Whether the run is on its way out, or has come to its end: nothing is started any more.
    pub const fn is_leaving(self) -> bool {
        matches!(self, Self::Draining | Self::Stopped | Self::Failed)
    }

    /// The word for logs, metrics and JSON.
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

/// The status that people ask for: UNKNOWN until the start is through, then UP or DOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The start is not through.
    Unknown,
    /// Everything that counts is up.
    Up,
    /// Something that counts is not.
    Down,
    /// It is being stopped.
    OutOfService,
}

impl Status {
    /// The word that Spring has for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Up => "UP",
            Self::Down => "DOWN",
            Self::OutOfService => "OUT_OF_SERVICE",
        }
    }
}

/// What the readers of the heartbeat shall see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// The start is not through.
    #[default]
    Unknown,
    /// Traffic may come.
    Ready,
    /// Traffic may not come.
    NotReady,
    /// This instance is leaving.
    Stopped,
}
