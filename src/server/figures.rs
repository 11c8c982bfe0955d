//! The metrics of the server itself: its responses, and the kernel's data about this process.

use std::cell::RefCell;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

use crate::clock::Moment;
use crate::view::figures::{Figures, ProcessFigures, RequestCounts};

thread_local! {
    // Only the serving thread counts and reads; after a panic the restarted server continues counting.
    static REQUESTS: RefCell<RequestCounts> = RefCell::default();
}

/// Counts one response.
pub(super) fn observe(route: &'static str, method: &str, status: u16, took: Duration) {
    REQUESTS.with_borrow_mut(|requests| requests.observe(route, method, status, took));
}

/// The current metrics; `longest_turn` is that of the main loop.
pub(super) fn figures(longest_turn: Duration) -> Figures {
    Figures { requests: REQUESTS.with_borrow(Clone::clone), process: process(), longest_turn }
}

/// The kernel's data about this process, by system calls if possible, because a file in `/proc` costs ten times as much. None without
/// `/proc`.
fn process() -> Option<ProcessFigures> {
    static STARTED: OnceLock<Option<Duration>> = OnceLock::new();
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| u64::try_from(page).ok())?;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_whitespace().map_while(|field| field.parse::<u64>().ok());
    let (virtual_memory, resident_memory) = (pages.next()? * page, pages.next()? * page);
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    // Since Linux 6.2 its size is the number of descriptors; before that it is counted, without the one that is opened for reading.
    let files = Path::new("/proc/self/fd");
    let open_files = match files.metadata().ok()?.len() {
        0 => (files.read_dir().ok()?.count() as u64).saturating_sub(1),
        files => files,
    };
    Some(ProcessFigures {
        cpu: Duration::from_micros(u64::try_from(micros).unwrap_or_default()),
        open_files,
        most_files: getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft),
        virtual_memory,
        resident_memory,
        started: (*STARTED.get_or_init(started))?,
    })
}

/// The start of this process, since the epoch (`proc_pid_stat(5)`, field 22).
fn started() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the name in parentheses, may contain anything; the rest begins with the third.
    let ticked = stat.rsplit_once(')')?.1.split_whitespace().nth(22 - 3)?.parse::<u64>().ok()?;
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u32::try_from(ticks).ok())?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime = Duration::try_from_secs_f64(uptime.split(' ').next()?.parse().ok()?).ok()?;
    Some((Moment::now().wall + Duration::from_secs(ticked) / ticks).saturating_sub(uptime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reports_the_figures_of_this_process() {
        let figures = process().unwrap();
        assert!(figures.open_files >= 3 && figures.most_files >= figures.open_files, "{figures:?}");
        assert!(figures.resident_memory > 100_000 && figures.virtual_memory >= figures.resident_memory, "{figures:?}");
        let age = Moment::now().wall.checked_sub(figures.started).unwrap();
        assert!(age < Duration::from_secs(3600), "{age:?}");
        let counted = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        assert!(figures.open_files.abs_diff(counted) < 32, "{figures:?}, and the directory has {counted}");
    }
}
