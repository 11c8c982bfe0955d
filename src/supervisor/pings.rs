//! A watchdog that has run out: what its process said in time, but was not read yet, counts first.

use super::Supervisor;
use super::intake::LAST_DATAGRAMS;
use crate::state::event::{Event, Notice, ProcessTimer, Timer};

/// How many reads a watchdog is put off for: a thousand datagrams, as many as an administrator may let a socket hold. Whoever sends more
/// keeps no hung process alive.
const MOST_READS: u32 = 16;

impl Supervisor {
    /// Whether this timer, which has run out, is to wait: something was said just now that may put it off, or there is more to read.
    pub(super) fn hears_first(&mut self, timer: Timer) -> bool {
        let Timer::Process(id, ProcessTimer::Watchdog) = timer else { return false };
        let Some(reports) = self.reports.get_mut(&id) else { return false };
        let reads = self.reads.entry(id).or_default();
        if *reads == MOST_READS || (*reads > 0 && !reports.may_hold_more()) {
            *reads = 0;
            return false;
        }
        *reads = reads.saturating_add(1);
        let notices = reports.take(LAST_DATAGRAMS, |pid| self.children.is_ours(pid));
        if notices.contains(&Notice::Watchdog) {
            // The ping arms it anew.
            self.timers.disarm(timer);
            *reads = 0;
        }
        self.queue.extend(notices.into_iter().map(|notice| Event::Notified(id, notice)));
        true
    }
}
