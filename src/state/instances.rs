//! The instances of the service as the registry last told them. What they say of themselves is theirs, so all of it is bounded.
#![warn(clippy::arithmetic_side_effects)]

use std::cmp::Reverse;
use std::time::Duration;

use super::phase::{Phase, Readiness, Status};
use crate::clock::Moment;

/// More instances than these are counted and not listed.
pub const MOST_LISTED: usize = 100;

/// Bytes of a name or an address that are kept: what portcullis itself allows for an instance.
pub const LONGEST_NAME: usize = 255;

/// Who was there when the registry was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instances {
    /// When it was read.
    pub read: Moment,
    /// How many report.
    pub all: u64,
    /// How many of them are ready.
    pub ready: u64,
    /// At most [`MOST_LISTED`] of them, those that were silent the longest; what needs a look stands first.
    pub listed: Vec<Instance>,
}

/// One instance: a detail, as everything that names a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Whether it is this one.
    pub own: bool,
    /// What it wants its readers to do.
    pub readiness: Readiness,
    /// Its status as a whole; none when it does not say.
    pub status: Option<Status>,
    /// Where its run stands; none when it does not say.
    pub phase: Option<Phase>,
    /// Since when it is as ready as it is, by its own clock since the epoch; none when it does not say.
    pub since: Option<Duration>,
    /// Its address as Redis' side of the network sees it; none when it does not say.
    pub address: Option<String>,
    /// How long it had been silent when the registry was read.
    pub silent: Duration,
    /// Whether that was longer than it wants to be.
    pub late: bool,
}

impl Instances {
    /// Puts what needs a look first and bounds the list.
    pub fn new(read: Moment, all: u64, ready: u64, mut listed: Vec<Instance>) -> Self {
        let badness = |instance: &Instance| match instance.readiness {
            Readiness::NotReady | Readiness::Stopped => 3,
            Readiness::Unknown => 2,
            Readiness::Ready if instance.late || instance.status == Some(Status::Down) => 1,
            Readiness::Ready => 0,
        };
        listed.truncate(MOST_LISTED);
        listed.sort_by(|one, other| (Reverse(badness(one)), &one.name).cmp(&(Reverse(badness(other)), &other.name)));
        Self { read, all, ready, listed }
    }
}
