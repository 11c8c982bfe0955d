//! Why a run ends, decided once: what ended, what killed it, and why it is not restarted.

use super::{Duration, Effect, Ended, Ending, Lifecycle, Moment, Phase, ProcessId};
use crate::plan::process::RestartPlan;
use crate::state::process::{NoRestart, refusal};

/// The text for an out-of-memory kill.
const FOR_MEMORY: &str = ": the kernel killed it because memory ran out; check the container's memory limit";

impl Lifecycle {
    /// Decides how the run ends; the first decision counts.
    pub(super) fn decide(&mut self, code: u8, sentence: String) {
        let stopped = [libc::SIGTERM, libc::SIGINT].into_iter().any(|signal| code == Ended::Signal(signal as u8).exit_code());
        let as_requested = code == 0 || self.requests.count > 0 && stopped;
        self.ending.get_or_insert(Ending { code, sentence, as_requested });
    }

    pub(super) fn fail(&mut self, now: Moment, code: u8, sentence: String, effects: &mut Vec<Effect>) {
        self.decide(code, sentence);
        self.enter(now, Phase::Failed);
        self.close(effects);
    }

    /// The exit code is the status of the process, unless the operator declared that status a success after a stop.
    pub(super) fn decide_by(&mut self, ended: Ended, ran: Option<Duration>, for_memory: &str) {
        let stop_requested = self.requests.count > 0;
        let in_a_row = self.process(ProcessId::Main).in_a_row;
        let own = ended.exit_code();
        let success = stop_requested && self.main().is_some_and(|main| main.success_codes.contains(&own));
        let after = if stop_requested && for_memory.is_empty() { " after a stop was requested" } else { "" };
        let not_again = match self.main() {
            Some(main) if !stop_requested && self.shutdown.is_none() => why_not_again(&main.restart, in_a_row, ran, ended),
            _ => String::new(),
        };
        self.decide(if success { 0 } else { own }, format!("the process ended with {ended}{after}{for_memory}{not_again}"));
    }

    /// The text for the end of this process if it was an out-of-memory kill.
    pub(super) fn of_memory(&mut self, id: ProcessId) -> &'static str {
        if self.out_of_memory.take() == Some(id) { FOR_MEMORY } else { "" }
    }
}

/// Why a process is not restarted although its settings allow restarts; empty otherwise.
pub(super) fn why_not_again(plan: &RestartPlan, in_a_row: u32, ran: Option<Duration>, ended: Ended) -> String {
    match refusal(plan, in_a_row, ran, ended) {
        Some(NoRestart::Permanent) => "; it is not restarted, because that status means that a restart is of no use".to_owned(),
        Some(NoRestart::Limit) => format!(
            "; it is not restarted: `restart_limit` allows {} restarts in a row, until it has run for {} (`restart_reset`)",
            plan.limit,
            humantime::format_duration(plan.healthy_after)
        ),
        Some(NoRestart::Policy) | None => String::new(),
    }
}
