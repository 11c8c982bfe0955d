//! The limit of open files, raised for as many connections as the configuration allows.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::warn;

use super::MOST_CONNECTIONS;
use crate::plan::HealthPlan;

/// Files that everything besides the connections over TCP may have open: checks, processes, the unix socket.
const OTHERS: u64 = 512;

const FILES: Resource = Resource::RLIMIT_NOFILE;

/// Raises the soft limit if the configuration allows more connections than it has room for. Returns the original limit, for children.
pub fn make_room(health: &HealthPlan) -> Option<(u32, u64, u64)> {
    if health.max_connections <= MOST_CONNECTIONS {
        return None;
    }
    let needed = OTHERS.saturating_add((health.max_connections * health.listen.len()) as u64);
    let (soft, hard) = getrlimit(FILES).ok().filter(|(soft, _)| *soft < needed)?;
    setrlimit(FILES, needed.min(hard), hard).ok().map(|()| (FILES as u32, soft, hard))
}

/// The number of connections that may be open on each TCP listener, which the limit of open files may restrict.
pub(super) fn allowed(health: &HealthPlan) -> usize {
    let configured = health.max_connections;
    let Ok((soft, _)) = getrlimit(FILES) else { return configured };
    let allowed = restricted(configured, health.listen.len(), soft);
    if allowed < configured {
        warn!(
            "the limit of open files is {soft}: {allowed} connections are allowed instead of `max_connections` = {configured} in [health]"
        );
    }
    allowed
}

/// Never below the default, for which no limit is known to be too low.
fn restricted(configured: usize, listeners: usize, files: u64) -> usize {
    let room = files.saturating_sub(OTHERS).checked_div(listeners as u64).unwrap_or_default();
    configured.min(usize::try_from(room).unwrap_or(usize::MAX).max(MOST_CONNECTIONS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_restricts_more_than_the_default() {
        for (configured, listeners, files, expected) in [
            (64, 1, 20, 64),
            (3, 1, 20, 3),
            (1000, 1, 1512, 1000),
            (1000, 2, 1512, 500),
            (1000, 1, 1024, 512),
            (1000, 1, 20, 64),
            (1000, 1, u64::MAX, 1000),
            (1000, 0, 1024, 64),
        ] {
            assert_eq!(restricted(configured, listeners, files), expected, "{configured} {listeners} {files}");
        }
    }
}
