//! ConfigCat Proxy's `/status`: each check with its last records and a status that follows from them alone; always 200.

mod overview;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::{JSON, MigrationPart, Response, has_key, time};
use crate::outcome::ErrorKind;
use crate::state::check::{Check, Record};
use crate::state::snapshot::{Assessed, Assessment, Level, Phase, StageState};
use overview::Overview;

/// Errors in a row from which a component is not healthy.
const DEGRADED_AFTER: usize = 2;

/// The document.
#[derive(Serialize, JsonSchema)]
pub(super) struct Status<'a> {
    #[schemars(extend("enum" = STATUSES))]
    #[serde(rename = "status")]
    word: &'static str,
    #[schemars(extend("enum" = Phase::ALL.map(Phase::word)))]
    phase: &'static str,
    #[schemars(with = "BTreeMap<&str, CheckStatus<'static>>")]
    checks: Checks<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    migration: Option<MigrationPart<'a>>,
    #[serde(flatten)]
    overview: Option<Overview<'a>>,
}

/// One check.
#[derive(Serialize, JsonSchema)]
struct CheckStatus<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    sdk: Option<Sdk<'a>>,
    /// Whether it counts for health.
    counts: bool,
    #[schemars(extend("enum" = STATUSES))]
    status: &'static str,
    /// The last runs, the oldest first.
    #[schemars(length(max = crate::state::check::RECORDS))]
    records: Vec<String>,
    #[serde(flatten)]
    more: Option<More<'a>>,
}

/// A check with an API key, in the form of an SDK in ConfigCat's proxy.
#[derive(Serialize, JsonSchema)]
struct Sdk<'a> {
    /// Masked, for authorized readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[schemars(extend("enum" = ["online"]))]
    mode: &'static str,
    source: Source,
}

/// Its source, with the status and the records of the check.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Source {
    #[schemars(extend("enum" = ["remote"]))]
    r#type: &'static str,
    #[schemars(extend("enum" = STATUSES))]
    status: &'static str,
    #[schemars(length(max = crate::state::check::RECORDS))]
    records: Vec<String>,
}

/// Further data of a check that the page shows.
#[derive(Serialize, JsonSchema)]
struct More<'a> {
    state: &'static str,
    class: &'static str,
    /// Seconds that the last run took.
    elapsed_s: Option<f64>,
    /// Since when it is up or down.
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    history: Vec<Bucket>,
}

/// The runs of one bucket.
#[derive(Serialize, JsonSchema)]
struct Bucket {
    age_s: u64,
    ok: u32,
    failed: u32,
    slowest_s: f64,
}

const STATUSES: [&str; 4] = ["initializing", "healthy", "degraded", "down"];

/// The checks, created one by one during serialization: a tree of hundreds of them would take several times the memory of the text.
struct Checks<'a> {
    assessment: &'a Assessment<'a>,
    verbose: bool,
    authorized: bool,
}

impl Serialize for Checks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.assessment.checks.iter().map(|assessed| {
            let Assessed { check, counts, .. } = *assessed;
            let records: Vec<String> = check.records.iter().map(|record| line(check, record, self.authorized)).collect();
            let more = self.verbose.then(|| more(assessed, self.assessment, self.authorized));
            let sdk = check.masked_key.as_deref().map(|key| Sdk {
                key: self.authorized.then_some(key),
                mode: "online",
                source: Source { r#type: "remote", status: status(assessed), records: records.clone() },
            });
            (&check.name, CheckStatus { r#type: check.kind, sdk, counts, status: status(assessed), records, more })
        }))
    }
}

/// The document. `verbose` in the query adds what the page shows: `portcullis status --json` sets it.
pub(super) fn render(assessment: &Assessment<'_>, query: &str, authorized: bool) -> Response {
    let verbose = has_key(query, "verbose");
    let document = Status {
        word: root(assessment),
        phase: assessment.snapshot.phase.word(),
        checks: Checks { assessment, verbose, authorized },
        migration: MigrationPart::new(assessment, authorized),
        overview: verbose.then(|| Overview::new(assessment, authorized)),
    };
    Response::document(200, JSON, &document)
}

/// ConfigCat's rule, from the records alone; only a stale result, which it does not have, is degraded.
fn status(Assessed { check, kind, .. }: &Assessed<'_>) -> &'static str {
    if check.records.is_empty() {
        return "initializing";
    }
    let last = check.records.iter().rev().take(DEGRADED_AFTER);
    let balance: isize = last.map(|record| if record.kind == ErrorKind::Ok { -1 } else { 1 }).sum();
    match balance > 0 && balance >= DEGRADED_AFTER.min(check.records.len()) as isize {
        true if check.ever_passed => "degraded",
        true => "down",
        false if *kind == ErrorKind::Stale => "degraded",
        false => "healthy",
    }
}

fn root(assessment: &Assessment<'_>) -> &'static str {
    let Assessment { snapshot, checks, .. } = assessment;
    let failed =
        matches!(snapshot.phase, Phase::Failed | Phase::Stopped) || (!snapshot.started && snapshot.base_start() == StageState::Down);
    let all = |word| checks.iter().all(|assessed| status(assessed) == word);
    // Only probed checks count, like ConfigCat's SDKs: a running process does not compensate for sources that are all down.
    let mut sources = checks.iter().filter(|assessed| assessed.check.id.is_some()).map(status).peekable();
    match () {
        () if !snapshot.started && !failed => "initializing",
        () if failed || (sources.peek().is_some() && sources.all(|status| status == "down")) => "down",
        () if all("healthy") && snapshot.phase == Phase::Running && assessment.passes(Level::Ready) => "healthy",
        () => "degraded",
    }
}

fn line(check: &Check, record: &Record, authorized: bool) -> String {
    let at = time::rfc1123(record.at);
    match record.kind {
        ErrorKind::Ok => format!("{at}: [ok] {} check passed", check.kind),
        _ if authorized && !record.private.as_str().is_empty() => format!("{at}: [error] {}", record.private.as_str()),
        kind => format!("{at}: [error] {}", kind.public()),
    }
}

fn more<'a>(assessed: &Assessed<'a>, assessment: &Assessment<'_>, authorized: bool) -> More<'a> {
    let Assessed { check, state, kind, .. } = *assessed;
    let buckets = check.history.seen(assessment.look.now).filter(|(_, bucket)| !bucket.is_empty());
    More {
        state: state.word(),
        class: kind.word(),
        elapsed_s: check.last().map(|record| record.elapsed.as_secs_f64()),
        since: (!check.records.is_empty()).then(|| time::iso(check.since)),
        target: Some(check.target.as_str()).filter(|target| authorized && !target.is_empty()),
        history: buckets
            .map(|(age, bucket)| Bucket {
                age_s: age.as_secs(),
                ok: bucket.passed,
                failed: bucket.failed,
                slowest_s: bucket.slowest().as_secs_f64(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::outcome::Outcome;
    use crate::plan::Affects;
    use crate::state::snapshot::Look;
    use std::time::Duration;

    #[test]
    fn the_ring_alone_decides_as_at_configcat() {
        for (records, expected) in [
            ("", "initializing"),
            ("e", "down"),
            ("o", "healthy"),
            ("eo", "healthy"),
            ("oe", "healthy"),
            ("ee", "down"),
            ("oee", "degraded"),
            ("eoee", "degraded"),
            ("oeeeee", "degraded"),
            ("eeeeeo", "healthy"),
        ] {
            let mut check = Check::event("sdk", "http", Affects::Health);
            for (second, record) in (0..).zip(records.chars()) {
                let now = Moment::default().after(Duration::from_secs(second));
                let failed = Outcome::failed(ErrorKind::Timeout, "", Duration::ZERO);
                check.feed(now, if record == 'o' { Outcome::passed(Duration::ZERO) } else { failed });
            }
            let look = Look::fresh(Moment::default().after(Duration::from_secs(9)));
            let (state, kind) = check.effective(look.now);
            assert_eq!(status(&Assessed { check: &check, state, kind, counts: true }), expected, "{records}");
            assert_eq!(check.records.len(), records.len().min(5));
        }
    }
}
