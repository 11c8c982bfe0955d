//! Tells the log what changed from one snapshot to the next, and how long something has been waited for.

mod modules;

use std::time::Duration;

use tracing::{error, info, warn};

use crate::clock::Moment;
use crate::log;
use crate::outcome::Class;
use crate::state::check::{Check, State, Verdict};
use crate::state::snapshot::{Migration, Phase, Snapshot, Step};

/// How often a wait that goes on is mentioned.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How often the live lines of a terminal are redrawn.
const LIVE_EVERY: Duration = Duration::from_millis(250);

/// Speaks about one run.
#[derive(Debug)]
pub struct Narrator {
    terminal: bool,
    limits: Vec<Duration>,
    told: Moment,
    drawn: bool,
}

impl Narrator {
    /// A narrator of checks that are waited for this long each, in the order of the snapshot.
    pub fn new(limits: Vec<Duration>, now: Moment) -> Self {
        Self { terminal: log::is_terminal(), limits, told: now, drawn: false }
    }

    /// Tells what is different in `after`.
    pub fn tell(&self, before: &Snapshot, after: &Snapshot, now: Moment) {
        // What becomes of a module's process is told of the module.
        for new in after.checks.iter().filter(|check| check.module.is_none() || check.id.is_some()) {
            if let Some(old) = before.check(&new.name).filter(|old| old.totals != new.totals) {
                self.tell_check(old, new, before.phase, now);
            }
        }
        for new in after.stages.iter().filter(|stage| stage.step == Step::Up && stage.name.starts_with("wait:")) {
            if before.stage(&new.name).is_some_and(|old| old.step != new.step) {
                info!("{} is ready after {}", new.name.trim_start_matches("wait:"), took(new.began, new.ended));
            }
        }
        if before.migration != after.migration {
            tell_migration(before, after, now);
        }
        match after.migration_lock.attempts {
            attempts if attempts == before.migration_lock.attempts => {}
            1 if after.migration_lock.kind.is_none() => info!("running the migration, without a lock"),
            1 => info!("running the migration"),
            attempts => warn!("the migration failed; running it again, try {attempts}"),
        }
        tell_phase(before, after, &self.limits);
        modules::tell(before, after);
    }

    fn tell_check(&self, old: &Check, new: &Check, phase: Phase, now: Moment) {
        let Some(record) = new.last() else { return };
        let was = old.last().map(|record| record.class);
        let waiting = phase == Phase::Waiting && new.id.and_then(|id| self.limits.get(id)).is_some_and(|limit| !limit.is_zero());
        if waiting {
            if record.class != Class::Ok && was != Some(record.class) {
                let (name, target, words) = (&new.name, &new.target, record.private.as_str());
                let (class, why) = (record.class, new.why(record.class));
                let line = format!("{name} is not ready: {} [{}] at {target} ({words}); {}", why.words(), class.word(), why.advice());
                // What time alone will not mend is said loudly.
                if matches!(class, Class::Auth | Class::Tls | Class::Protocol | Class::Status) { error!("{line}") } else { info!("{line}") }
            }
            return;
        }
        if old.verdict == new.verdict && old.effective(now).0 == new.effective(now).0 {
            return;
        }
        let (state, class) = new.effective(now);
        let why = new.why(class);
        match state {
            State::Down if new.stale_after.is_some() => {
                warn!("{} is down: {} at {} ({}); {}", new.name, why.words(), new.target, record.private.as_str(), why.advice());
            }
            State::Degraded => warn!("{} fails: {} at {} ({})", new.name, why.words(), new.target, record.private.as_str()),
            State::Up if old.verdict == Verdict::Down || old.effective(now).0 == State::Degraded => info!("{} is up again", new.name),
            _ => {}
        }
    }

    /// Mentions what is still waited for when it is time to; draws the live lines on a terminal.
    pub fn progress(&mut self, snapshot: &Snapshot, now: Moment) {
        let waits = waits(snapshot);
        if self.drawn && !self.may_draw(snapshot) {
            self.drawn = false;
            log::live(Vec::new());
        }
        if !waits || now.since(self.told) < self.every(snapshot) {
            return;
        }
        self.told = now;
        let lines = self.lines(snapshot, now);
        if self.may_draw(snapshot) {
            self.drawn = true;
            log::live(lines);
        } else {
            for line in lines {
                info!("{line}");
            }
        }
    }

    /// When [`Self::progress`] has something to do again; none while nothing is waited for.
    pub fn next(&self, snapshot: &Snapshot, now: Moment) -> Option<Duration> {
        waits(snapshot).then(|| self.every(snapshot).saturating_sub(now.since(self.told)))
    }

    fn every(&self, snapshot: &Snapshot) -> Duration {
        if self.may_draw(snapshot) { LIVE_EVERY } else { PROGRESS_EVERY }
    }

    /// Whether the lines may be drawn over: not once a child writes to the same terminal.
    fn may_draw(&self, snapshot: &Snapshot) -> bool {
        let migrates = matches!(snapshot.migration, Migration::Holder { .. });
        self.terminal && (snapshot.phase == Phase::Waiting || (snapshot.phase == Phase::Migrating && !migrates))
    }

    fn lines(&self, snapshot: &Snapshot, now: Moment) -> Vec<String> {
        let whole = |since: Moment| format!("{}s", now.since(since).as_secs());
        let since = whole(snapshot.phase_since);
        match snapshot.phase {
            Phase::Waiting => {
                let waits =
                    snapshot.checks.iter().zip(&self.limits).filter(|(check, limit)| !limit.is_zero() && check.verdict != Verdict::Up);
                waits
                    .map(|(check, limit)| {
                        let class = check.last().map_or(Class::Never, |record| record.class);
                        format!(
                            "still waiting for {}: {}, {since} of {}",
                            check.name,
                            check.why(class).words(),
                            humantime::format_duration(*limit)
                        )
                    })
                    .collect()
            }
            Phase::Migrating => match &snapshot.migration {
                Migration::Queued { since, holder } => {
                    vec![format!("still queueing for the migration lock held by {holder}, {}", whole(*since))]
                }
                Migration::Holder { since } => vec![format!("the migration has run for {}", whole(*since))],
                Migration::Idle => vec![format!("still asking for the migration lock, {since}")],
                Migration::Done => Vec::new(),
            },
            Phase::Starting => vec![format!("still waiting for the startup check, {since}")],
            _ => Vec::new(),
        }
    }
}

fn tell_phase(before: &Snapshot, after: &Snapshot, limits: &[Duration]) {
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
        Phase::Migrating if after.checks.is_empty() => info!("the migration is next"),
        Phase::Migrating => info!("everything is ready; the migration is next"),
        Phase::Starting => info!("starting the process"),
        Phase::Running => {
            info!("the process is up, {} after portcullis started", seconds(after.phase_since.since(after.started_at)));
        }
        Phase::Draining => info!("stopping: no longer ready"),
        Phase::Init | Phase::Stopped | Phase::Failed => {}
    }
}

/// Whether this is a phase in which somebody may ask what takes so long.
fn waits(snapshot: &Snapshot) -> bool {
    matches!(snapshot.phase, Phase::Waiting | Phase::Migrating | Phase::Starting)
}

fn tell_migration(before: &Snapshot, after: &Snapshot, now: Moment) {
    match (&before.migration, &after.migration) {
        (Migration::Queued { holder: old, .. }, Migration::Queued { holder, .. }) if old == holder => {}
        (_, Migration::Queued { holder, .. }) if !holder.is_empty() => info!("queueing for the migration lock held by {holder}"),
        (_, Migration::Holder { .. }) if after.migration_lock.kind.is_some() => info!("the migration lock is ours"),
        (Migration::Holder { since }, Migration::Done) => info!("the migration is over after {}", seconds(now.since(*since))),
        (_, Migration::Done) if after.migration_lock.ahead => {
            warn!("the schema is ahead of this replica, so the migration is left out; check that the versions fit together");
        }
        (_, Migration::Done) if after.migration_lock.attempts == 0 => info!("the schema is as it should be, so the migration is left out"),
        _ => {}
    }
}

fn took(began: Option<Moment>, ended: Option<Moment>) -> String {
    seconds(ended.unwrap_or_default().since(began.unwrap_or_default()))
}

/// Whole milliseconds below ten seconds, whole seconds above.
fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(10) { format!("{:.3}s", duration.as_secs_f64()) } else { format!("{}s", duration.as_secs()) }
}
