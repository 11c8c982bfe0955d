//! ConfigCat Proxy's `/status`: each check with its last records and a status that follows from them alone; always 200.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{JSON, Response, migration, time};
use crate::clock::Moment;
use crate::outcome::Class;
use crate::state::check::{Check, Record};
use crate::state::event::Readiness;
use crate::state::instances::Instances;
use crate::state::snapshot::{Level, Look, Phase, Snapshot, Status, Step};

/// Errors in a row from which a component is not healthy.
const DEGRADED_AFTER: usize = 2;

/// The document. `verbose` in the query adds what the page shows: `portcullis status --json` asks for it.
///
/// It is written check by check: with hundreds of them, a tree of the whole would take several times the memory of its text.
pub fn render(snapshot: &Snapshot, look: Look, query: &str, authority: bool) -> Response {
    let verbose = url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == "verbose");
    let statuses: Vec<&str> = snapshot.checks.iter().map(|check| status(check, look)).collect();
    let mut body = String::from("{");
    member(&mut body, "status", root(snapshot, look, &statuses));
    member(&mut body, "phase", snapshot.phase.word());
    key(&mut body, "checks");
    body.push('{');
    for (check, status) in snapshot.checks.iter().zip(&statuses) {
        let mut told = json!({
            "type": check.kind,
            "counts": check.affects.health(),
            "status": status,
            "records": check.records.iter().map(|record| line(check, record, authority)).collect::<Vec<_>>(),
        });
        if let (true, Value::Object(told)) = (verbose, &mut told) {
            told.extend(more(check, look, authority));
        }
        member(&mut body, &check.name, told);
    }
    body.push('}');
    if let Some(migration) = migration(snapshot, look, authority) {
        member(&mut body, "migration", migration);
    }
    if verbose {
        overview(snapshot, look, authority).into_iter().for_each(|(name, told)| member(&mut body, &name, told));
    }
    body.push('}');
    Response::new(200, JSON, body)
}

/// Appends one member to an object that is not closed yet.
fn member(text: &mut String, name: &str, value: impl Into<Value>) {
    key(text, name);
    let _ = write!(text, "{}", value.into());
}

fn key(text: &mut String, name: &str) {
    if !text.ends_with('{') {
        text.push(',');
    }
    let _ = write!(text, "{}:", Value::from(name));
}

/// ConfigCat's rule from the ring alone; only a stale result, which it does not know, is told as degraded.
fn status(check: &Check, look: Look) -> &'static str {
    if check.records.is_empty() {
        return "initializing";
    }
    let last = check.records.iter().rev().take(DEGRADED_AFTER);
    let balance: isize = last.map(|record| if record.class == Class::Ok { -1 } else { 1 }).sum();
    let stale = check.effective(look.now).1 == Class::Stale;
    match balance > 0 && balance >= DEGRADED_AFTER.min(check.records.len()) as isize {
        true if check.ever_passed => "degraded",
        true => "down",
        false if stale => "degraded",
        false => "healthy",
    }
}

fn root(snapshot: &Snapshot, look: Look, statuses: &[&str]) -> &'static str {
    let failed = matches!(snapshot.phase, Phase::Failed | Phase::Stopped);
    let all = |word| statuses.iter().all(|status| *status == word);
    match () {
        () if !snapshot.started && !failed => "initializing",
        () if failed || (!statuses.is_empty() && all("down")) => "down",
        () if all("healthy") && snapshot.phase == Phase::Running && snapshot.verdict(Level::Ready, look) => "healthy",
        () => "degraded",
    }
}

fn line(check: &Check, record: &Record, authority: bool) -> String {
    let at = time::rfc1123(record.at);
    match record.class {
        Class::Ok => format!("{at}: [ok] {} check passed", check.kind),
        _ if authority && !record.private.as_str().is_empty() => format!("{at}: [error] {}", record.private.as_str()),
        class => format!("{at}: [error] {}", class.public()),
    }
}

/// What the page shows of a check beyond its records.
fn more(check: &Check, look: Look, authority: bool) -> Map<String, Value> {
    let (state, class) = check.effective(look.now);
    let mut told = Map::new();
    told.insert("state".to_owned(), Value::from(state.word()));
    told.insert("class".to_owned(), Value::from(class.word()));
    told.insert("elapsed_s".to_owned(), json!(check.last().map(|record| record.elapsed.as_secs_f64())));
    told.insert("since".to_owned(), json!((!check.records.is_empty()).then(|| time::iso(check.since))));
    if authority && !check.target.is_empty() {
        told.insert("target".to_owned(), Value::from(check.target.as_str()));
    }
    let buckets = check.history.seen(look.now).filter(|(_, bucket)| !bucket.is_empty());
    let history = buckets.map(|(age, bucket)| {
        json!({
            "age_s": age.as_secs(), "ok": bucket.passed, "failed": bucket.failed, "slowest_s": bucket.slowest().as_secs_f64(),
        })
    });
    told.insert("history".to_owned(), history.collect());
    told
}

/// What the page shows beyond the checks.
fn overview(snapshot: &Snapshot, look: Look, authority: bool) -> Map<String, Value> {
    let mut told = Map::new();
    let step = |step| match step {
        Step::Up => "up",
        Step::Down => "down",
        Step::Unknown => "unknown",
    };
    let stages = snapshot.stages.iter().map(|stage| {
        json!({
            "name": stage.name,
            "state": step(stage.step),
            "counts": stage.counts,
            "began_s": stage.began.map(|began| began.since(snapshot.started_at).as_secs_f64()),
            "ended_s": stage.ended.map(|ended| ended.since(snapshot.started_at).as_secs_f64()),
        })
    });
    told.insert("overall".to_owned(), Value::from(snapshot.overall(look).word()));
    for (name, level) in [("live", Level::Live), ("started", Level::Started), ("ready", Level::Ready)] {
        told.insert(name.to_owned(), Value::from(snapshot.verdict(level, look)));
    }
    told.insert("timeline".to_owned(), stages.collect());
    told.insert("restarts".to_owned(), Value::from(snapshot.child.restarts));
    let heartbeat = &snapshot.heartbeat;
    told.insert(
        "heartbeat".to_owned(),
        json!(heartbeat.configured.then(|| json!({
            "written": heartbeat.written,
            "failed": heartbeat.failed.values().sum::<u64>(),
            "trouble": heartbeat.trouble.map(Class::word),
            "last_written": heartbeat.last_written.map(time::iso),
        }))),
    );
    let modules = snapshot.modules.iter();
    let modules = modules.map(|module| {
        let mut told = json!({
            "name": module.name,
            "state": module.state.word(),
            "counts": module.counts,
            "restarts": module.child.restarts,
            "since_s": look.now.since(module.since).as_secs(),
        });
        if authority {
            told["pid"] = json!(module.child.pid);
            told["says"] = json!(module.child.status);
            told["trouble"] = json!(module.trouble);
        }
        told
    });
    told.insert("modules".to_owned(), modules.collect());
    told.insert("instances".to_owned(), json!(snapshot.instances.as_ref().map(|instances| told_of(instances, look, authority))));
    told.insert("service".to_owned(), Value::from(snapshot.service.name.as_str()));
    told.insert("version".to_owned(), Value::from(snapshot.service.version));
    if authority {
        told.insert("instance".to_owned(), Value::from(snapshot.service.instance.as_str()));
        told.insert("pid".to_owned(), json!(snapshot.child.pid));
        told.insert("says".to_owned(), json!(snapshot.child.status));
    }
    told
}

/// How many instances there are for everybody, who they are with authority.
fn told_of(instances: &Instances, look: Look, authority: bool) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("ready".to_owned(), Value::from(instances.ready));
    told.insert("all".to_owned(), Value::from(instances.all));
    told.insert("read_s".to_owned(), Value::from(look.now.since(instances.read).as_secs()));
    if authority {
        let listed = instances.listed.iter().map(|instance| {
            json!({
                "name": instance.name,
                "own": instance.own,
                "readiness": match instance.readiness {
                    Readiness::Ready => "ready",
                    Readiness::NotReady => "not_ready",
                    Readiness::Unknown => "unknown",
                    Readiness::Stopped => "stopped",
                },
                "overall": instance.status.map(Status::word),
                "phase": instance.phase.map(Phase::word),
                "since": instance.since.map(|wall| time::iso(Moment { wall, ..Moment::default() })),
                "address": instance.address,
                "silent_s": instance.silent.as_secs(),
                "late": instance.late,
            })
        });
        told.insert("listed".to_owned(), listed.collect());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::plan::Affects;
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
                let failed = Outcome::failed(Class::Timeout, "", Duration::ZERO);
                check.feed(now, if record == 'o' { Outcome::passed(Duration::ZERO) } else { failed });
            }
            let look = Look::fresh(Moment::default().after(Duration::from_secs(9)));
            assert_eq!(status(&check, look), expected, "{records}");
            assert_eq!(check.records.len(), records.len().min(5));
        }
    }
}
