//! `[heartbeat]`: where and how often the readiness is written to Redis.

use std::time::Duration;

use crate::config::configuration::Configuration;
use crate::config::heartbeat::{Beat, HeartbeatMode, HeartbeatSection};
use crate::config::interpolate::Text;
use crate::config::problem::suggest;
use crate::config::reader::{Depth, Section};
use crate::config::values::{Gate, Switch};
use crate::plan::resolve::{checks, condition, target};
use crate::plan::target::{RedisPlace, Target};
use crate::plan::{CheckPlan, HeartbeatPlan};

/// The expiry has to cover two intervals, two lost replies and ten seconds; with less, the key expires in an outage of half a minute.
const SLACK: Duration = Duration::from_secs(14);

/// The remark if no Redis is configured.
const NO_REDIS: &str = "no heartbeat: no Redis is configured to write it to";

/// The heartbeat; none without a Redis, which is reported once.
pub(super) fn read(root: &Section<'_>, service: &str, checks: &[CheckPlan]) -> Option<HeartbeatPlan> {
    let context = root.context();
    let Some(form) = root.table_at("heartbeat", Depth::Syntax) else {
        if !root.has("heartbeat") {
            match checks.iter().find(|check| place(&check.target).is_some()) {
                Some(check) => context.notice(format!(
                    "no heartbeat: [heartbeat] is missing; `check = \"{}\"` in it writes the readiness there, `enabled = false` switches it off",
                    check.name
                )),
                None => context.remark(NO_REDIS),
            }
        }
        return None;
    };
    let enabled = root.table_at("heartbeat", Depth::Whole).is_none_or(|mut section| section.part::<Gate>().enabled != Some(Switch::Off));
    let wanted = condition::holds(context, form.node("when"), form.path(), Depth::Whole);
    if enabled && !wanted {
        context.remark(NO_REDIS);
    }
    let mut section = root.table_at("heartbeat", if enabled && wanted { Depth::Whole } else { Depth::Syntax })?;
    let heartbeat: HeartbeatSection = section.declared();
    section.note_with(&heartbeat, &heartbeat.beat);
    let target = redis(&section, &heartbeat, checks);
    let beat = heartbeat.beat;
    let (key, prefix) = (beat.key.value(), beat.prefix.value());
    for (name, text) in [("key", &key), ("prefix", &prefix)] {
        let odd = |text: &String| text.contains(['{', '}']) || text.chars().any(|c| c.is_control() || c.is_whitespace());
        if text.as_ref().is_some_and(odd) {
            section.problem(name, "contains a brace or a blank; a brace would move its records to another slot of a cluster");
        }
    }
    let (ttl, every) = (beat.ttl.0, beat.every.0);
    if every >= ttl {
        section.problem(
            "every",
            format!("is {}, not shorter than the expiry of {}", humantime::format_duration(every), humantime::format_duration(ttl)),
        );
    } else if ttl < every * 2 + SLACK {
        context.notice(format!(
            "the heartbeat's ttl of {} is short for a heartbeat every {}: from {} on the key survives a lost heartbeat",
            humantime::format_duration(ttl),
            humantime::format_duration(every),
            humantime::format_duration(every * 2 + SLACK)
        ));
    }
    let key = key.unwrap_or_else(|| default_key(prefix.as_deref(), service));
    let simple = beat.mode == HeartbeatMode::Simple;
    Some(HeartbeatPlan { target: target?, key, ttl, every, simple, exclusive: beat.exclusive, required: beat.required })
}

/// The key for the service's name, after the prefix that the application uses for all its keys.
fn default_key(prefix: Option<&str>, service: &str) -> String {
    let prefix = prefix.map(|prefix| format!("{}:", prefix.trim_end_matches(':')));
    format!("{}{service}_service_status", prefix.unwrap_or_default())
}

fn names_redis(section: &Section<'_>) -> bool {
    ["url", "kind", "variables"].iter().any(|key| section.has(key))
}

/// The Redis itself, or that of a check.
fn redis(section: &Section<'_>, heartbeat: &HeartbeatSection, checks: &[CheckPlan]) -> Option<RedisPlace> {
    if !section.has("check") {
        if !names_redis(section) {
            if section.depth() == Depth::Syntax {
                return None;
            }
            section.problem("url", "is missing: name the Redis by `url`, or a redis check by `check`");
            return None;
        }
        let target = target::read(section, &heartbeat.target)?;
        let place = place(&target);
        if place.is_none() {
            section.problem(if section.has("kind") { "kind" } else { "url" }, format!("is of kind {}; expected a redis", target.kind()));
        }
        return place;
    }
    if names_redis(section) {
        section.problem("check", "names a Redis, and so does `url`, `kind` or `variables`; keep one of them");
    }
    let check = heartbeat.beat.check.as_ref().filter(|_| section.depth() == Depth::Whole).map(Text::value)?;
    let known: Vec<(String, RedisPlace)> =
        checks.iter().filter_map(|plan| place(&plan.target).map(|place| (plan.name.clone(), place))).collect();
    let found = known.iter().find(|(name, _)| *name == check).map(|(_, target)| target.clone());
    // A check with errors has already been reported.
    if found.is_none() && section.context().checks_are_right() {
        section.problem(
            "check",
            format!("names `{check}`, which is not a redis check{}", suggest(&check, known.iter().map(|(name, _)| name.as_str()))),
        );
    }
    found
}

/// The Redis that can be written to for this target; none if it is not a Redis.
pub(super) fn place(target: &Target) -> Option<RedisPlace> {
    match target.clone() {
        Target::Redis(target) => Some(RedisPlace::One(target)),
        Target::Sentinel(target) => Some(RedisPlace::Sentinel(target)),
        Target::Cluster(target) => Some(RedisPlace::Cluster(target)),
        Target::Ready(target) => Some(RedisPlace::One(target.redis)),
        _ => None,
    }
}

/// The Redis and the shared key of `service`'s heartbeat, for readers; none without a heartbeat. The rest of the configuration is ignored.
pub(super) fn heartbeat_location(root: &Section<'_>, configuration: &Configuration, service: &str) -> Option<(RedisPlace, String)> {
    let plan = read(root, service, &checks::read(root, Depth::Whole))?;
    let beat: Beat = root.table_at("heartbeat", Depth::Whole)?.part();
    let named = configuration.service.0.as_ref().is_none_or(|text| text.value() == service);
    Some((plan.target, if named { plan.key } else { default_key(beat.prefix.value().as_deref(), service) }))
}
