//! `portcullis plan`: the effective configuration and what `run` would do, without secrets and without doing it.

use std::fmt::Write;
use std::time::Duration;

use humantime::format_duration;
use serde_json::json;

use crate::config::effective::Effective;
use crate::exit::signal_name;
use crate::plan::module::{ModuleStart, Predecessor};
use crate::plan::process::StartSign;
use crate::plan::step::ItemPlan;
use crate::plan::{
    CommandPlan, ConditionPlan, Details, HealthPlan, LockPlan, MigrationPlan, ModulePlan, OnFailure, Plan, ProcessPlan, SchemaCheck,
    StepAction, StepAt, StepPlan,
};
use crate::prepare;
use crate::secret::scrub;
use crate::visible;

/// The plan as text: TOML that can replace the configuration, then in comments what happens in which order.
pub fn render(plan: &Plan, effective: &Effective) -> String {
    let mut out = format!("# {}\n{}\n# What happens, in this order:\n", who(plan), effective.toml());
    for (index, step) in steps(plan).iter().enumerate() {
        let _ = writeln!(out, "# {}. {}", index + 1, visible::line(step));
    }
    for notice in plan.remarks.iter().chain(&plan.notices).chain(&prepare::obstacles(plan)) {
        let _ = writeln!(out, "# Notice: {}", visible::line(notice));
    }
    out
}

/// The plan as JSON: values and origins by section and key, and the same sentences.
pub fn render_json(plan: &Plan, effective: &Effective) -> String {
    let service = &plan.service;
    let mut value = effective.json();
    value["service"] = json!({ "name": service.name, "mode": service.mode, "instance": service.instance, "version": service.version, "build": service.build });
    value["order"] = json!(steps(plan));
    value["notices"] = plan.remarks.iter().chain(&plan.notices).chain(&prepare::obstacles(plan)).map(String::as_str).collect();
    format!("{value:#}\n")
}

fn who(plan: &Plan) -> String {
    let service = &plan.service;
    let mode = service.mode.as_ref().map(|mode| format!(", mode {mode}")).unwrap_or_default();
    format!("service {}{mode}, instance {}", service.name, service.instance)
}

/// The actions of a run, in order.
fn steps(plan: &Plan) -> Vec<String> {
    let mut steps: Vec<String> = plan.arguments.iter().cloned().collect();
    match &plan.health {
        Some(HealthPlan { socket: Some(socket), .. }) if plan.own_command => {
            let socket = scrub(&socket.to_string());
            steps.push(format!("no health endpoint: `healthcheck` on {socket} reports that an ad-hoc command runs"));
        }
        Some(health) => steps.push(format!("serve health on {}", endpoint(health))),
        None => {}
    }
    let at = |steps: &mut Vec<String>, times: &[StepAt]| {
        steps.extend(plan.steps.iter().filter(|step| times.contains(&step.at)).map(|step| once(plan, step)))
    };
    at(&mut steps, &[StepAt::Files, StepAt::First]);
    let checks = || plan.checks.iter().enumerate().filter(|(id, _)| !plan.is_of_module(*id)).map(|(_, check)| check);
    steps.extend(plan.first().map(|module| of_module(plan, module)));
    steps.extend(
        checks()
            .filter(|check| !check.wait.is_zero())
            .map(|check| format!("wait for {} up to {}: {}", check.name, format_duration(check.wait), check.target)),
    );
    at(&mut steps, &[StepAt::Ready]);
    if let Some(migration) = &plan.migration {
        let verb = if migration.waits { "wait for the migration of another mode" } else { "migrate" };
        steps.push(format!(
            "{verb}: {}{}; {}; {}",
            migration.process.command.argv,
            if_it_holds(&migration.condition),
            environment(&migration.process.command),
            migration_limits(migration)
        ));
    }
    at(&mut steps, &[StepAt::Migrated]);
    match (&plan.main, &plan.refusal) {
        (Some(main), _) => {
            let after: Vec<&str> = plan.after.iter().filter_map(|id| plan.module(*id)).map(|module| module.name.as_str()).collect();
            let after = if after.is_empty() { String::new() } else { format!(" once {} is up:", after.join(", ")) };
            steps.push(format!("start{after} {}{}", main.command.argv, start(main)));
        }
        (None, Some(refusal)) => steps.push(format!("refuse with exit code {}: {}", refusal.code, refusal.message)),
        (None, None) => steps.push("end: no process is started after the migration".to_owned()),
    }
    at(&mut steps, &[StepAt::Up]);
    let beside = plan.modules.iter().filter(|module| module.start != ModuleStart::First);
    steps.extend(beside.map(|module| of_module(plan, module)));
    let watched: Vec<String> = checks().map(|check| format!("{} ({})", check.name, check.target)).collect();
    if !watched.is_empty() {
        steps.push(format!("meanwhile check {}", watched.join(", ")));
    }
    if let Some(heartbeat) = &plan.heartbeat {
        let (every, ttl) = (format_duration(heartbeat.every), format_duration(heartbeat.ttl));
        steps.push(format!("write the heartbeat {} in {}, every {every}, expires after {ttl}", heartbeat.key, heartbeat.target));
    }
    if let Some(main) = &plan.main {
        steps.push(stop(main, plan.stop_budget()));
    }
    steps
}

/// A condition that is decided later, in words.
fn if_it_holds(condition: &ConditionPlan) -> String {
    if condition.is_constant() { String::new() } else { format!("; only if {condition}") }
}

/// The command that finds out whether there is anything to do, in words.
fn if_not_done(check: Option<&ProcessPlan>) -> String {
    check.map_or(String::new(), |check| format!("; unless `{}` ends with 0", check.command.argv))
}

/// A step in words.
fn once(plan: &Plan, step: &StepPlan) -> String {
    let command =
        |item: &ItemPlan| format!("{}{}{}", item.process.command.argv, if_it_holds(&item.condition), if_not_done(item.check.as_deref()));
    let commands = |items: &[ItemPlan]| items.iter().map(command).collect::<Vec<_>>().join(", then ");
    let what = match &step.action {
        StepAction::File(file) => format!("file {file}"),
        StepAction::Commands(several) => format!("{}: {}", step.name, commands(several)),
        StepAction::Hooks(hooks) => format!("{}: the programs in {}", step.name, hooks.directory.display()),
    };
    let (condition, check) = (if_it_holds(&step.condition), if_not_done(step.check.as_deref()));
    let lock = || plan.step_lock.as_ref().map(|hold| &hold.lock).or(plan.migration.as_ref().map(|migration| &migration.lock));
    let lock = lock().filter(|_| step.locked).and_then(lock_place).map(|place| format!("; under {place}")).unwrap_or_default();
    let goes_on = if step.on_failure == OnFailure::Continue { "; if it fails, the start continues" } else { "" };
    format!("{what}{condition}{check}{lock}{goes_on}")
}

/// The user and environment of a process, and when it counts as started.
fn start(process: &ProcessPlan) -> String {
    let who = process.command.attributes.user.as_ref().map(|who| {
        let groups = who.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        format!(" as user {}, group {}, groups {groups}", who.uid, who.gid)
    });
    let started = process.started.as_ref();
    let started = started.map(|started| format!("; up once {}, within {}", sign(&started.sign), format_duration(started.within)));
    format!("{}; {}{}", who.unwrap_or_default(), environment(&process.command), started.unwrap_or_default())
}

fn of_module(plan: &Plan, module: &ModulePlan) -> String {
    let name = |predecessor: &Predecessor| match predecessor {
        Predecessor::Main => Some("main"),
        Predecessor::Module(id) => plan.module(*id).map(|other| other.name.as_str()),
    };
    let after: Vec<&str> = module.after.iter().filter_map(name).collect();
    let after = if after.is_empty() { String::new() } else { format!(" once {} is up", after.join(", ")) };
    let verb = match module.start {
        ModuleStart::First => "before everything else start",
        ModuleStart::WithMain => "start",
        ModuleStart::OnDemand => "on demand, start",
    };
    let checks: Vec<&str> = module.checks.iter().filter_map(|id| plan.checks.get(*id)).map(|check| check.name.as_str()).collect();
    let checks = if checks.is_empty() { String::new() } else { format!("; checked by {}", checks.join(", ")) };
    format!("{verb} the module {}{after}: {}{}{checks}", module.name, module.process.command.argv, start(&module.process))
}

/// Who sees details, in words.
const fn readers(health: &HealthPlan) -> &'static str {
    match (health.details, health.token.is_some()) {
        (Details::Never, _) => "details for no one",
        (Details::Always, _) => "details for all readers",
        (Details::WhenAuthorized, false) => "details for root and portcullis' own user on the socket",
        (Details::WhenAuthorized, true) => "details for root and portcullis' own user on the socket, and with the token",
    }
}

fn environment(command: &CommandPlan) -> String {
    let set: Vec<&str> = command.env.iter().map(|(name, _)| name.as_str()).collect();
    let mut parts = Vec::new();
    if !set.is_empty() {
        parts.push(format!("sets {}", set.join(", ")));
    }
    if !command.env_remove.is_empty() {
        parts.push(format!("removes {}", command.env_remove.join(", ")));
    }
    if parts.is_empty() { "environment: unchanged".to_owned() } else { format!("environment: {}", parts.join("; ")) }
}

fn migration_limits(migration: &MigrationPlan) -> String {
    let lock = match lock_place(&migration.lock) {
        Some(place) => {
            // Without a check, no replica knows that another one has already migrated.
            let who = if migration.check.is_some() { "once for all replicas, under" } else { "in each replica, one at a time, under" };
            format!("{who} {place}, waiting for up to {}", format_duration(migration.lock_timeout))
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
        .map(|(word, question)| question.as_ref().map_or(String::new(), |question| format!("; {word} {}", describe_check(question))));
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

/// A statement is not shown, because it may contain secrets.
fn describe_check(question: &SchemaCheck) -> String {
    match question {
        SchemaCheck::Sql(_) => "a statement".to_owned(),
        SchemaCheck::Command(process) => process.command.argv.to_string(),
    }
}

fn stop(process: &ProcessPlan, budget: Duration) -> String {
    let signal = process.stop_signal.map_or_else(|| "forwards it".to_owned(), |signal| format!("sends {}", signal_name(signal)));
    let [drain, timeout, budget] = [process.drain_delay, process.stop_timeout, budget].map(format_duration);
    let drain = if process.drain_delay.is_zero() { String::new() } else { format!("is not ready for {drain}, then ") };
    format!("on TERM or INT: {drain}{signal}, and SIGKILL after {timeout}; a stop takes {budget} at most")
}

fn endpoint(health: &HealthPlan) -> String {
    let mut parts: Vec<String> = Vec::new();
    for listen in &health.listen {
        let addresses: Vec<String> = listen.0.iter().map(ToString::to_string).collect();
        parts.push(addresses.join(", else "));
    }
    parts.extend(health.socket.iter().map(|socket| format!("unix socket {}", scrub(&socket.to_string()))));
    parts.push(readers(health).to_owned());
    if !health.required {
        parts.push("continues without an address that is in use".to_owned());
    }
    if !health.views.off().is_empty() {
        parts.push(format!("without {}", health.views.off().join(", ")));
    }
    parts.join("; ")
}

/// How the end of the start is detected.
fn sign(sign: &StartSign) -> String {
    match sign {
        StartSign::Answers { target, timeout } => format!("{target} passes ({} at most per attempt)", format_duration(*timeout)),
        StartSign::Notifies => "it sends READY=1".to_owned(),
        StartSign::Writes(descriptor) => format!("it writes a line to descriptor {descriptor}"),
        StartSign::Line(text) => format!("its output has a line with `{}`", text.shown()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::source::Environment;
    use crate::plan::resolve::{RunOptions, explain};

    fn sample() -> (Plan, Effective) {
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
        explain(
            &RunOptions { arguments: ["serve", "--key=planned-password"].map(str::to_owned).to_vec(), ..RunOptions::default() },
            &environment,
        )
        .unwrap()
    }

    #[test]
    fn a_person_reads_what_run_would_do() {
        let (plan, effective) = sample();
        let text = render(&plan, &effective);
        let (toml, order) = text.split_once("\n# What happens, in this order:\n").unwrap();
        assert!(toml.contains("\n[migrations]\n") && toml.contains("lock_timeout = \"30m\"  # default\n"), "{toml}");
        let expected = "\
# 1. serve health on [::]:8051, else 0.0.0.0:8051; unix socket @portcullis/8051; details for root and portcullis' own user on the socket, and with the token
# 2. wait for db up to 1m: postgres://postgres@db:5432/postgres
# 3. wait for redis up to 1m: redis://cache:6379/0
# 4. migrate: flask db upgrade --token ***; environment: sets API_TOKEN; in each replica, one at a time, under advisory lock 5028648633260024730 in postgres://postgres@db:5432/postgres, waiting for up to 30m; no time limit
# 5. start serve --key=***; environment: sets API_TOKEN
# 6. meanwhile check db (postgres://postgres@db:5432/postgres), redis (redis://cache:6379/0)
# 7. write the heartbeat api_service_status in redis://cache:6379/0, every 20s, expires after 1m
# 8. on TERM or INT: forwards it, and SIGKILL after 8s; a stop takes 9s at most
";
        assert_eq!(order, expected);
    }

    #[test]
    fn a_program_reads_the_same_and_neither_reads_a_secret() {
        let (plan, effective) = sample();
        let json: Value = serde_json::from_str(&render_json(&plan, &effective)).unwrap();
        assert_eq!(json.pointer("/values/migrations/lock_timeout"), Some(&json!("30m")));
        assert_eq!(json.pointer("/origins/migrations/lock_timeout"), Some(&json!("default")));
        assert_eq!(json.pointer("/service/mode"), Some(&json!("api")));
        for text in [render(&plan, &effective), render_json(&plan, &effective), format!("{plan:?}")] {
            assert!(!text.contains("planned"), "{text}");
        }
    }

    #[test]
    fn files_are_shown_as_they_are_made_and_without_their_texts() {
        let file = std::env::temp_dir().join(format!("portcullis-plan-files-{}.toml", std::process::id()));
        let toml = "[checks]\n[[files]]\npath = '/conf'\ncontent = 'a ${DB_PASSWORD} $host ${X%.*}'\nvariables = ['DB_PASSWORD']\nmode = '0640'\n\
                    [[files]]\npath = '/data'\ndirectory = true\nwhen = { directory = '/data', exists = false }\non_failure = 'continue'\n";
        std::fs::write(&file, toml).unwrap();
        let request = RunOptions { file: Some(file.clone()), arguments: vec!["serve".to_owned()], ..RunOptions::default() };
        let environment = Environment::new([("DB_PASSWORD", "planned-file-password")]);
        let (plan, effective) = explain(&request, &environment).unwrap();
        let text = render(&plan, &effective);
        assert!(text.contains("content = \"a ${DB_PASSWORD} $host ${X%.*}\"") && !text.contains("planned-file"), "{text}");
        assert!(text.contains(". file /conf: a text of the configuration, mode 0640\n"), "{text}");
        assert!(text.contains(". file /data: a directory; only if "), "{text}");
        std::fs::write(&file, &text).unwrap();
        let (again, _) = explain(&request, &environment).unwrap();
        assert_eq!(again.steps, plan.steps, "{text}");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn what_decides_later_whether_something_runs_is_shown() {
        let file = std::env::temp_dir().join(format!("portcullis-plan-conditions-{}.toml", std::process::id()));
        let toml = "[modes.api]\ncommand = ['serve']\n[migrations]\ncommand = ['migrate']\nlock = 'file:///run/lock'\nwhen = { file = '/x', exists = false }\n\
                    [[steps]]\ncommand = ['seed']\nat = 'migrated'\nlock = 'file:///run/lock'\ncheck = ['is-seeded', 'all']\n\
                    [[steps]]\ncommand = ['work', '${@each}']\neach = ['a', 'b']\ncheck = ['done', '${@each}']\n";
        std::fs::write(&file, toml).unwrap();
        let request = RunOptions { file: Some(file.clone()), ..RunOptions::default() };
        let found = explain(&request, &Environment::new([("HOME", "/")]));
        std::fs::remove_file(&file).unwrap();
        let (plan, effective) = found.unwrap();
        let text = render(&plan, &effective);
        for words in [
            ". migrate: migrate; only if the file /x does not exist; environment: unchanged; ",
            ". seed: seed; unless `is-seeded all` ends with 0; under the file /run/lock\n",
            ". work: work a; unless `done a` ends with 0, then work b; unless `done b` ends with 0\n",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn the_printed_plan_is_a_valid_configuration() {
        let variables = [
            ("DB_HOST", "db"),
            ("DB_PASSWORD", "planned$password"),
            ("DATABASE_URL", "postgres://u:planned%2Fpw@db/app"),
            ("REDIS_URL", "redis://:planned-redis@cache/0"),
            ("REDIS_HOST", "cache"),
            ("REDIS_PASSWORD", "planned/other"),
            ("CELERY_BROKER_URL", "amqp://u:planned-amqp@mq/v"),
            ("MYSQL_PASSWORD", "planned-mysql"),
            ("ELASTIC_PASSWORD", "planned-elastic"),
            ("GUNICORN_APP", "a:a"),
            ("CELERY_APP", "a"),
            ("DJANGO_PROJECT", "a"),
            ("MIGRATION_ENABLED", "true"),
            ("PORTCULLIS_ENV__API_TOKEN", "planned-token"),
            ("PORTCULLIS_HEALTH__TOKEN", "planned-bearer"),
        ];
        let environment = Environment::new(variables);
        // Values that the first reading took from variables of portcullis are now in the file, as these variables.
        let file = std::env::temp_dir().join(format!("portcullis-plan-{}.toml", std::process::id()));
        for preset in crate::config::preset::names() {
            let mode = if preset == "ragflow" {
                "server"
            } else if preset == "celery" {
                "worker"
            } else {
                "api"
            };
            let request = RunOptions { preset: Some(preset.to_owned()), mode: Some(mode.to_owned()), ..RunOptions::default() };
            let (plan, effective) = explain(&request, &environment).unwrap_or_else(|problems| panic!("{preset}: {problems}"));
            let text = render(&plan, &effective);
            assert!(!text.contains("planned"), "{preset}: {text}");
            std::fs::write(&file, &text).unwrap();
            let request = RunOptions { file: Some(file.clone()), ..RunOptions::default() };
            let (again, _) = explain(&request, &environment).unwrap_or_else(|problems| panic!("{preset}: {problems}\n{text}"));
            let quiet = |plan: Plan| Plan { notices: Vec::new(), remarks: Vec::new(), ..plan };
            assert_eq!(quiet(again), quiet(plan), "{preset}: {text}");
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_name_with_a_dot_in_it_is_printed_as_one_name() {
        let file = std::env::temp_dir().join(format!("portcullis-plan-dotted-{}.toml", std::process::id()));
        let config = "mode = 'web.1'\n[checks.'db.main']\nurl = 'tcp://127.0.0.1:1'\n[[checks.'db.main'.variants]]\nwhen = { var = 'A', eq = 'b' }\n\
            url = 'tcp://127.0.0.1:2'\n[checks.db]\nurl = 'tcp://127.0.0.1:3'\n[modes.'web.1']\ncommand = ['true']\n[modes.'web.1'.env]\n'A.B' = 'x'\n\
            [modules.'side.car']\ncommand = ['true']\n[modules.'side.car'.limits]\nnofile = 64\n";
        std::fs::write(&file, config).unwrap();
        let request = RunOptions { file: Some(file.clone()), ..RunOptions::default() };
        let environment = Environment::new([("HOME", "/")]);
        let (plan, effective) = explain(&request, &environment).unwrap_or_else(|problems| panic!("{problems}"));
        let text = render(&plan, &effective);
        std::fs::write(&file, &text).unwrap();
        let (again, _) = explain(&request, &environment).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(again, plan, "{text}");
        for section in ["[checks.\"db.main\"]", "[modes.\"web.1\"]", "[modules.\"side.car\"]"] {
            assert!(text.contains(section), "{section}: {text}");
        }
        let json: Value = serde_json::from_str(&render_json(&plan, &effective)).unwrap();
        assert_eq!(json["values"]["checks.\"db.main\""]["url"], "tcp://127.0.0.1:1");
    }
}
