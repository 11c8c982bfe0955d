//! What `plan` says of a module beyond its process.

use humantime::format_duration;
use serde_json::{Value, json};

use super::{affects, counts, environment, process, process_json, sign};
use crate::exit::signal_name;
use crate::plan::module::{ModuleStart, OnExit, Predecessor};
use crate::plan::{ModulePlan, Plan};

/// A module in sentences, its command first.
pub(super) fn lines(plan: &Plan, module: &ModulePlan) -> Vec<String> {
    let command = &module.process;
    let mut lines = vec![format!("{}: {}", module.name, command.argv), environment(command)];
    let after = after(plan, module);
    let after = if after.is_empty() { String::new() } else { format!(", once {} is up", after.join(", ")) };
    lines.push(format!("started {}{after}; {}", start(module.start), counting(module)));
    if let Some(started) = &command.started {
        lines.push(format!("up once {}, within {}", sign(&started.sign), format_duration(started.within)));
    }
    for check in module.checks.iter().filter_map(|id| plan.checks.get(*id)) {
        lines.push(format!("while it runs, check {}: {}; counted for {}", check.name, check.target, counts(check.affects)));
    }
    lines.extend(process::lines(command));
    let signal = command.stop_signal.map_or_else(|| "SIGTERM".to_owned(), signal_name);
    lines.push(format!("stopped by {signal}, and SIGKILL after {}", format_duration(command.stop_timeout)));
    lines
}

fn counting(module: &ModulePlan) -> String {
    let startup = if module.counts { "health" } else { "nothing" };
    let end = match module.on_exit {
        OnExit::Ignore => "; its end changes nothing",
        OnExit::Degrade => "",
        OnExit::StopAll => "; its end for good stops everything",
    };
    format!("its start is counted for {startup}, its running for {}{end}", counts(module.affects))
}

const fn start(start: ModuleStart) -> &'static str {
    match start {
        ModuleStart::WithMain => "with the process",
        ModuleStart::OnDemand => "on demand",
    }
}

fn after<'p>(plan: &'p Plan, module: &ModulePlan) -> Vec<&'p str> {
    let name = |predecessor: &Predecessor| match predecessor {
        Predecessor::Main => Some("main"),
        Predecessor::Module(id) => plan.module(*id).map(|other| other.name.as_str()),
    };
    module.after.iter().filter_map(name).collect()
}

/// The same for a program.
pub(super) fn json(plan: &Plan, module: &ModulePlan) -> Value {
    let mut value = json!({
        "name": module.name,
        "version": module.version,
        "web_path": module.web_path,
        "start": match module.start {
            ModuleStart::WithMain => "with-main",
            ModuleStart::OnDemand => "on-demand",
        },
        "after": after(plan, module),
        "startup_affects_health": module.counts,
        "affects": affects(module.affects),
        "checks": module.checks.iter().filter_map(|id| plan.checks.get(*id)).map(|check| check.name.as_str()).collect::<Vec<_>>(),
        "on_exit": match module.on_exit {
            OnExit::Ignore => "ignore",
            OnExit::Degrade => "degrade",
            OnExit::StopAll => "stop-all",
        },
    });
    if let (Value::Object(value), Value::Object(process)) = (&mut value, process_json(&module.process, module.process.stop_timeout)) {
        value.extend(process.into_iter().filter(|(key, _)| !["drain_delay_ms", "stop_budget_ms"].contains(&key.as_str())));
    }
    value
}
