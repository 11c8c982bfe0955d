//! The instances of the service in the last reading of the registry. Their data is untrusted, so all of it is bounded.
#![warn(clippy::arithmetic_side_effects)]

use std::cmp::Reverse;
use std::time::Duration;

use super::phase::{Phase, Readiness, Status};
use crate::clock::Moment;

/// The maximum number of listed instances; further ones are only counted.
pub const MOST_LISTED: usize = 100;

/// The maximum length of a name or an address in bytes: the limit of portcullis for its own instance.
pub const LONGEST_NAME: usize = 255;

/// The instances when the registry was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instances {
    /// When it was read.
    pub read: Moment,
    /// How many report.
    pub all: u64,
    /// How many of them are ready.
    pub ready: u64,
    /// At most [`MOST_LISTED`] of them, those that have been silent longest; those that need attention come first.
    pub listed: Vec<Instance>,
}

/// One instance: a detail, like everything that names a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Whether it is this one.
    pub own: bool,
    /// Its readiness.
    pub readiness: Readiness,
    /// Its overall status; none if unknown.
    pub status: Option<Status>,
    /// The phase of its run; none if unknown.
    pub phase: Option<Phase>,
    /// Since when it has had this readiness, by its own clock since the epoch; none if unknown.
    pub since: Option<Duration>,
    /// Its address as seen from Redis' side of the network; none if unknown.
    pub address: Option<String>,
    /// How long it had been silent when the registry was read.
    pub silent: Duration,
    /// Whether that was longer than its interval allows.
    pub late: bool,
}

impl Instances {
    /// Sorts those that need attention first and limits the list.
    pub fn new(read: Moment, all: u64, ready: u64, mut listed: Vec<Instance>) -> Self {
        let badness = |instance: &Instance| match instance.readiness {
            Readiness::NotReady | Readiness::Stopped => 3,
            Readiness::Unknown => 2,
            Readiness::Ready if instance.late || instance.status == Some(Status::Down) => 1,
            Readiness::Ready => 0,
        };
        listed.truncate(MOST_LISTED);
        listed.sort_unstable_by(|one, other| (Reverse(badness(one)), &one.name).cmp(&(Reverse(badness(other)), &other.name)));
        Self { read, all, ready, listed }
    }
}
