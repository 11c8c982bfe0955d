//! Logs what changed from one snapshot to the next, and how long the start has been waiting.

mod migration;
mod modules;
mod steps;

use std::time::Duration;

use tracing::{error, info, warn};

use crate::clock::Moment;
use crate::log;
use crate::outcome::ErrorKind;
use crate::plan::{ModuleId, Plan};
use crate::state::check::{Check, State, Verdict};
use crate::state::snapshot::{Child, HEARTBEAT, Healing, HealingStage, Migration, Phase, Snapshot, StageState};

/// How often a continuing wait is logged.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How often the live lines of a terminal are redrawn.
const LIVE_EVERY: Duration = Duration::from_millis(250);

/// Logs the events of one run.
#[derive(Debug)]
pub struct EventLog {
    terminal: bool,
    limits: Vec<Duration>,
    /// The modules that the start waits for.
    needed: Vec<ModuleId>,
    /// Whether the process is the service, which takes traffic.
    serves: bool,
    last_report: Moment,
    drawn: bool,
    /// The readiness that was last logged; none before the start is complete.
    ready: Option<bool>,
}

impl EventLog {
    /// The log of a run of this plan.
    pub fn new(plan: &Plan, now: Moment) -> Self {
        let limits = plan.checks.iter().map(|check| check.wait).collect();
        let needed = plan.first().map(|module| module.id).chain(plan.after.iter().copied()).collect();
        Self { terminal: log::is_terminal(), limits, needed, serves: !plan.own_command, last_report: now, drawn: false, ready: None }
    }

    /// Logs what is different in `after`.
    pub fn record(&mut self, before: &Snapshot, after: &Snapshot, now: Moment) {
        // Changes of a module's process are logged for the module, those of the heartbeat by its writer.
        let logged_elsewhere = |check: &Check| check.id.is_none() && (check.module.is_some() || check.name == HEARTBEAT);
        for (new, old) in after.checks.changed(&before.checks, |old, new| old.name == new.name) {
            if !logged_elsewhere(new) && old.totals != new.totals {
                self.record_check(old, new, before.phase, now);
            }
        }
        for (new, old) in after.stages.changed(&before.stages, |old, new| old.name == new.name) {
            if new.step == StageState::Up && new.name.starts_with("wait:") && old.step != new.step {
                info!("{} is ready after {}", new.name.trim_start_matches("wait:"), took(new.began, new.ended));
            }
        }
        steps::record(before, after);
        if before.phase != after.phase && after.phase == Phase::Migrating {
            info!("{}", if after.checks.is_empty() { "the migration is next" } else { "everything is ready; the migration is next" });
        }
        migration::record(before, after, now);
        record_phase(before, after, &self.limits);
        record_restart_limit("the process", &before.child, &after.child);
        modules::record(before, after);
        match self.readiness(after, now) {
            Some(true) => info!("ready: accepting traffic"),
            Some(false) if after.phase == Phase::Running => warn!("not ready: not accepting traffic"),
            _ => {}
        }
    }

    /// The readiness, if it has changed.
    fn readiness(&mut self, after: &Snapshot, now: Moment) -> Option<bool> {
        let ready = (after.started && self.serves).then(|| after.is_ready(now));
        let news = ready != self.ready;
        self.ready = ready;
        ready.filter(|_| news)
    }

    fn record_check(&self, old: &Check, new: &Check, phase: Phase, now: Moment) {
        let Some(record) = new.last() else { return };
        let was = old.last().map(|record| record.kind);
        let waiting = phase == Phase::Waiting && new.id.and_then(|id| self.limits.get(id)).is_some_and(|limit| !limit.is_zero());
        if waiting {
            if record.kind != ErrorKind::Ok && was != Some(record.kind) {
                let (name, target, words) = (&new.name, &new.target, record.private.as_str());
                let (kind, why) = (record.kind, new.why(record.kind));
                let line = format!("{name} is not ready: {} [{}] at {target} ({words}); {}", why.words(), kind.word(), why.advice());
                // Problems that do not go away by waiting are errors.
                if why.is_refusal() || matches!(kind, ErrorKind::Tls | ErrorKind::Protocol | ErrorKind::Status) {
                    error!("{line}")
                } else {
                    info!("{line}")
                }
            }
            return;
        }
        if old.verdict == new.verdict && old.effective(now).0 == new.effective(now).0 {
            return;
        }
        let (state, kind) = new.effective(now);
        let why = new.why(kind);
        match state {
            State::Down if new.stale_after.is_some() => {
                warn!("{} is down: {} at {} ({}); {}", new.name, why.words(), new.target, record.private.as_str(), why.advice());
            }
            State::Degraded => warn!("{} fails: {} at {} ({})", new.name, why.words(), new.target, record.private.as_str()),
            State::Up if old.verdict == Verdict::Down || old.effective(now).0 == State::Degraded => info!("{} is up again", new.name),
            _ => {}
        }
    }

    /// Logs from time to time what the start waits for; draws the live lines on a terminal.
    pub fn progress(&mut self, snapshot: &Snapshot, now: Moment) {
        if self.drawn && !self.may_draw(snapshot) {
            self.drawn = false;
            log::live(Vec::new());
        }
        let Some(lines) = self.due(snapshot, now) else { return };
        if self.may_draw(snapshot) {
            self.drawn = true;
            log::live(lines);
        } else {
            for line in lines {
                info!("{line}");
            }
        }
    }

    /// The lines about what the start waits for, which then count as logged; none before they are due.
    fn due(&mut self, snapshot: &Snapshot, now: Moment) -> Option<Vec<String>> {
        (self.next(snapshot, now) == Some(Duration::ZERO)).then(|| {
            self.last_report = now;
            self.lines(snapshot, now)
        })
    }

    /// When [`Self::progress`] is due again; none while the start waits for nothing.
    pub fn next(&self, snapshot: &Snapshot, now: Moment) -> Option<Duration> {
        let next = match &snapshot.migration {
            Migration::Queued { since, .. } if !self.may_draw(snapshot) => migration::next_mention(*since, self.last_report),
            // What has just begun is not "still" waited for.
            _ if snapshot.phase_since.mono > self.last_report.mono => snapshot.phase_since.after(self.every(snapshot)),
            _ => self.last_report.after(self.every(snapshot)),
        };
        waits(snapshot).then(|| next.since(now))
    }

    fn every(&self, snapshot: &Snapshot) -> Duration {
        if self.may_draw(snapshot) { LIVE_EVERY } else { PROGRESS_EVERY }
    }

    /// Whether the lines may be redrawn in place: not once a child writes to the same terminal.
    fn may_draw(&self, snapshot: &Snapshot) -> bool {
        let migrates = matches!(snapshot.migration, Migration::Holder { .. });
        self.terminal && snapshot.step.is_none() && (snapshot.phase == Phase::Waiting || (snapshot.phase == Phase::Migrating && !migrates))
    }

    fn lines(&self, snapshot: &Snapshot, now: Moment) -> Vec<String> {
        let whole = |since: Moment| format!("{}s", now.since(since).as_secs());
        let since = whole(snapshot.phase_since);
        if let Some(step) = &snapshot.step {
            return vec![steps::line(step, snapshot, now)];
        }
        match snapshot.phase {
            Phase::Waiting => {
                let waits =
                    snapshot.checks.iter().zip(&self.limits).filter(|(check, limit)| !limit.is_zero() && check.verdict != Verdict::Up);
                waits
                    .map(|(check, limit)| {
                        let kind = check.last().map_or(ErrorKind::Never, |record| record.kind);
                        format!(
                            "still waiting for {}: {}, {since} of {}",
                            check.name,
                            check.why(kind).words(),
                            humantime::format_duration(*limit)
                        )
                    })
                    .collect()
            }
            Phase::Migrating => migration::line(snapshot, now).into_iter().collect(),
            Phase::Init => modules::awaited(snapshot, &self.needed, now),
            Phase::Starting if snapshot.child.pid.is_none() => modules::awaited(snapshot, &self.needed, now),
            Phase::Starting => vec![format!("still waiting for the startup check, {since}")],
            _ => Vec::new(),
        }
    }
}

/// Logs that a check went down and cannot restart its process any more.
fn record_restart_limit(who: &str, before: &Child, after: &Child) {
    let spent = after.healing.as_ref().filter(|healing| healing.stage == HealingStage::Spent);
    if let Some(Healing { check, .. }) = spent.filter(|_| before.healing != after.healing) {
        warn!("{who} stays down: its check {check} went down, and `restart_limit` is used up");
    }
}

fn record_phase(before: &Snapshot, after: &Snapshot, limits: &[Duration]) {
    if before.child.pid.is_none()
        && let Some(pid) = after.child.pid
    {
        info!("the process runs as pid {pid}");
    }
    if before.phase == after.phase {
        return;
    }
    match after.phase {
        Phase::Waiting => {
            for (check, limit) in after.checks.iter().zip(limits).filter(|(_, limit)| !limit.is_zero()) {
                info!("waiting for {} ({}), {} at most", check.name, check.target, humantime::format_duration(*limit));
            }
        }
        Phase::Starting if after.child.pid.is_some() => {
            let check = after.child.healing.as_ref().map_or("", |healing| healing.check.as_str());
            warn!("the process is restarted: its check {check} went down (`on_down = \"restart\"`)");
        }
        Phase::Starting => info!("starting the process"),
        Phase::Running => {
            info!("the process is up, {} after portcullis started", seconds(after.phase_since.since(after.started_at)));
        }
        Phase::Draining => info!("stopping: no longer ready"),
        Phase::Init | Phase::Migrating | Phase::Stopped | Phase::Failed => {}
    }
}

/// Whether this is a phase with waits that are logged.
fn waits(snapshot: &Snapshot) -> bool {
    let first = snapshot.phase == Phase::Init && !snapshot.modules.is_empty();
    first || snapshot.step.is_some() || matches!(snapshot.phase, Phase::Waiting | Phase::Migrating | Phase::Starting)
}

fn took(began: Option<Moment>, ended: Option<Moment>) -> String {
    seconds(ended.unwrap_or_default().since(began.unwrap_or_default()))
}

/// Whole milliseconds below ten seconds, whole seconds above.
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) { format!("{:.3}s", duration.as_secs_f64()) } else { format!("{}s", duration.as_secs()) }
}
