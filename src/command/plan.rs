//! `portcullis plan`: exactly what `run` would do, without any secret and without doing it.

mod module;
mod process;

use std::fmt::Write;
use std::time::Duration;

use humantime::format_duration;
use serde_json::{Value, json};

use crate::exit::signal_name;
use crate::plan::process::StartSign;
use crate::plan::{Affects, CheckPlan, Details, HealthPlan, HeartbeatPlan, LockPlan, MigrationPlan, Orphans, Plan, ProcessPlan, Question};
use crate::secret::scrub;
use crate::visible;

/// The plan for a person.
pub fn render(plan: &Plan) -> String {
    let mut out = String::new();
    let mut line = |head: &str, text: &str| {
        let _ = writeln!(out, "{head:<11}{}", visible::line(text));
    };
    let service = &plan.service;
    let mode = service.mode.as_ref().map(|mode| format!(", mode {mode}")).unwrap_or_default();
    line("service", &format!("{}{mode}, instance {}", service.name, service.instance));
    for (_, check) in plan.checks.iter().enumerate().filter(|(id, _)| !plan.is_of_module(*id)) {
        line("check", &format!("{}: {}", check.name, check.target));
        line("", &check_times(check));
    }
    if let Some(migration) = &plan.migration {
        line("migration", &migration.process.argv.to_string());
        line("", &environment(&migration.process));
        line("", &migration_limits(migration));
    }
    match &plan.main {
        Some(main) => {
            line("process", &main.argv.to_string());
            line("", &environment(main));
            if let Some(started) = &main.started {
                line("", &format!("up once {}, within {}", sign(&started.sign), format_duration(started.within)));
            }
            for text in process::lines(main) {
                line("", &text);
            }
            line("", &stop(main, plan.stop_budget()));
        }
        None => match &plan.refusal {
            Some(refusal) => line("process", &format!("refused with exit code {}: {}", refusal.code, refusal.message)),
            None => line("process", "none: the run ends after the migration"),
        },
    }
    for module in &plan.modules {
        for (index, text) in module::lines(plan, module).iter().enumerate() {
            line(if index == 0 { "module" } else { "" }, text);
        }
    }
    if let Some(heartbeat) = &plan.heartbeat {
        let HeartbeatPlan { target, key, ttl, every, simple, exclusive, required } = heartbeat;
        let mode = if *simple { ", the shared key alone" } else { "" };
        let mode = if *exclusive { format!("{mode}, which no other replica writes") } else { mode.to_owned() };
        let mode = if *required { format!("{mode}, not ready without it") } else { mode };
        let (every, ttl) = (format_duration(*every), format_duration(*ttl));
        line("heartbeat", &format!("{key} in {target}, every {every}, expires after {ttl}{mode}"));
    } else {
        line("heartbeat", "none");
    }
    match &plan.health {
        Some(HealthPlan { socket: Some(socket), .. }) if plan.own_command => {
            line("health", &format!("none, and `healthcheck` is told so on {socket}"))
        }
        Some(health) => line("health", &endpoint(health)),
        None => line("health", "none"),
    }
    if plan.hold {
        line("", "a start that fails is held for inspection until TERM");
    }
    for notice in plan.remarks.iter().chain(&plan.notices) {
        line("notice", notice);
    }
    out
}

fn check_times(check: &CheckPlan) -> String {
    let wait = if check.wait.is_zero() {
        "not waited for before the start".to_owned()
    } else {
        let fast = if check.fail_fast { ", given up at once on a refused login" } else { "" };
        format!("waited for up to {}{fast}", format_duration(check.wait))
    };
    let [interval, timeout] = [check.interval, check.timeout].map(format_duration);
    let count = |number: u32, word: &str, plural: &str| if number == 1 { format!("1 {word}") } else { format!("{number} {plural}") };
    let failures = count(check.failure_threshold, "failure", "failures");
    let passes = count(check.success_threshold, "pass", "passes");
    let pace =
        if check.spaced { format!("asked every {interval} at most, the wait included") } else { format!("then asked every {interval}") };
    format!("{wait}; {pace}, {timeout} at most a try, down after {failures}, up after {passes}; counted for {}", counts(check.affects))
}

const fn affects(affects: Affects) -> &'static str {
    match affects {
        Affects::None => "none",
        Affects::Health => "health",
        Affects::Readiness => "readiness",
        Affects::Liveness => "liveness",
    }
}

/// What a check or a module counts for, in words.
const fn counts(counted: Affects) -> &'static str {
    match counted {
        Affects::None => "nothing",
        counted => affects(counted),
    }
}

/// Who sees details, in words.
const fn readers(health: &HealthPlan) -> &'static str {
    match (health.details, health.token.is_some()) {
        (Details::Never, _) => "details for nobody",
        (Details::Always, _) => "details for everybody",
        (Details::WhenAuthorized, false) => "details for root and portcullis' own user on the socket",
        (Details::WhenAuthorized, true) => "details for root and portcullis' own user on the socket, and with the token",
    }
}

const fn details(details: Details) -> &'static str {
    match details {
        Details::Never => "never",
        Details::WhenAuthorized => "when-authorized",
        Details::Always => "always",
    }
}

fn environment(process: &ProcessPlan) -> String {
    let set: Vec<&str> = process.env.iter().map(|(name, _)| name.as_str()).collect();
    let mut parts = Vec::new();
    if !set.is_empty() {
        parts.push(format!("sets {}", set.join(", ")));
    }
    if !process.env_remove.is_empty() {
        parts.push(format!("removes {}", process.env_remove.join(", ")));
    }
    if parts.is_empty() { "environment: as it is".to_owned() } else { format!("environment: {}", parts.join("; ")) }
}

fn migration_limits(migration: &MigrationPlan) -> String {
    let lock = match lock_place(&migration.lock) {
        Some(place) => {
            // Without a question to the database nobody knows that another replica has done it already.
            let who = if migration.check.is_some() { "once for all replicas, under" } else { "in each replica, one at a time, under" };
            format!("{who} {place}, waited for up to {}", format_duration(migration.lock_timeout))
        }
        None => "without a lock".to_owned(),
    };
    let limit = if migration.timeout.is_zero() {
        "no time limit".to_owned()
    } else {
        format!("stopped after {}", format_duration(migration.timeout))
    };
    let waits = if migration.waits { "run by another mode, and waited for; " } else { "" };
    let [check, verify] = [("checked by", &migration.check), ("verified by", &migration.verify)]
        .map(|(word, question)| question.as_ref().map_or(String::new(), |question| format!("; {word} {}", asked(question))));
    let second =
        migration.second.as_ref().map_or(String::new(), |second| format!(", and under the key {} in {}", second.key, second.target));
    format!("{waits}{lock}{second}; {limit}{check}{verify}")
}

fn lock_place(lock: &LockPlan) -> Option<String> {
    Some(match lock {
        LockPlan::Postgres { target, key, .. } => format!("advisory lock {key} in {target}"),
        LockPlan::Table { target, table, row } => format!("the row {row} of the table {table} in {target}"),
        LockPlan::Mysql { target, name, .. } => format!("the lock {name} in {target}"),
        LockPlan::File(path) => format!("the file {}", path.display()),
        LockPlan::Redis { target, key } => format!("the key {key} in {target}"),
        LockPlan::None => return None,
    })
}

/// A statement is not shown whole: it may hold what is nobody's business.
fn asked(question: &Question) -> String {
    match question {
        Question::Sql(_) => "a statement".to_owned(),
        Question::Command(process) => process.argv.to_string(),
    }
}

fn stop(process: &ProcessPlan, budget: Duration) -> String {
    let signal = process.stop_signal.map_or_else(|| "passes it on".to_owned(), |signal| format!("sends {}", signal_name(signal)));
    let [drain, timeout, budget] = [process.drain_delay, process.stop_timeout, budget].map(format_duration);
    let drain = if process.drain_delay.is_zero() { String::new() } else { format!("is not ready for {drain}, then ") };
    format!("on TERM or INT: {drain}{signal}, and SIGKILL after {timeout}; a stop takes {budget} at most")
}

fn endpoint(health: &HealthPlan) -> String {
    let mut parts: Vec<String> = Vec::new();
    let listen: Vec<String> = health.listen.iter().map(ToString::to_string).collect();
    if !listen.is_empty() {
        parts.push(listen.join(", else "));
    }
    parts.extend(health.socket.iter().map(|socket| format!("unix socket {}", scrub(&socket.to_string()))));
    parts.push(readers(health).to_owned());
    if !health.required {
        parts.push("goes on without it where an address is taken".to_owned());
    }
    if !health.views.off().is_empty() {
        parts.push(format!("without {}", health.views.off().join(", ")));
    }
    parts.join("; ")
}

/// The plan for a program; durations in milliseconds.
pub fn render_json(plan: &Plan) -> String {
    let service = &plan.service;
    let value = json!({
        "service": service.name,
        "mode": service.mode,
        "instance": service.instance,
        "version": service.version,
        "checks": plan.checks.iter().map(check_json).collect::<Vec<_>>(),
        "migration": plan.migration.as_ref().map(migration_json),
        "refusal": plan.refusal.as_ref().map(|refusal| json!({ "code": refusal.code, "message": refusal.message })),
        "process": plan.main.as_ref().map(|main| process_json(main, plan.stop_budget())),
        "modules": plan.modules.iter().map(|module| module::json(plan, module)).collect::<Vec<_>>(),
        "heartbeat": plan.heartbeat.as_ref().map(|heartbeat| json!({
            "target": heartbeat.target.to_string(), "key": heartbeat.key, "ttl_ms": milliseconds(heartbeat.ttl), "every_ms": milliseconds(heartbeat.every), "simple": heartbeat.simple, "exclusive": heartbeat.exclusive, "required": heartbeat.required,
        })),
        "health": plan.health.as_ref().map(|health| json!({
            "listen": health.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "socket": health.socket.as_ref().map(|socket| scrub(&socket.to_string())),
            "required": health.required,
            "details": details(health.details),
            "token": health.token.is_some(),
            "hosts": health.hosts,
            "off": health.views.off(),
        })),
        "on_startup_failure": if plan.hold { "hold" } else { "exit" },
        "notices": plan.remarks.iter().chain(&plan.notices).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn check_json(check: &CheckPlan) -> Value {
    json!({
        "name": check.name,
        "kind": check.target.kind(),
        "target": check.target.to_string(),
        "wait_ms": milliseconds(check.wait),
        "fail_fast": check.fail_fast,
        "missing_database": if check.creates_database { "ready" } else { "wait" },
        "affects": affects(check.affects),
        "interval_ms": milliseconds(check.interval),
        "spaced": check.spaced,
        "timeout_ms": milliseconds(check.timeout),
        "failure_threshold": check.failure_threshold,
        "success_threshold": check.success_threshold,
    })
}

fn migration_json(migration: &MigrationPlan) -> Value {
    let (lock, key) = match &migration.lock {
        LockPlan::Postgres { target, key, .. } => (Value::String(target.to_string()), Value::from(*key)),
        LockPlan::Table { target, table, row } => (Value::String(target.to_string()), Value::from(format!("{table}: {row}"))),
        LockPlan::Mysql { target, name, .. } => (Value::String(target.to_string()), Value::from(name.as_str())),
        LockPlan::File(path) => (Value::String(format!("file://{}", path.display())), Value::Null),
        LockPlan::Redis { target, key } => (Value::String(target.to_string()), Value::from(key.as_str())),
        LockPlan::None => (Value::Null, Value::Null),
    };
    json!({
        "argv": argv(&migration.process),
        "env": names(&migration.process),
        "env_remove": migration.process.env_remove,
        "lock": lock,
        "lock_key": key,
        "also_redis_lock": migration.second.as_ref().map(|second| json!({ "key": second.key, "target": second.target.to_string() })),
        "lock_timeout_ms": milliseconds(migration.lock_timeout),
        "timeout_ms": milliseconds(migration.timeout),
        "waits": migration.waits,
        "check": migration.check.as_ref().map(asked),
        "verify": migration.verify.as_ref().map(asked),
        "on_lock_lost": if migration.unlocked { "continue" } else { "terminate" },
        "orphans": match migration.orphans {
            Orphans::Terminate => "terminate",
            Orphans::Wait => "wait",
            Orphans::Ignore => "ignore",
        },
        "retries": migration.retries,
    })
}

/// By what the start is known to be through.
fn sign(sign: &StartSign) -> String {
    match sign {
        StartSign::Answers { target, timeout } => format!("{target} passes ({} at most a try)", format_duration(*timeout)),
        StartSign::Notifies => "it sends READY=1".to_owned(),
        StartSign::Writes(descriptor) => format!("it writes a line to descriptor {descriptor}"),
    }
}

fn process_json(process: &ProcessPlan, budget: Duration) -> Value {
    let mut value = json!({
        "argv": argv(process),
        "env": names(process),
        "env_remove": process.env_remove,
        "started": process.started.as_ref().map(|started| json!({
            "once": sign(&started.sign), "within_ms": milliseconds(started.within),
        })),
        "stop_signal": process.stop_signal.map(signal_name),
        "stop_timeout_ms": milliseconds(process.stop_timeout),
        "drain_delay_ms": milliseconds(process.drain_delay),
        "stop_budget_ms": milliseconds(budget),
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, process::json(process)) {
        value.extend(more);
    }
    value
}

fn argv(process: &ProcessPlan) -> Vec<&str> {
    process.argv.words().iter().map(crate::plan::argv::Word::shown).collect()
}

fn names(process: &ProcessPlan) -> Vec<&str> {
    process.env.iter().map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Environment;
    use crate::plan::resolve::{Request, resolve};

    fn sample() -> Plan {
        let environment = Environment::new([
            ("DB_HOST", "db"),
            ("DB_PASSWORD", "planned-password"),
            ("REDIS_HOST", "cache"),
            ("REDIS_PASSWORD", "planned/other"),
            ("MIGRATION_ENABLED", "true"),
            ("PORTCULLIS_MIGRATIONS__COMMAND", "flask db upgrade --token planned-password"),
            ("PORTCULLIS_ENV__API_TOKEN", "planned-token"),
            ("PORTCULLIS_HEALTH__TOKEN", "planned-bearer"),
            ("PORTCULLIS_INSTANCE_ID", "web-1"),
            ("MODE", "api"),
        ]);
        resolve(&Request { arguments: ["serve", "--key=planned-password"].map(str::to_owned).to_vec(), ..Request::default() }, &environment)
            .unwrap()
    }

    #[test]
    fn a_person_reads_what_run_would_do() {
        let expected = "\
service    api, mode api, instance web-1
check      db: postgres://postgres@db:5432/postgres
           waited for up to 1m; then asked every 5s, 2s at most a try, down after 3 failures, up after 1 pass; counted for health
check      redis: redis://cache:6379/0
           waited for up to 1m; then asked every 5s, 2s at most a try, down after 3 failures, up after 1 pass; counted for health
migration  flask db upgrade --token ***
           environment: sets API_TOKEN
           in each replica, one at a time, under advisory lock 5028648633260024730 in postgres://postgres@db:5432/postgres, waited for up to 30m; no time limit
process    serve --key=***
           environment: sets API_TOKEN
           on TERM or INT: passes it on, and SIGKILL after 8s; a stop takes 9s at most
heartbeat  api_service_status in redis://cache:6379/0, every 20s, expires after 1m
health     [::]:8051, else 0.0.0.0:8051; unix socket @portcullis/8051; details for root and portcullis' own user on the socket, and with the token
";
        assert_eq!(render(&sample()), expected);
    }

    #[test]
    fn a_program_reads_the_same_and_neither_reads_a_secret() {
        let plan = sample();
        let json: Value = serde_json::from_str(&render_json(&plan)).unwrap();
        assert_eq!(json.pointer("/process/stop_budget_ms"), Some(&json!(9000)));
        assert_eq!(json.pointer("/migration/lock_key"), Some(&json!(5_028_648_633_260_024_730_i64)));
        assert_eq!(json.pointer("/checks/0/target"), Some(&json!("postgres://postgres@db:5432/postgres")));
        for text in [render(&plan), render_json(&plan), format!("{plan:?}")] {
            assert!(!text.contains("planned"), "{text}");
        }
    }
}
