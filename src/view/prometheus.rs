//! Prometheus' `/metrics`: text 0.0.4, or OpenMetrics 1.0.0 where the scraper asks for it; always 200.

use std::fmt::{Display, Write};

use super::Response;
use crate::outcome::Class;
use crate::state::check::State;
use crate::state::snapshot::{Level, Look, Phase, Snapshot};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The kinds of metric families that are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    Info,
}

/// A document that grows family by family.
struct Exposition {
    text: String,
    openmetrics: bool,
}

/// Every family. Base units, a fixed vocabulary, no addresses and no error texts.
pub fn render(snapshot: &Snapshot, look: Look, accept: &str) -> Response {
    let openmetrics = prefers_openmetrics(accept);
    let mut page = Exposition { text: String::with_capacity(4096), openmetrics };
    page.family("portcullis_build_info", Kind::Info, "Build of portcullis.", "");
    page.sample("portcullis_build_info", &[("version", snapshot.service.version)], 1);
    page.family("portcullis_phase", Kind::Gauge, "Lifecycle phase, one is 1.", "");
    for phase in Phase::ALL {
        page.sample("portcullis_phase", &[("phase", phase.word())], u8::from(phase == snapshot.phase));
    }
    for (name, help, level) in [
        ("portcullis_live", "1 if /livez would answer 200.", Level::Live),
        ("portcullis_ready", "1 if /readyz would answer 200.", Level::Ready),
        ("portcullis_started", "1 if /startupz would answer 200.", Level::Started),
    ] {
        page.family(name, Kind::Gauge, help, "");
        page.sample(name, &[], u8::from(snapshot.verdict(level, look)));
    }
    page.checks(snapshot, look);
    page.family("portcullis_child_restarts_total", Kind::Counter, "Restarts of the supervised process.", "");
    page.sample("portcullis_child_restarts_total", &[], snapshot.child.restarts);
    page.family("portcullis_heartbeat_writes_total", Kind::Counter, "Readiness heartbeats written to Redis.", "");
    page.sample("portcullis_heartbeat_writes_total", &[("result", "ok")], snapshot.heartbeat.written);
    page.sample("portcullis_heartbeat_writes_total", &[("result", "error")], snapshot.heartbeat.failed);
    page.family("portcullis_start_time_seconds", Kind::Gauge, "Start of portcullis since the epoch.", "seconds");
    page.sample("portcullis_start_time_seconds", &[], snapshot.started_at.wall.as_secs_f64());
    if openmetrics {
        page.text.push_str("# EOF\n");
    }
    let content_type = if openmetrics { OPENMETRICS } else { TEXT_FORMAT };
    Response { headers: vec![("vary", "Accept")], ..Response::new(200, content_type, page.text) }
}

impl Exposition {
    fn checks(&mut self, snapshot: &Snapshot, look: Look) {
        let checks = || snapshot.checks.iter();
        let last = || checks().filter_map(|check| check.last().map(|record| (check.name.as_str(), record)));
        let name = "portcullis_check_state";
        self.family(name, Kind::Gauge, "State of a check after thresholds and staleness, one is 1.", "");
        for check in checks() {
            let (state, _) = check.effective(look.now);
            for other in State::ALL {
                self.sample(name, &[("check", &check.name), ("state", other.word())], u8::from(other == state));
            }
        }
        let name = "portcullis_check_consecutive_failures";
        self.family(name, Kind::Gauge, "Failures in a row.", "");
        for check in checks() {
            self.sample(name, &[("check", &check.name)], check.failures);
        }
        let name = "portcullis_check_duration_seconds";
        self.family(name, Kind::Gauge, "Duration of the last run.", "seconds");
        for (check, record) in last() {
            self.sample(name, &[("check", check)], record.elapsed.as_secs_f64());
        }
        let name = "portcullis_check_last_run_timestamp_seconds";
        self.family(name, Kind::Gauge, "When the check last finished.", "seconds");
        for (check, record) in last() {
            self.sample(name, &[("check", check)], record.at.wall.as_secs_f64());
        }
        let name = "portcullis_check_last_success_timestamp_seconds";
        self.family(name, Kind::Gauge, "When the check last passed.", "seconds");
        for check in checks() {
            if let Some(passed) = check.last_passed {
                self.sample(name, &[("check", &check.name)], passed.wall.as_secs_f64());
            }
        }
        let name = "portcullis_check_runs_total";
        self.family(name, Kind::Counter, "Check runs by outcome; class is a fixed vocabulary.", "");
        for check in checks() {
            // The passes stand there from the start, so that their rate is known when they begin.
            let passed = check.totals.get(&Class::Ok).copied().unwrap_or_default();
            self.sample(name, &[("check", &check.name), ("class", Class::Ok.word())], passed);
            for (class, count) in check.totals.iter().filter(|(class, _)| **class != Class::Ok) {
                self.sample(name, &[("check", &check.name), ("class", class.word())], count);
            }
        }
    }

    /// Begins a family. OpenMetrics names counters and infos without the suffix that their samples bear.
    fn family(&mut self, name: &str, kind: Kind, help: &str, unit: &str) {
        let bare = match kind {
            Kind::Counter if self.openmetrics => name.strip_suffix("_total").unwrap_or(name),
            Kind::Info if self.openmetrics => name.strip_suffix("_info").unwrap_or(name),
            _ => name,
        };
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Info if self.openmetrics => "info",
            Kind::Gauge | Kind::Info => "gauge",
        };
        let _ = writeln!(self.text, "# HELP {bare} {help}\n# TYPE {bare} {word}");
        if self.openmetrics && !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {bare} {unit}");
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            let mark = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{mark}{label}=\"{}\"", escape(content));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escape(content: &str) -> String {
    content.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

/// Whether the best match of `Accept` is OpenMetrics 1.0.0; no match at all is text 0.0.4, never 406.
fn prefers_openmetrics(accept: &str) -> bool {
    let mut best = (0.0, false);
    for part in accept.split(',') {
        let mut fields = part.split(';').map(str::trim);
        let kind = fields.next().unwrap_or_default().to_ascii_lowercase();
        let (mut quality, mut version) = (1.0, None);
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => quality = value.parse().unwrap_or(0.0),
                "version" => version = Some(value),
                _ => {}
            }
        }
        let openmetrics = match (kind.as_str(), version) {
            ("application/openmetrics-text", None | Some("1.0.0")) => true,
            ("text/plain" | "text/*" | "*/*", None | Some("0.0.4")) => false,
            _ => continue,
        };
        if quality > best.0 {
            best = (quality, openmetrics);
        }
    }
    best.1
}
