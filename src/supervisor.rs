//! The main loop of a run: take an event, call the reducer, publish the snapshot, perform the effects.
//!
//! It blocks in one `poll(2)` for signals, messages and timers. It shares nothing with the threads that use the network, so that an error
//! there cannot lose a signal or an exit status.

pub mod background;
mod exec_probes;
mod gap;
mod intake;
mod performing;
mod pings;
mod preparing;
mod remaining;
mod spawning;
mod stall_detector;
mod systemd_notifier;
mod timers;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use crate::clock::{Moment, processor_time, suspended};
use crate::control::{Control, Sources};
use crate::event_log::EventLog;
use crate::log;
use crate::mailbox::{Inbox, Mailbox, mailbox};
use crate::plan::Plan;
use crate::process::children::Children;
use crate::process::memory::OutOfMemory;
use crate::process::notify::Reports;
use crate::process::output::{self, StopDeadline};
use crate::process::signals::Signals;
use crate::process::spawn::InheritedEnvironment;
use crate::published::Published;
use crate::server::{self, Controller, Listeners};
use crate::state::event::{Effect, Event, LockNews, ProcessId};
use crate::state::lifecycle::{Ending, Lifecycle};
use crate::state::transition::Transition;
use crate::sys;
use background::{Background, Subsystems};
use exec_probes::ExecProbes;
use gap::Gaps;
use preparing::Preparer;
use remaining::Remaining;
use systemd_notifier::SystemdNotifier;
use timers::Timers;

/// Processor time after which a turn takes no further event, so that signals and ended processes are checked again.
const SHARE: Duration = Duration::from_millis(1);

/// One run in progress.
struct Supervisor {
    /// It has the plan, which a reload changes; all other code reads it from here.
    lifecycle: Lifecycle,
    children: Children,
    exec_probes: ExecProbes,
    preparer: Preparer,
    reports: BTreeMap<ProcessId, Reports>,
    memory: OutOfMemory,
    remaining: Remaining,
    systemd: SystemdNotifier,
    timers: Timers,
    gaps: Gaps,
    queue: VecDeque<Event>,
    /// The number of spawn results at the front of the queue.
    news: usize,
    published: Arc<Published>,
    background: Background,
    event_log: EventLog,
    /// Further variables for the migration, besides those of its plan.
    lock_environment: Vec<(String, String)>,
    /// The processes whose group has to become empty.
    awaited_groups: Vec<ProcessId>,
    /// Whether there may be more ended children than one turn could reap.
    unreaped: bool,
    /// How often notifications were read before an expired watchdog counts.
    reads: BTreeMap<ProcessId, u32>,
    /// Whether the stack that only the start needed was returned to the kernel.
    settled: bool,
}

/// Runs the plan to its end. All signals must be blocked; the health endpoint works from the first moment on. With `sources`, control
/// requests are accepted over the unix socket, and a reload reads from there. Also returns the time that is left for a slow reader of the
/// last line.
///
/// # Errors
/// Only before anything was started: the kernel refused a signalfd, an eventfd or a thread.
pub fn run(
    plan: &Arc<Plan>,
    listeners: Option<Listeners>,
    inherited: InheritedEnvironment,
    sources: Option<Sources>,
    subsystems: Subsystems,
) -> io::Result<(Ending, Duration)> {
    let signals = Signals::open()?;
    let (sender, inbox) = mailbox()?;
    // It ends with this process, which frees everything at once; dropping it would first wake threads to end them.
    let supervisor = Box::leak(begin(plan, listeners, inherited, sources, subsystems, sender, &inbox)?);
    Ok(supervisor.turn(&signals, &inbox))
}

/// Everything before the first turn. Not a part of [`run`], because its 16 kB of stack would stay in memory.
#[inline(never)]
fn begin(
    plan: &Arc<Plan>,
    listeners: Option<Listeners>,
    inherited: InheritedEnvironment,
    sources: Option<Sources>,
    subsystems: Subsystems,
    sender: Mailbox,
    inbox: &Inbox,
) -> io::Result<Box<Supervisor>> {
    let now = Moment::now();
    let lifecycle = Lifecycle::new(Arc::clone(plan), now).as_init(sys::own_ids().0 == 1);
    let published = Arc::new(Published::new(lifecycle.snapshot().clone(), Arc::clone(plan)));
    if plan.own_command {
        let program = plan.main.as_ref().map_or("", |main| main.command.argv.program());
        listeners.and_then(Listeners::into_unix).map(|listener| server::own::start(listener, program)).transpose()?;
    } else if let (Some(listeners), Some(health)) = (listeners, &plan.health) {
        let control = sources.map(|sources| Control::new(sources, sender.clone(), Arc::clone(&published)));
        let controller = control.map(|control| controller(Arc::new(control)));
        background::serve(listeners, Arc::new(health.clone()), Arc::clone(&published), controller, subsystems)?;
    }
    Ok(Box::new(Supervisor {
        reports: BTreeMap::new(),
        memory: OutOfMemory::new(now),
        remaining: Remaining::default(),
        systemd: SystemdNotifier::new(&inherited.environment, now),
        event_log: EventLog::new(plan, now),
        background: Background::start(plan, &published, &sender, subsystems)?,
        lifecycle,
        children: Children::new(inherited, Arc::clone(inbox.bell())),
        exec_probes: ExecProbes::default(),
        preparer: Preparer::new(sender),
        timers: Timers::default(),
        gaps: Gaps::new(now, processor_time(), suspended()),
        queue: VecDeque::from([Event::Begin]),
        news: 0,
        published,
        lock_environment: Vec::new(),
        awaited_groups: Vec::new(),
        unreaped: false,
        reads: BTreeMap::new(),
        settled: false,
    }))
}

fn controller(control: Arc<Control>) -> Controller {
    Arc::new(move |target| {
        let control = Arc::clone(&control);
        Box::pin(async move {
            // A separate task, so that a begun request continues even if its client no longer waits.
            let taking = Arc::clone(&control);
            match tokio::spawn(async move { taking.take(&target).await }).await {
                Ok(taken) => control.answer(taken).await,
                Err(_) => (500, "{\"exit\":70,\"sentence\":\"the request failed; see the log\"}\n".to_owned()),
            }
        })
    })
}

impl Supervisor {
    /// Loops until an exit effect. After the first spawn nothing here may fail: every error is only logged.
    fn turn(&mut self, signals: &Signals, inbox: &Inbox) -> (Ending, Duration) {
        let mut began = processor_time();
        loop {
            if self.work(began) {
                self.children.send_all_signals();
                let budget = self.lifecycle.plan().stop_budget();
                let stop = self.lifecycle.stop_since().map(|since| StopDeadline { since, budget });
                self.children.finish_output(stop);
                let ending = self.lifecycle.ending().cloned().unwrap_or_else(|| Ending {
                    code: 70,
                    sentence: "no end was decided".to_owned(),
                    as_requested: false,
                });
                return (ending, output::last_words(Moment::now(), stop));
            }
            self.children.send_signals();
            log::write();
            let now = Moment::now();
            self.event_log.progress(self.lifecycle.snapshot(), now);
            self.systemd.ping(now);
            self.background.look(now);
            self.look_at_memory(now);
            self.mention_left(now);
            if let Some(longest) = self.published.turns.end(processor_time().saturating_sub(began)) {
                debug!("the longest turn of the loop so far took {} us of processor time", longest.as_micros());
            }
            if !self.settled && self.lifecycle.snapshot().started {
                self.settled = true;
                sys::stack::return_unused();
            }
            let next = self.next_turn(now);
            let readable = self.wait(signals, inbox, next);
            began = processor_time();
            self.look_for_gap(now, next, began);
            self.published.turns.begin(self.gaps.woke());
            self.collect(signals, inbox, readable);
        }
    }

    /// Handles queued events until this turn, which began at `began`, has used its share of time; then signals and ended processes are
    /// checked again. True if the run is over.
    fn work(&mut self, began: Duration) -> bool {
        while let Some(event) = self.next_event() {
            if self.take(event) {
                return true;
            }
            if self.news == 0 && processor_time().saturating_sub(began) >= SHARE {
                break;
            }
        }
        false
    }

    /// The next event. An expired timer comes last, because an earlier event may have disarmed or reset it.
    fn next_event(&mut self) -> Option<Event> {
        if let Some(event) = self.queue.pop_front() {
            return Some(event);
        }
        let timer = self.timers.overdue(self.gaps.woke())?;
        if self.hears_first(timer) {
            return self.queue.pop_front();
        }
        self.timers.disarm(timer);
        Some(Event::Elapsed(timer))
    }

    /// Handles one event; true if the run is over.
    fn take(&mut self, event: Event) -> bool {
        let now = Moment::now();
        // Only this loop publishes, so this is the state of the reducer before the event.
        let before = self.published.snapshot();
        if let Event::Signalled(number) = event {
            debug!("got {}", crate::exit::signal_name(number));
        }
        if let Event::Lock(LockNews::Environment(environment)) = &event {
            self.lock_environment.clone_from(environment);
        }
        if matches!(event, Event::Lock(LockNews::Released)) {
            self.background.lock_is_back();
        }
        let effects = self.lifecycle.apply(now, event);
        self.news = 0;
        for Transition { machine, from, to } in self.lifecycle.transitions() {
            debug!("{machine}: {from} -> {to}");
        }
        self.published.publish(self.lifecycle.snapshot().clone(), self.lifecycle.plan());
        let mut effects = effects.into_iter().peekable();
        // The effects come before their log lines, because others wait for them; the lines are written at the end of the turn anyway.
        while let Some(effect) = effects.next_if(Effect::is_urgent) {
            self.perform(effect, now);
        }
        self.event_log.record(&before, self.lifecycle.snapshot(), now);
        self.systemd.notify(&before, self.lifecycle.snapshot());
        effects.any(|effect| self.perform(effect, now))
    }
}
