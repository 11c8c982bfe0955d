//! The exposition formats of Prometheus, family by family: text 0.0.4 and OpenMetrics 1.0.0.

use std::fmt::{Display, Write};
use std::time::Duration;

use super::accept;

/// The type of the text format.
pub(super) const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The type of OpenMetrics.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The kinds of metric families.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricKind {
    Gauge,
    Counter,
    Histogram,
    Info,
}

/// A document that is built family by family.
pub(super) struct Exposition {
    text: String,
    openmetrics: bool,
}

impl Exposition {
    /// An empty document.
    pub(super) fn new(openmetrics: bool) -> Self {
        Self { text: String::with_capacity(8192), openmetrics }
    }

    /// The whole document.
    pub(super) fn finish(mut self) -> String {
        if self.openmetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// Begins a family. In OpenMetrics the names of counters and infos have no suffix, but their samples do.
    pub(super) fn family(&mut self, name: &str, kind: MetricKind, help: &str, unit: &str) {
        let bare = match kind {
            MetricKind::Counter if self.openmetrics => name.strip_suffix("_total").unwrap_or(name),
            MetricKind::Info if self.openmetrics => name.strip_suffix("_info").unwrap_or(name),
            _ => name,
        };
        let word = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
            MetricKind::Info if self.openmetrics => "info",
            MetricKind::Gauge | MetricKind::Info => "gauge",
        };
        let _ = writeln!(self.text, "# HELP {bare} {help}\n# TYPE {bare} {word}");
        if self.openmetrics && !unit.is_empty() {
            let _ = writeln!(self.text, "# UNIT {bare} {unit}");
        }
    }

    /// One sample of the current family.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            self.escaped(content);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn escaped(&mut self, content: &str) {
        for c in content.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '"' => self.text.push_str("\\\""),
                c => self.text.push(c),
            }
        }
    }

    /// One series of the current histogram: each limit with the count of its own bucket, then the total.
    pub(super) fn histogram<'l>(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: impl Iterator<Item = (&'l f64, u64)>,
        count: u64,
        sum: Duration,
    ) {
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (limit, within) in buckets {
            below += within;
            // OpenMetrics requires a decimal point.
            let limit = format!("{limit:?}");
            self.sample(&bucket, &[labels, &[("le", &limit)]].concat(), below);
        }
        self.sample(&bucket, &[labels, &[("le", "+Inf")]].concat(), count);
        self.sample(&format!("{name}_sum"), labels, sum.as_secs_f64());
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// A family with one sample and no labels.
    pub(super) fn single(&mut self, name: &str, kind: MetricKind, help: &str, unit: &str, value: impl Display) {
        self.family(name, kind, help, unit);
        self.sample(name, &[], value);
    }
}

/// The negotiated format: OpenMetrics 1.0.0 if it is preferred; without a match text 0.0.4, never 406.
pub(super) fn syntax(accept: &str) -> &'static str {
    let best = accept::best(accept, |range| match (range.kind.as_str(), range.version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Some("application/openmetrics-text"),
        ("text/plain" | "text/*" | "*/*", None | Some("0.0.4")) => Some(""),
        _ => None,
    });
    best.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_leave_its_quotes() {
        let mut page = Exposition::new(true);
        page.family("a_total", MetricKind::Counter, "A.", "");
        page.sample("a_total", &[("b", "\"\\\n\u{e4}"), ("c", "")], 1);
        assert_eq!(page.finish(), "# HELP a A.\n# TYPE a counter\na_total{b=\"\\\"\\\\\\n\u{e4}\",c=\"\"} 1\n# EOF\n");
    }
}
