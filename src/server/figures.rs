//! What the server measures of itself: its answers, and what the kernel says of this process.

use std::cell::RefCell;
use std::time::Duration;

use crate::clock::Moment;
use crate::view::figures::{Figures, ProcessFigures, Requests};

thread_local! {
    // The thread that serves is the only one that counts and reads; a server that is started again after a panic goes on counting.
    static REQUESTS: RefCell<Requests> = RefCell::default();
}

/// Counts one answer.
pub(super) fn observe(route: &'static str, method: &str, status: u16, took: Duration) {
    REQUESTS.with_borrow_mut(|requests| requests.observe(route, method, status, took));
}

/// Everything as it is now.
pub(super) fn figures() -> Figures {
    Figures { requests: REQUESTS.with_borrow(Clone::clone), process: process() }
}

/// What `proc_pid_stat(5)` tells; none without a `/proc`.
fn process() -> Option<ProcessFigures> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in parentheses and may hold anything; the ones counted here begin with the third.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u32::try_from(ticks).ok())?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| u64::try_from(page).ok())?;
    let time = |ticked: u64| Duration::from_secs(ticked) / ticks;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime = Duration::try_from_secs_f64(uptime.split(' ').next()?.parse().ok()?).ok()?;
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()).map(str::parse);
    Some(ProcessFigures {
        cpu: time(field(14)? + field(15)?),
        // One of them reads the directory.
        open_files: (std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1),
        most_files: most.and_then(Result::ok).unwrap_or(u64::MAX),
        virtual_memory: field(23)?,
        resident_memory: field(24)? * page,
        started: (Moment::now().wall + time(field(22)?)).saturating_sub(uptime),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_this_process() {
        let told = process().unwrap();
        assert!(told.open_files >= 3 && told.most_files >= told.open_files, "{told:?}");
        assert!(told.resident_memory > 100_000 && told.virtual_memory >= told.resident_memory, "{told:?}");
        let age = Moment::now().wall.checked_sub(told.started).unwrap();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }
}
