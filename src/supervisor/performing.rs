//! Performs the effects of the reducer: timers, signals, starts, and requests to the subsystems.

use std::io;
use std::sync::Arc;

use tracing::{debug, error, warn};

use super::Supervisor;
use super::preparing::Work;
use crate::clock::Moment;
use crate::migration::LockOrder;
use crate::plan::process::StartSign;
use crate::prober::ProcessWatch;
use crate::process::terminal;
use crate::state::event::{Effect, Inquiry, ProcessId, ProcessTimer, Suspend, Timer, Watch};
use crate::state::lifecycle::Ending;
use crate::sys;

impl Supervisor {
    pub(super) fn perform(&mut self, effect: Effect, now: Moment) -> bool {
        match effect {
            // Replicas that died at the same time must not restart at the same time.
            Effect::Arm(timer @ Timer::Process(ProcessId::Main | ProcessId::Module(_), ProcessTimer::Restart), after) => {
                self.timers.arm(timer, now, after.mul_f64(0.8 + 0.2 * fastrand::f64()))
            }
            Effect::Arm(timer, after) => {
                self.remaining.armed(timer, now, after);
                self.timers.arm(timer, now, after);
            }
            Effect::Extend(timer, by) => self.timers.extend(timer, now, by),
            Effect::Disarm(timer) => self.timers.disarm(timer),
            Effect::AcquireLock => self.background.acquire_lock(LockOrder::Acquire),
            Effect::TakeLock => self.background.acquire_lock(LockOrder::Take),
            Effect::ReleaseLock => self.background.release_lock(),
            Effect::QueryDatabase => self.background.verify(),
            Effect::ConfirmLock => self.background.confirm_lock(),
            Effect::Prepare(inquiry) => {
                let plan = self.lifecycle.plan();
                let work = match inquiry {
                    Inquiry::Step(id) => plan.steps.get(id).map(|step| Work::Step(Box::new(step.clone()))),
                    Inquiry::Item(_, number) => self.lifecycle.step_item(number).map(|item| Work::Condition(item.condition.clone())),
                    Inquiry::Migration => plan.migration.as_ref().map(|plan| Work::Condition(plan.condition.clone())),
                };
                if let Some(work) = work {
                    self.preparer.begin(inquiry, work);
                }
            }
            Effect::CancelPreparation => self.preparer.cancel(),
            Effect::Spawn(id) => self.spawn(id, None),
            Effect::QuerySchema(purpose) => self.spawn(ProcessId::Migration, Some(purpose)),
            Effect::AwaitGroup(id) => {
                if !self.awaited_groups.contains(&id) {
                    self.awaited_groups.push(id);
                }
                self.look_for_group();
            }
            Effect::Signal(id, number) => Self::signalled(number, self.children.signal(id, number)),
            Effect::SignalGroup(id, number) => {
                self.report_killed(number, Some(id));
                Self::signalled(number, self.children.signal_group(id, number));
            }
            Effect::SignalSurvivors(number) => {
                self.exec_probes.close(&self.children);
                self.remaining.stop_requested(now);
                self.report_killed(number, None);
                self.children.signal_survivors(number);
                self.harvest();
            }
            Effect::SignalLatecomers(number) => {
                self.children.signal_latecomers(number);
                self.harvest();
            }
            Effect::Watch(id, what) => self.background.watch(id, self.watched(id, what)),
            Effect::Reload => self.background.reload(Arc::clone(self.lifecycle.plan())),
            Effect::ProbeAll => self.background.probe_all(),
            Effect::ProbeNow => self.background.probe_now(),
            Effect::Suspend(id, how) => self.suspend(id, how),
            Effect::Resume(id) => Self::signalled(libc::SIGCONT, self.children.resume(id)),
            Effect::RestartLease(length) => self.background.lease(length),
            Effect::Hold => self.hold(),
            Effect::Announce(readiness) => {
                debug!("readiness for the heartbeat is {readiness:?}");
                self.background.announce(readiness);
            }
            Effect::Exit(_) => return true,
        }
        false
    }

    /// The targets of a process' probes.
    fn watched(&self, id: ProcessId, what: Watch) -> Option<ProcessWatch> {
        let plan = self.lifecycle.plan();
        let module = if let ProcessId::Module(id) = id { plan.module(id) } else { None };
        let process = module.map(|module| &module.process).or(plan.main.as_ref())?;
        match (what, process.started.as_ref().map(|started| &started.sign)) {
            (Watch::Start, Some(StartSign::Answers { target, timeout })) => {
                Some(ProcessWatch::Start { target: target.clone(), timeout: *timeout })
            }
            (Watch::Checks, _) => {
                let checks = module?.checks.iter().filter_map(|number| Some((*number, plan.checks.get(*number)?.clone())));
                Some(ProcessWatch::Checks(checks.collect()))
            }
            (Watch::Start | Watch::Nothing, _) => None,
        }
    }

    /// Suspends this process until CONT, as a shell's job control expects.
    fn suspend(&mut self, id: ProcessId, how: Suspend) {
        let (own, _) = sys::own_ids();
        if own != 1 && (how == Suspend::Always || terminal::is_job()) {
            let _ = sys::send(own, libc::SIGSTOP);
        } else if how == Suspend::AsJobOrNotAtAll && self.children.in_foreground(id) {
            Self::signalled(libc::SIGCONT, self.children.resume(id));
        }
    }

    fn hold(&self) {
        if let Some(Ending { code, sentence, .. }) = self.lifecycle.ending() {
            error!("{sentence}; held for inspection until TERM, then exit code {code}");
        }
    }

    /// A signal that cannot be sent does not end the run: the child may have changed its user.
    fn signalled(number: i32, result: io::Result<()>) {
        match result {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                warn!("cannot send {} to the process: {error}; continuing", crate::exit::signal_name(number));
            }
            _ => debug!("sent {}", crate::exit::signal_name(number)),
        }
    }
}
