//! Prometheus' `/metrics`: text 0.0.4, or OpenMetrics 1.0.0 if the scraper requests it; always 200.

use std::fmt::Display;
use std::time::Duration;

use super::Response;
use super::exposition::{Exposition, MetricKind, OPENMETRICS, TEXT_FORMAT, syntax};
use super::figures::{Figures, LIMITS};
use crate::outcome::ErrorKind;
use crate::state::check::{Check, State, durations};
use crate::state::snapshot::{APP, Assessed, Assessment, Level, Look, Migration, ModuleState, Phase, Snapshot, Stage, StageState};

/// Every family. Base units, a fixed vocabulary, no addresses and no error texts.
///
/// `figures` are the metrics of the server itself; without them the families of the server and of the process are missing.
pub(super) fn render(assessment: &Assessment<'_>, accept: &str, figures: Option<&Figures>) -> Response {
    let Assessment { snapshot, look, .. } = *assessment;
    let openmetrics = !syntax(accept).is_empty();
    let mut page = Exposition::new(openmetrics);
    page.family("portcullis_build_info", MetricKind::Info, "Build of portcullis.", "");
    page.sample("portcullis_build_info", &[("version", snapshot.service.build)], 1);
    page.family("portcullis_phase", MetricKind::Gauge, "Lifecycle phase, one is 1.", "");
    for phase in Phase::ALL {
        page.sample("portcullis_phase", &[("phase", phase.word())], u8::from(phase == snapshot.phase));
    }
    for (name, help, level) in [
        ("portcullis_live", "1 if /livez would answer 200.", Level::Live),
        ("portcullis_ready", "1 if /readyz would answer 200.", Level::Ready),
        ("portcullis_started", "1 if /startupz would answer 200.", Level::Started),
    ] {
        page.single(name, MetricKind::Gauge, help, "", u8::from(assessment.passes(level)));
    }
    checks(&mut page, assessment);
    dependencies(&mut page, assessment);
    let restarts = snapshot.child.restarts;
    page.single("portcullis_child_restarts_total", MetricKind::Counter, "Restarts of the supervised process.", "", restarts);
    restarts_by_reason(&mut page, snapshot);
    modules(&mut page, snapshot);
    heartbeat(&mut page, snapshot);
    steps(&mut page, snapshot, look);
    migration(&mut page, snapshot, look);
    let started = snapshot.started_at.wall.as_secs_f64();
    page.single("portcullis_start_time_seconds", MetricKind::Gauge, "Start of portcullis since the epoch.", "seconds", started);
    if let Some(figures) = figures {
        requests(&mut page, figures);
        let name = "portcullis_loop_longest_turn_seconds";
        let help = "Longest processor time of one turn of the main loop.";
        page.single(name, MetricKind::Gauge, help, "seconds", figures.longest_turn.as_secs_f64());
        process(&mut page, figures);
    }
    let content_type = if openmetrics { OPENMETRICS } else { TEXT_FORMAT };
    Response { headers: vec![("vary", "Accept")], ..Response::new(200, content_type, page.finish()) }
}

fn checks(page: &mut Exposition, assessment: &Assessment<'_>) {
    /// A family with at most one sample per check.
    fn each<T: Display>(page: &mut Exposition, of: (&str, &str, &str), all: &Assessment<'_>, value: impl Fn(&Check) -> Option<T>) {
        let (name, help, unit) = of;
        page.family(name, MetricKind::Gauge, help, unit);
        for Assessed { check, .. } in &all.checks {
            if let Some(value) = value(check) {
                page.sample(name, &[("check", &check.name)], value);
            }
        }
    }
    let name = "portcullis_check_state";
    page.family(name, MetricKind::Gauge, "State of a check after thresholds and staleness, one is 1.", "");
    for Assessed { check, state, .. } in &assessment.checks {
        for other in State::ALL {
            page.sample(name, &[("check", &check.name), ("state", other.word())], u8::from(other == *state));
        }
    }
    let family = ("portcullis_check_consecutive_failures", "Failures in a row.", "");
    each(page, family, assessment, |check| Some(check.failures));
    let family = ("portcullis_check_duration_seconds", "Duration of the last run.", "seconds");
    each(page, family, assessment, |check| check.last().map(|record| record.elapsed.as_secs_f64()));
    let family = ("portcullis_check_last_run_timestamp_seconds", "When the check last finished.", "seconds");
    each(page, family, assessment, |check| check.last().map(|record| record.at.wall.as_secs_f64()));
    let family = ("portcullis_check_last_success_timestamp_seconds", "When the check last passed.", "seconds");
    each(page, family, assessment, |check| check.last_passed.map(|passed| passed.wall.as_secs_f64()));
    let name = "portcullis_check_runs_total";
    page.family(name, MetricKind::Counter, "Check runs by outcome; class is a fixed vocabulary.", "");
    for Assessed { check, .. } in &assessment.checks {
        runs(page, name, check);
    }
}

fn runs(page: &mut Exposition, name: &str, check: &Check) {
    // Successes are exported from the start, so that their rate is correct from the first one.
    let passed = check.totals.get(&ErrorKind::Ok).copied().unwrap_or_default();
    page.sample(name, &[("check", &check.name), ("class", ErrorKind::Ok.word())], passed);
    for (kind, count) in check.totals.iter().filter(|(kind, _)| **kind != ErrorKind::Ok) {
        page.sample(name, &[("check", &check.name), ("class", kind.word())], count);
    }
}

fn restarts_by_reason(page: &mut Exposition, snapshot: &Snapshot) {
    let name = "portcullis_restarts_total";
    page.family(name, MetricKind::Counter, "Restarts by reason: the process ended, or a check of it went down.", "");
    let modules = snapshot.modules.iter().map(|module| (module.name.as_str(), &module.child));
    for (process, child) in std::iter::once((APP, &snapshot.child)).chain(modules) {
        let ended = child.restarts.saturating_sub(child.restarts_by_check);
        for (reason, count) in [("exit", ended), ("check", child.restarts_by_check)] {
            page.sample(name, &[("process", process), ("reason", reason)], count);
        }
    }
}

fn modules(page: &mut Exposition, snapshot: &Snapshot) {
    if snapshot.modules.is_empty() {
        return;
    }
    let name = "portcullis_module_up";
    page.family(name, MetricKind::Gauge, "1 while the module runs and its start is complete.", "");
    for module in snapshot.modules.iter() {
        page.sample(name, &[("module", &module.name)], u8::from(module.state == ModuleState::Activated));
    }
    let name = "portcullis_module_restarts_total";
    page.family(name, MetricKind::Counter, "Restarts of the module.", "");
    for module in snapshot.modules.iter() {
        page.sample(name, &[("module", &module.name)], module.child.restarts);
    }
}

fn heartbeat(page: &mut Exposition, snapshot: &Snapshot) {
    let heartbeat = &snapshot.heartbeat;
    let name = "portcullis_heartbeat_writes_total";
    page.family(name, MetricKind::Counter, "Readiness heartbeats written to Redis.", "");
    page.sample(name, &[("result", "ok")], heartbeat.written);
    page.sample(name, &[("result", "error")], heartbeat.failed.values().sum::<u64>());
    let name = "portcullis_heartbeat_failures_total";
    page.family(name, MetricKind::Counter, "Readiness heartbeats that could not be written, by reason.", "");
    for (kind, count) in &heartbeat.failed {
        page.sample(name, &[("reason", kind.word())], count);
    }
    let name = "portcullis_heartbeat_last_success_seconds";
    page.family(name, MetricKind::Gauge, "When a heartbeat was last written, since the epoch.", "seconds");
    if let Some(written) = heartbeat.last_written {
        page.sample(name, &[], written.wall.as_secs_f64());
    }
}

/// The steps of the start, if there are any; `up` means done, or nothing to do.
fn steps(page: &mut Exposition, snapshot: &Snapshot, look: Look) {
    let steps = || snapshot.stages.iter().filter_map(|stage| Some((stage.name.strip_prefix("step:")?, stage)));
    if steps().next().is_none() {
        return;
    }
    let name = "portcullis_step_state";
    page.family(name, MetricKind::Gauge, "State of a step of the start, one is 1.", "");
    for (step, stage) in steps() {
        let now = match (stage.step, stage.began) {
            (StageState::Up, _) => "done",
            (StageState::Down, _) => "failed",
            (StageState::Unknown, Some(_)) => "running",
            (StageState::Unknown, None) => "pending",
        };
        for state in ["pending", "running", "done", "failed"] {
            page.sample(name, &[("step", step), ("state", state)], u8::from(state == now));
        }
    }
    let name = "portcullis_step_duration_seconds";
    page.family(name, MetricKind::Gauge, "Time that a step of the start took, or takes already.", "seconds");
    for (step, stage) in steps() {
        if let Some(began) = stage.began {
            page.sample(name, &[("step", step)], stage.ended.unwrap_or(look.now).since(began).as_secs_f64());
        }
    }
}

fn migration(page: &mut Exposition, snapshot: &Snapshot, look: Look) {
    let Some(stage) = snapshot.stage("migrate") else { return };
    let now = match snapshot.migration {
        Migration::Queued { .. } => "queued",
        Migration::Holder { .. } => "running",
        Migration::Done => "done",
        Migration::Idle => "idle",
    };
    let name = "portcullis_migration_phase";
    page.family(name, MetricKind::Gauge, "Role of this replica in the migration, one is 1.", "");
    for phase in ["idle", "queued", "running", "done"] {
        page.sample(name, &[("phase", phase)], u8::from(phase == now));
    }
    let (waited, ran) = migration_times(stage, snapshot, look);
    let name = "portcullis_migration_wait_seconds";
    page.single(name, MetricKind::Gauge, "Time that this replica waited for the migration lock.", "seconds", waited.as_secs_f64());
    let name = "portcullis_migration_run_seconds";
    page.single(name, MetricKind::Gauge, "Time that this replica held the migration lock.", "seconds", ran.as_secs_f64());
    let name = "portcullis_migration_lock_lost_total";
    page.single(name, MetricKind::Counter, "Migration locks lost while the migration ran.", "", snapshot.migration_lock.lost);
}

/// How long the migration waited for its lock, and how long it ran.
fn migration_times(stage: &Stage, snapshot: &Snapshot, look: Look) -> (Duration, Duration) {
    let Some(began) = stage.began else { return Default::default() };
    let ended = stage.ended.unwrap_or(look.now);
    let held = snapshot.migration_lock.held_at;
    (held.unwrap_or(ended).since(began), held.map(|held| ended.since(held)).unwrap_or_default())
}

fn requests(page: &mut Exposition, figures: &Figures) {
    let name = "portcullis_http_request_duration_seconds";
    page.family(name, MetricKind::Histogram, "Time to compose a health response.", "seconds");
    for (key, observed) in figures.requests.iter() {
        let status = key.status.to_string();
        let labels = [("route", key.route), ("method", key.method), ("status", status.as_str())];
        page.histogram(name, &labels, LIMITS.iter().zip(observed.counts), observed.count, observed.sum);
    }
}

/// The durations of the checks. Failed runs have a separate series, so that timeouts do not look like slow responses.
fn dependencies(page: &mut Exposition, assessment: &Assessment<'_>) {
    let name = "portcullis_dependency_duration_seconds";
    page.family(name, MetricKind::Histogram, "Duration of the runs of a check, by result.", "seconds");
    for Assessed { check, .. } in assessment.checks.iter().filter(|assessed| assessed.check.id.is_some()) {
        for (result, durations) in ["ok", "error"].into_iter().zip(&check.durations).filter(|(_, durations)| durations.count > 0) {
            let labels = [("check", check.name.as_str()), ("result", result)];
            page.histogram(name, &labels, durations::LIMITS.iter().zip(durations.counts), durations.count, durations.sum);
        }
    }
}

/// The standard families of Prometheus client libraries about the process.
fn process(page: &mut Exposition, figures: &Figures) {
    let Some(process) = &figures.process else { return };
    let name = "process_cpu_seconds_total";
    page.single(name, MetricKind::Counter, "Processor time of portcullis itself, user and system.", "seconds", process.cpu.as_secs_f64());
    page.single("process_open_fds", MetricKind::Gauge, "Open file descriptors of portcullis itself.", "", process.open_files);
    page.single("process_max_fds", MetricKind::Gauge, "Maximum number of open file descriptors.", "", process.most_files);
    let name = "process_virtual_memory_bytes";
    page.single(name, MetricKind::Gauge, "Virtual memory of portcullis itself.", "bytes", process.virtual_memory);
    let name = "process_resident_memory_bytes";
    page.single(name, MetricKind::Gauge, "Resident memory of portcullis itself.", "bytes", process.resident_memory);
    let name = "process_start_time_seconds";
    page.single(name, MetricKind::Gauge, "Start of portcullis' own process since the epoch.", "seconds", process.started.as_secs_f64());
}
