//! The loop of one run: take an event, let the reducer decide, publish what is known, perform what was decided.
//!
//! It blocks in one `poll(2)` for signals, messages and timers. It shares nothing with the threads that talk to the network, so
//! that a fault there cannot cost a signal or an exit status.

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
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use crate::clock::{Moment, processor_time, suspended};
use crate::control::{Control, Sources};
use crate::event_log::EventLog;
use crate::log;
use crate::mailbox::{Inbox, mailbox};
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

/// Processor time after which a turn takes no further event, so that signals and ends are looked for again.
const SHARE: Duration = Duration::from_millis(1);

/// One run in progress.
struct Supervisor {
    /// It has the plan, which a reload changes; everybody else looks at that one.
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
    /// How many news of spawns stand at the queue's front.
    news: usize,
    published: Arc<Published>,
    background: Background,
    event_log: EventLog,
    /// What the migration gets into its environment besides its plan's.
    lock_environment: Vec<(String, String)>,
    /// Whose groups' end is awaited.
    awaited_groups: Vec<ProcessId>,
    /// Whether children may have ended that were not reaped yet, because they were too many for one turn.
    unreaped: bool,
    /// How often was read what a process said before its watchdog, which has run out, counts.
    reads: BTreeMap<ProcessId, u32>,
}

/// Runs the plan to its end. All signals must be blocked; the health endpoint answers from the first moment on.
/// With `sources`, orders are taken over the unix socket, and a reload reads from there. Comes with the time that is left for a slow
/// reader of the last line.
///
/// # Errors
/// Only before anything was started: the kernel refused a signalfd, an eventfd or a thread.
pub fn run(
    plan: Plan,
    listeners: Option<Listeners>,
    inherited: InheritedEnvironment,
    sources: Option<Sources>,
    subsystems: Subsystems,
) -> io::Result<(Ending, Duration)> {
    let signals = Signals::open()?;
    let (sender, inbox) = mailbox()?;
    let now = Moment::now();
    let plan = Arc::new(plan);
    let lifecycle = Lifecycle::new(Arc::clone(&plan), now).as_init(sys::own_ids().0 == 1);
    let published = Arc::new(Published::new(lifecycle.snapshot().clone(), Arc::clone(&plan)));
    if plan.own_command {
        let program = plan.main.as_ref().map_or("", |main| main.argv.program());
        listeners.and_then(Listeners::into_unix).map(|listener| server::own::start(listener, program)).transpose()?;
    } else if let (Some(listeners), Some(health)) = (listeners, &plan.health) {
        let control = sources.map(|sources| Control::new(sources, sender.clone(), Arc::clone(&published)));
        let controller = control.map(|control| controller(Arc::new(control)));
        background::serve(listeners, Arc::new(health.clone()), Arc::clone(&published), controller, subsystems)?;
    }
    // Its end is this process' end, which gives everything back at once: threads that were told to end would run first.
    let mut supervisor = ManuallyDrop::new(Supervisor {
        reports: BTreeMap::new(),
        memory: OutOfMemory::new(now),
        remaining: Remaining::default(),
        systemd: SystemdNotifier::new(&inherited.environment, now),
        event_log: EventLog::new(&plan, now),
        background: Background::start(&plan, &published, &sender, subsystems)?,
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
    });
    Ok(supervisor.turn(&signals, &inbox))
}

fn controller(control: Arc<Control>) -> Controller {
    Arc::new(move |target| {
        let control = Arc::clone(&control);
        Box::pin(async move {
            // A task of its own: an order that was begun is given even when nobody waits for it any more.
            let taking = Arc::clone(&control);
            match tokio::spawn(async move { taking.take(&target).await }).await {
                Ok(taken) => control.answer(taken).await,
                Err(_) => (500, "{\"exit\":70,\"sentence\":\"the order failed; see the log\"}\n".to_owned()),
            }
        })
    })
}

impl Supervisor {
    /// Turns until an effect says to leave. After the first spawn nothing here may fail: every error is a line in the log.
    fn turn(&mut self, signals: &Signals, inbox: &Inbox) -> (Ending, Duration) {
        let mut began = processor_time();
        loop {
            if self.work() {
                self.children.send_all_signals();
                let budget = self.lifecycle.plan().stop_budget();
                let stop = self.lifecycle.stop_since().map(|since| StopDeadline { since, budget });
                self.children.finish_output(stop);
                let ending = self.lifecycle.ending().cloned().unwrap_or_else(|| Ending {
                    code: 70,
                    sentence: "no end was decided".to_owned(),
                    as_asked: false,
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
            let next = self.next_turn(now);
            let rung = self.wait(signals, inbox, next);
            began = processor_time();
            self.look_for_gap(now, next, began);
            self.published.turns.begin(self.gaps.woke());
            self.collect(signals, inbox, rung);
        }
    }

    /// Takes the events that wait, for a bounded time: then signals and ends are looked for again. True when the run is over.
    fn work(&mut self) -> bool {
        let began = processor_time();
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

    /// What happened next. A timer that has run out comes last: what happened before may have stopped it or armed it anew.
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

    /// Takes one event in; true when the run is over.
    fn take(&mut self, event: Event) -> bool {
        let now = Moment::now();
        // Nobody else publishes, so this is what the reducer knows until it has taken the event in.
        let (before, _) = self.published.look();
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
        // What somebody waits for comes before the words about it; they are written at the end of the turn anyway.
        while let Some(effect) = effects.next_if(Effect::is_urgent) {
            self.perform(effect, now);
        }
        self.event_log.record(&before, self.lifecycle.snapshot(), now);
        self.systemd.notify(&before, self.lifecycle.snapshot());
        effects.any(|effect| self.perform(effect, now))
    }
}
