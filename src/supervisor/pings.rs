//! An expired watchdog: messages that the process sent in time but that were not read yet count first.

use super::Supervisor;
use super::intake::LAST_DATAGRAMS;
use crate::state::event::{Event, Notice, ProcessTimer, Timer};

/// For how many reads a watchdog is delayed: a thousand datagrams, the most that a socket usually holds. A flood cannot keep a hanging
/// process alive.
const MOST_READS: u32 = 16;

impl Supervisor {
    /// Whether this expired timer has to wait, because a message was just read that may reset it, or there is more to read.
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
            // The message resets it.
            self.timers.disarm(timer);
            *reads = 0;
        }
        self.queue.extend(notices.into_iter().map(|notice| Event::Notified(id, notice)));
        true
    }
}
