//! The entry points for `fuzz/`: parsers of untrusted data that are otherwise private. Built only by cargo-fuzz (`--cfg fuzzing`).

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Moment;
use crate::heartbeat::instances as records;
use crate::names;
use crate::probe::redis::heartbeat_reader::{self, InstanceRecord};
use crate::process::{notify, output};
use crate::state::event::Notice;
use crate::state::instances::Instances;

/// The notices in one datagram of `sd_notify(3)`.
pub fn notices(text: &str) -> Vec<Notice> {
    notify::read(text).collect()
}

/// The resulting stream if children of these names, by index, write these pieces and end.
pub fn passed_on(names: &[&str], pieces: &[(usize, &[u8])]) -> Vec<u8> {
    output::passed_on(names, pieces)
}

/// The addresses in a name server's response to a query about `name`, whose id is first set in the response; none if it is not a response.
pub fn resolved(name: &str, six: bool, answer: &mut [u8]) -> Option<Vec<IpAddr>> {
    names::read_answer(name, six, answer)
}

/// The instances in the reply of the heartbeat's listing script, in the bytes of Redis; none if it is something else.
pub fn instances(bytes: &[u8], now: Moment) -> Option<Instances> {
    let value = redis::parse_redis_value(bytes).ok()?;
    records::read(&value, "own", Duration::from_secs(60), now).ok()
}

/// The instances in one page of the readers' listing script, in the bytes of Redis; none if it is something else.
pub fn listed(bytes: &[u8]) -> Option<Vec<InstanceRecord>> {
    let value = redis::parse_redis_value(bytes).ok()?;
    heartbeat_reader::page(&value).map(|(_, found)| found)
}
