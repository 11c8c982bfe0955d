//! Why a run ends, decided once: by what ended, what killed it, and why it is not started again.

use super::{Duration, Effect, Ended, Ending, Lifecycle, Moment, Phase, ProcessId};
use crate::plan::process::RestartPlan;
use crate::state::process::{NoRestart, refusal};

/// What is said of a death for want of memory.
const FOR_MEMORY: &str = ": the kernel killed it for want of memory; check the container's memory limit";

impl Lifecycle {
    /// Decides how the run ends; the first decision stands.
    pub(super) fn decide(&mut self, code: u8, sentence: String) {
        let stopped = [libc::SIGTERM, libc::SIGINT].into_iter().any(|signal| code == Ended::Signal(signal as u8).exit_code());
        let as_asked = code == 0 || self.requests.count > 0 && stopped;
        self.ending.get_or_insert(Ending { code, sentence, as_asked });
    }

    pub(super) fn fail(&mut self, now: Moment, code: u8, sentence: String, effects: &mut Vec<Effect>) {
        self.decide(code, sentence);
        self.enter(now, Phase::Failed);
        self.close(effects);
    }

    /// The process' own status is the exit code, except where the operator declared it a success of stopping.
    pub(super) fn decide_by(&mut self, ended: Ended, ran: Option<Duration>, for_memory: &str) {
        let stop_requested = self.requests.count > 0;
        let in_a_row = self.process(ProcessId::Main).in_a_row;
        let own = ended.exit_code();
        let success = stop_requested && self.main().is_some_and(|main| main.success_codes.contains(&own));
        let after = if stop_requested && for_memory.is_empty() { " after it was asked to stop" } else { "" };
        let not_again = match self.main() {
            Some(main) if !stop_requested && self.shutdown.is_none() => why_not_again(&main.restart, in_a_row, ran, ended),
            _ => String::new(),
        };
        self.decide(if success { 0 } else { own }, format!("the process ended with {ended}{after}{for_memory}{not_again}"));
    }

    /// What is to be said of the end of this process, which has just come: whether it was killed for want of memory.
    pub(super) fn of_memory(&mut self, id: ProcessId) -> &'static str {
        if self.out_of_memory.take() == Some(id) { FOR_MEMORY } else { "" }
    }
}

/// Why a process that ended so is not started again although it might have been; empty where nobody expects it.
pub(super) fn why_not_again(plan: &RestartPlan, in_a_row: u32, ran: Option<Duration>, ended: Ended) -> String {
    match refusal(plan, in_a_row, ran, ended) {
        Some(NoRestart::Permanent) => "; it is not started again, because that status says that it would be of no use".to_owned(),
        Some(NoRestart::Limit) => format!(
            "; it is not started again: `restart_limit` allows {} in a row, until one runs for {} (`restart_reset`)",
            plan.limit,
            humantime::format_duration(plan.healthy_after)
        ),
        Some(NoRestart::Policy) | None => String::new(),
    }
}
