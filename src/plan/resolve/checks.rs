//! `[checks.NAME]`: each dependency that is waited for and then checked while running.

use std::time::Duration;

use crate::config::check::{CheckSection, MissingDatabase, OnDown, RESERVED};
use crate::config::node::Entry;
use crate::config::node::merge;
use crate::config::problem::Problem;
use crate::config::reader::{Depth, Section};
use crate::plan::CheckPlan;
use crate::plan::resolve::{condition, target};
use crate::plan::target::{HttpTarget, Target};

/// Every check whose `when` holds, in order.
pub(super) fn read(root: &Section<'_>, depth: Depth) -> Vec<CheckPlan> {
    root.context().reading_checks(|| {
        let Some(checks) = root.table_at("checks", depth) else { return Vec::new() };
        checks.entries().filter_map(|entry| check(&checks, entry, None, depth)).collect()
    })
}

/// The own checks of a module, which are probed only while it runs.
pub(super) fn of_module(section: &Section<'_>, module: &str) -> Vec<CheckPlan> {
    let Some(checks) = section.table("checks") else { return Vec::new() };
    checks.entries().filter_map(|entry| check(&checks, entry, Some(module), section.depth())).collect()
}

fn check(checks: &Section<'_>, entry: &Entry, module: Option<&str>, depth: Depth) -> Option<CheckPlan> {
    let context = checks.context();
    let name = module.map_or_else(|| entry.key.clone(), |module| format!("{module}.{}", entry.key));
    if let Err(why) = check_name(&name) {
        // The name in the file, which all instances of a module share.
        let shown = if check_name(&entry.key).is_err() { &entry.key } else { &name };
        context.problem(Problem::at(&entry.origin, format!("a check cannot be named `{shown}`: {why}")));
    }
    let path = checks.below(&entry.key);
    let form = context.open(&entry.node, &path, Depth::Syntax)?;
    let used = condition::holds(context, form.node("when"), &path, depth);
    let depth = if used { depth } else { Depth::Syntax };
    let mut section = varied(form, depth);
    let check: CheckSection = section.declared();
    section.note_with(&check, &check.watching);
    let CheckSection { watching, target: keys } = check;
    let [wait, interval] = [watching.wait.map(|wait| wait.0), watching.interval.map(|interval| interval.0)];
    let [failure_threshold, success_threshold]: [u32; 2] =
        [watching.failure_threshold, watching.success_threshold].map(|number| number.to().unwrap_or(1));
    let (affects, creates_database) = (watching.affects, watching.missing_database == MissingDatabase::Ready);
    let target = if section.has("targets") { target::several(&section, &watching)? } else { target::read(&section, &keys)? };
    if creates_database && !matches!(target, Target::Postgres(_) | Target::Mysql(_)) {
        section.problem("missing_database", "applies only to a check of a postgres or mysql database");
    }
    if affects.liveness() && !watching.i_know && leaves_the_container(&target) {
        section.problem(
            "affects",
            "is `liveness`, but its target is outside the container: an outage there would kill every replica; write `i_know = true` if you really want this",
        );
    }
    if watching.on_down == OnDown::Restart && !watching.i_know && leaves_the_container(&target) {
        section.problem(
            "on_down",
            "is `restart`, but its target is outside the container: an outage there would restart every replica; write `i_know = true` if you really want this",
        );
    }
    // It runs after the wait.
    let of_process = matches!(target, Target::Process | Target::Module(_));
    if of_process && wait.is_some_and(|wait| !wait.is_zero()) {
        section.problem("wait", "is for dependencies that have to be ready before the process, and this check is the process itself");
    }
    if module.is_some() && section.has("wait") {
        section.problem(
            "wait",
            "is for dependencies that have to be ready before the process; a module's own checks are probed only while it runs",
        );
    }
    let longest = if of_process || module.is_some() { Duration::ZERO } else { Duration::from_secs(60) };
    let rate_limited = match target {
        Target::Several(_) => true,
        Target::Http(_) => interval.is_some(),
        _ => false,
    };
    let timeout = if let Target::Several(several) = &target { several.longest() } else { watching.timeout.0 };
    let (wait, interval) = (wait.unwrap_or(longest), interval.unwrap_or(Duration::from_secs(5)));
    if used && rate_limited && !wait.is_zero() {
        let passes = success_threshold;
        // From the first result to the last one that is needed, at the slowest pace.
        let between = interval.saturating_mul(passes.saturating_sub(1));
        let longest = between.saturating_add(between / 10);
        let rate = format!("probed every {} at most", humantime::format_duration(interval));
        if passes > 1 && wait <= longest {
            section.problem("wait", format!("is too short for {passes} successes (`success_threshold`) of a check that is {rate}"));
        } else if wait <= interval {
            let wait = humantime::format_duration(wait);
            context.notice(format!("check {name} is {rate}, so only once within its wait of {wait}: that result decides the start"));
        }
    }
    used.then_some(CheckPlan {
        name,
        target,
        wait,
        fail_fast: watching.fail_fast,
        creates_database,
        affects,
        interval,
        rate_limited,
        timeout,
        failure_threshold,
        success_threshold,
        on_down: watching.on_down,
    })
}

/// The check, merged with the first variant whose `when` holds. The form of each variant is checked before, so that an error is reported where it was
/// written.
fn varied(mut check: Section<'_>, depth: Depth) -> Section<'_> {
    let (context, path, variants) = (check.context(), check.path().to_owned(), check.below("variants"));
    let mut chosen = None;
    if check.has("variants") {
        let _: CheckSection = check.declared();
        for candidate in check.list("variants").unwrap_or_default() {
            let Some(mut variant) = context.open(&candidate, &variants, Depth::Syntax) else { continue };
            let _: CheckSection = variant.declared();
            if !variant.has("when") {
                variant.problem("when", "is missing: it is the condition of the variant");
            }
            if variant.has("variants") {
                variant.problem("variants", "is not allowed in a variant: write one variant with a list of tests in its `when`");
            }
            let holds = condition::holds(context, variant.node("when"), &variants, depth);
            if holds && depth == Depth::Whole && chosen.is_none() {
                chosen = Some(variant.into_parts().0);
            }
        }
    }
    let (mut table, origin) = check.into_parts();
    table.retain(|entry| entry.key != "variants");
    if let Some(above) = chosen {
        merge(&mut table, above);
    }
    context.section(table, &path, origin, depth)
}

/// `[a-z0-9][a-z0-9_.-]{0,62}` and not reserved.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    if RESERVED.contains(&name) {
        return Err("the name is reserved");
    }
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let fits = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c));
    if starts && fits && name.len() <= 63 {
        Ok(())
    } else {
        Err("a name is up to 63 lower-case letters, digits, `_`, `.` and `-`, the first a letter or a digit")
    }
}

fn leaves_the_container(target: &Target) -> bool {
    let local = |host: &str| {
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || host.starts_with('/') || address.is_ok_and(|address| address.is_loopback())
    };
    let local_url = |http: &HttpTarget| {
        let url = url::Url::parse(http.url.expose());
        url.is_ok_and(|url| url.host_str().is_none_or(|host| local(host.trim_matches(['[', ']']))))
    };
    match target {
        Target::Tcp(address) => !local(&address.host),
        Target::Unix(_) | Target::File(_) | Target::Disk(_) | Target::Exec(_) | Target::Process | Target::Module(_) => false,
        Target::Dns(_) | Target::Dify(_) | Target::Sentinel(_) | Target::Cluster(_) | Target::Ready(_) => true,
        Target::Http(http) => !local_url(http),
        Target::Several(several) => !several.members.iter().all(|member| local_url(&member.http)),
        Target::Grpc(grpc) => !local(&grpc.address.host),
        Target::Postgres(postgres) => !postgres.hosts.iter().all(|host| local(&host.address.host)),
        Target::Broker(broker) => !broker.addresses.iter().all(|address| local(&address.host)),
        Target::Mysql(mysql) => !local(&mysql.address.host),
        Target::Redis(redis) => !local(&redis.address.host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_against_its_pattern_and_the_reserved_ones() {
        for name in ["db", "0", "doc_engine", "a.b-c", &"x".repeat(63)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "_a", "DB", "a b", "app", "heartbeat", "status", "livenessState", "ü", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
