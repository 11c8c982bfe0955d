//! What `plan` says of a process beyond its command: what it finds around it, how it is signalled, whether it is started again.

use humantime::format_duration;
use serde_json::{Value, json};

use crate::exit::signal_name;
use crate::plan::ProcessPlan;
use crate::plan::process::{RestartPlan, RestartPolicy};
use crate::plan::resolve::limit_name;
use crate::secret::scrub;

/// What differs from the defaults, a sentence each.
pub(super) fn lines(process: &ProcessPlan) -> Vec<String> {
    [conditions(process), orphaned(process), output(process), signals(process), restart(&process.restart), watchdog(process)]
        .into_iter()
        .flatten()
        .collect()
}

fn conditions(process: &ProcessPlan) -> Option<String> {
    let conditions = &process.conditions;
    let mut parts = Vec::new();
    if let Some(who) = &conditions.user {
        let groups = who.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        parts.push(format!("as user {}, group {}, groups {groups}", who.uid, who.gid));
    }
    parts.extend(conditions.directory.as_ref().map(|path| format!("in {}", scrub(&path.display().to_string()))));
    parts.extend(conditions.umask.map(|mask| format!("with umask {mask:04o}")));
    parts.extend(
        conditions
            .limits
            .iter()
            .map(|(resource, soft, hard)| format!("with {} {}:{}", limit_name(*resource), amount(*soft), amount(*hard))),
    );
    if conditions.no_new_privileges {
        parts.push("without new privileges".to_owned());
    }
    (!parts.is_empty()).then(|| format!("runs {}", parts.join("; ")))
}

fn orphaned(process: &ProcessPlan) -> Option<String> {
    let signal = process.conditions.parent_death_signal;
    (signal != 0).then(|| format!("gets {} if portcullis dies before it", signal_name(signal)))
}

fn output(process: &ProcessPlan) -> Option<String> {
    process.label.as_ref().map(|label| format!("each line of its output begins with `{label} | `"))
}

fn amount(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { limit.to_string() }
}

fn signals(process: &ProcessPlan) -> Option<String> {
    let signals = &process.signals;
    let names =
        |numbers: &std::collections::BTreeSet<i32>| numbers.iter().map(|number| signal_name(*number)).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    if signals.group {
        parts.push("forwarded to its whole group".to_owned());
    }
    parts.extend(signals.rewrite.iter().map(|(from, to)| format!("{} forwarded as {}", signal_name(*from), signal_name(*to))));
    if !signals.ignore.is_empty() {
        parts.push(format!("{} ignored", names(&signals.ignore)));
    }
    if !signals.stop_on.is_empty() {
        parts.push(format!("{} stops it, too", names(&signals.stop_on)));
    }
    if signals.never_kills {
        parts.push("the third TERM or INT is forwarded, and does not kill".to_owned());
    }
    if !process.success_codes.is_empty() {
        let codes = process.success_codes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        parts.push(format!("exit code {codes} after a stop becomes 0"));
    }
    (!parts.is_empty()).then(|| format!("signals: {}", parts.join("; ")))
}

const fn policy(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Never => "never",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Always => "always",
    }
}

fn restart(restart: &RestartPlan) -> Option<String> {
    let [first, longest, healthy] = [restart.delay, restart.longest_delay, restart.healthy_after].map(format_duration);
    let limit = if restart.limit == 0 { "without limit".to_owned() } else { format!("{} times at most", restart.limit) };
    (restart.policy != RestartPolicy::Never).then(|| {
        format!(
            "started again {} after {first}, doubled up to {longest}, and {first} again once it ran for {healthy}; {limit}",
            if restart.policy == RestartPolicy::Always { "whenever it ends," } else { "when it fails," }
        )
    })
}

fn watchdog(process: &ProcessPlan) -> Option<String> {
    process.watchdog.map(|limit| format!("gets SIGABRT when it sends no WATCHDOG=1 for {}", format_duration(limit)))
}

/// The same for a program.
pub(super) fn json(process: &ProcessPlan) -> Value {
    let (conditions, signals, restart) = (&process.conditions, &process.signals, &process.restart);
    let names = |numbers: &std::collections::BTreeSet<i32>| numbers.iter().map(|number| signal_name(*number)).collect::<Vec<_>>();
    json!({
        "user": conditions.user.as_ref().map(|who| json!({ "uid": who.uid, "gid": who.gid, "groups": who.groups })),
        "working_directory": conditions.directory.as_ref().map(|path| scrub(&path.display().to_string())),
        "umask": conditions.umask.map(|mask| format!("{mask:04o}")),
        "limits": conditions.limits.iter().map(|(resource, soft, hard)| {
            (limit_name(*resource).to_owned(), Value::from(format!("{}:{}", amount(*soft), amount(*hard))))
        }).collect::<serde_json::Map<_, _>>(),
        "no_new_privileges": conditions.no_new_privileges,
        "parent_death_signal": (conditions.parent_death_signal != 0).then(|| signal_name(conditions.parent_death_signal)),
        "output": if process.label.is_some() { "prefix" } else { "inherit" },
        "signal_scope": if signals.group { "group" } else { "child" },
        "rewrite": signals.rewrite.iter().map(|(from, to)| (signal_name(*from), Value::from(signal_name(*to)))).collect::<serde_json::Map<_, _>>(),
        "ignore_signals": names(&signals.ignore),
        "stop_on": names(&signals.stop_on),
        "third_stop": if signals.never_kills { "forward" } else { "kill" },
        "success_codes": process.success_codes,
        "restart": policy(restart.policy),
        "restart_delay_ms": super::milliseconds(restart.delay),
        "restart_max_delay_ms": super::milliseconds(restart.longest_delay),
        "restart_reset_ms": super::milliseconds(restart.healthy_after),
        "restart_limit": restart.limit,
        "watchdog_ms": process.watchdog.map(super::milliseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::argv::{Argv, Word};
    use crate::plan::process::{Conditions, SignalPlan};
    use crate::sys::start::Credentials;
    use std::time::Duration;

    #[test]
    fn what_differs_from_the_defaults_is_told_and_nothing_else() {
        let plain = ProcessPlan::new(Argv::new(vec![Word::plain("serve")]).unwrap());
        assert_eq!(lines(&plain), Vec::<String>::new());
        let process = ProcessPlan {
            conditions: Conditions {
                user: Some(Credentials { uid: 1000, gid: 1001, groups: vec![1001, 44] }),
                directory: Some("/srv".into()),
                umask: Some(0o027),
                limits: vec![(7, 1024, u64::MAX)],
                no_new_privileges: true,
                parent_death_signal: 9,
                aside: false,
            },
            label: Some("api".to_owned()),
            signals: SignalPlan { group: true, rewrite: [(15, 3)].into(), ignore: [1, 37].into(), stop_on: [3].into(), never_kills: true },
            success_codes: [143].into(),
            restart: RestartPlan { policy: RestartPolicy::OnFailure, limit: 3, ..RestartPlan::default() },
            watchdog: Some(Duration::from_secs(30)),
            ..plain
        };
        let expected = [
            "runs as user 1000, group 1001, groups 1001, 44; in /srv; with umask 0027; with nofile 1024:unlimited; without new privileges",
            "gets SIGKILL if portcullis dies before it",
            "each line of its output begins with `api | `",
            "signals: forwarded to its whole group; SIGTERM forwarded as SIGQUIT; SIGHUP, signal 37 ignored; SIGQUIT stops it, too; the third TERM or INT is forwarded, and does not kill; exit code 143 after a stop becomes 0",
            "started again when it fails, after 1s, doubled up to 1m, and 1s again once it ran for 1m; 3 times at most",
            "gets SIGABRT when it sends no WATCHDOG=1 for 30s",
        ];
        assert_eq!(lines(&process), expected);
        let json = json(&process);
        assert_eq!(json.pointer("/limits/nofile"), Some(&json!("1024:unlimited")));
        assert_eq!(json.pointer("/rewrite/SIGTERM"), Some(&json!("SIGQUIT")));
        assert_eq!(json.pointer("/user/groups/1"), Some(&json!(44)));
    }
}
