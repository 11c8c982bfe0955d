//! Compares a configuration that was read again with the running plan: the changes to apply, or all differences that cannot be applied.

use std::collections::BTreeSet;

use super::module::Predecessor;
use super::{CheckId, CheckPlan, HealthPlan, ModuleId, ModulePlan, Plan, ProcessPlan};

/// Numbers that are no longer used and are not used again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retired {
    /// Indices in [`Plan::checks`] that are no longer probed.
    pub checks: BTreeSet<CheckId>,
    /// Modules that are removed; their plans stay in [`Plan::modules`] until the next reload.
    pub modules: BTreeSet<ModuleId>,
}

/// A reload that can be applied.
#[derive(Clone, Debug)]
pub struct Reload {
    /// The new plan: unchanged parts keep their numbers, new or changed ones have numbers that were never used.
    pub plan: Plan,
    /// The changes of modules.
    pub modules: Changes,
    /// The changes of the service's checks.
    pub checks: Changes,
}

/// The names of added, removed and changed items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Added.
    pub added: Vec<String>,
    /// Removed.
    pub removed: Vec<String>,
    /// Changed.
    pub changed: Vec<String>,
}

impl Changes {
    /// For example `beat added, reports and mail changed`; none if nothing changes.
    pub fn words(&self, what: &str, plural: &str) -> Option<String> {
        let parts = [(&self.added, "added"), (&self.changed, "changed"), (&self.removed, "removed")];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(names, _)| !names.is_empty())
            .map(|(names, verb)| format!("{} {} {verb}", if names.len() == 1 { what } else { plural }, names.join(", ")))
            .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl Reload {
    /// Everything that changes, in words.
    pub fn words(&self) -> String {
        let parts: Vec<String> =
            [self.modules.words("module", "modules"), self.checks.words("check", "checks")].into_iter().flatten().collect();
        if parts.is_empty() { "nothing has changed".to_owned() } else { parts.join("; ") }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.modules == Changes::default() && self.checks == Changes::default()
    }

    /// Compares `read` with the running plan.
    ///
    /// # Errors
    /// A sentence for each difference that cannot be applied; then nothing is changed.
    pub fn new(running: &Plan, read: Plan) -> Result<Self, Vec<String>> {
        let fixed = fixed(running, &read);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let mut reload = Self { plan: running.clone(), modules: Changes::default(), checks: Changes::default() };
        let places = reload.place_checks(running, &read);
        reload.place_modules(running, read.modules, &places);
        reload.plan.notices = read.notices;
        Ok(reload)
    }

    /// Gives every check its index: the old one if it is unchanged, else a new one. Old indices that are no longer used are retired.
    fn place_checks(&mut self, running: &Plan, read: &Plan) -> Vec<CheckId> {
        let mut wanted = BTreeSet::new();
        let mut places = Vec::with_capacity(read.checks.len());
        for (id, check) in read.checks.iter().enumerate() {
            let owner = owner(read, id);
            let old = live_checks(running).find(|(old, known)| known.name == check.name && self::owner(running, *old) == owner);
            let place = match old {
                Some((old, known)) if known == check => old,
                old => {
                    if owner.is_none() {
                        let list = if old.is_some() { &mut self.checks.changed } else { &mut self.checks.added };
                        list.push(check.name.clone());
                    }
                    self.plan.checks.push(check.clone());
                    self.plan.checks.len() - 1
                }
            };
            wanted.insert(place);
            places.push(place);
        }
        for (old, known) in live_checks(running).filter(|(old, _)| !wanted.contains(old)) {
            self.plan.retired.checks.insert(old);
            if owner(running, old).is_none() && !self.checks.changed.contains(&known.name) {
                self.checks.removed.push(known.name.clone());
            }
        }
        places
    }

    fn place_modules(&mut self, running: &Plan, read: Vec<ModulePlan>, places: &[CheckId]) {
        let live = |name: &str| running.modules.iter().find(|old| old.name == name && !running.retired.modules.contains(&old.id));
        let taken = running.modules.iter().map(|module| module.id).chain(running.retired.modules.iter().copied()).max();
        let mut next = taken.map_or(0, |ModuleId(number)| number + 1);
        let numbers: Vec<(ModuleId, ModuleId)> = read
            .iter()
            .map(|module| {
                let id = live(&module.name).map_or_else(|| (ModuleId(next), next += 1).0, |old| old.id);
                (module.id, id)
            })
            .collect();
        let renumbered = |id: ModuleId| numbers.iter().find(|(read, _)| *read == id).map_or(id, |(_, id)| *id);
        let mut modules: Vec<ModulePlan> = Vec::with_capacity(read.len());
        for mut module in read {
            module.id = renumbered(module.id);
            for predecessor in &mut module.after {
                if let Predecessor::Module(id) = predecessor {
                    *id = renumbered(*id);
                }
            }
            for check in &mut module.checks {
                *check = places.get(*check).copied().unwrap_or(*check);
            }
            match live(&module.name) {
                None => self.modules.added.push(module.name.clone()),
                Some(old) if *old != module => self.modules.changed.push(module.name.clone()),
                Some(_) => {}
            }
            modules.push(module);
        }
        let gone = running.modules.iter().filter(|old| !running.retired.modules.contains(&old.id));
        for old in gone.filter(|old| !modules.iter().any(|module| module.id == old.id)).cloned().collect::<Vec<_>>() {
            self.modules.removed.push(old.name.clone());
            self.plan.retired.modules.insert(old.id);
            modules.push(old);
        }
        self.plan.modules = modules;
    }
}

/// The active checks, with their indices.
fn live_checks(plan: &Plan) -> impl Iterator<Item = (CheckId, &CheckPlan)> {
    plan.checks.iter().enumerate().filter(|(id, _)| !plan.retired.checks.contains(id))
}

/// The module that the check belongs to; none for a check of the service.
fn owner(plan: &Plan, check: CheckId) -> Option<&str> {
    plan.modules.iter().find(|module| module.checks.contains(&check)).map(|module| module.name.as_str())
}

/// The names of these modules.
fn names_of<'p>(plan: &'p Plan, ids: &[ModuleId]) -> Vec<&'p str> {
    ids.iter().filter_map(|id| plan.module(*id)).map(|module| module.name.as_str()).collect()
}

/// One sentence for each difference that cannot change while portcullis runs.
fn fixed(running: &Plan, read: &Plan) -> Vec<String> {
    let mut changed: Vec<String> = Vec::new();
    let mut compare = |what: &str, same: bool| {
        if !same {
            changed.push(what.to_owned());
        }
    };
    compare("the service's name", running.service.name == read.service.name);
    compare("the application's `version`", running.service.version == read.service.version);
    compare("the mode", running.service.mode == read.service.mode);
    compare("the instance's name", running.service.instance == read.service.instance);
    match (&running.main, &read.main) {
        (Some(running), Some(read)) => compare_process(running, read, &mut compare),
        (running, read) => compare("whether there is a process", running.is_none() == read.is_none()),
    }
    compare("`after` of the process", names_of(running, &running.after) == names_of(read, &read.after));
    compare("[migrations]", running.migration == read.migration);
    compare("[heartbeat]", running.heartbeat == read.heartbeat);
    match (&running.health, &read.health) {
        (Some(running), Some(read)) => compare_health(running, read, &mut compare),
        (running, read) => compare("whether there is a health endpoint", running.is_none() == read.is_none()),
    }
    compare("`on_startup_failure`", running.hold == read.hold);
    changed.into_iter().map(|what| format!("{what} differs")).collect()
}

fn compare_process(running: &ProcessPlan, read: &ProcessPlan, compare: &mut impl FnMut(&str, bool)) {
    compare("the process' command", running.command.argv == read.command.argv);
    compare("the process' environment", running.command.env == read.command.env && running.command.env_remove == read.command.env_remove);
    compare("the process' user, directory or limits", running.command.attributes == read.command.attributes);
    compare("the process' `output`", running.label == read.label);
    compare("the process' startup check", running.started == read.started);
    let rules = |plan: &ProcessPlan| (plan.signals.clone(), plan.stop_signal, plan.success_codes.clone());
    compare("how the process is signalled", rules(running) == rules(read));
    let times = |plan: &ProcessPlan| (plan.stop_timeout, plan.drain_delay, plan.watchdog);
    compare("the process' `stop_timeout`, `drain_delay` or `watchdog`", times(running) == times(read));
    compare("the process' `restart`", running.restart == read.restart);
}

fn compare_health(running: &HealthPlan, read: &HealthPlan, compare: &mut impl FnMut(&str, bool)) {
    compare("`listen` of [health]", running.listen == read.listen);
    compare("`socket` of [health]", running.socket == read.socket);
    compare("`token` or `details` of [health]", running.token == read.token && running.details == read.details);
    compare("what is switched off in [health]", running.views.off() == read.views.off());
    compare("`component_names` of [health]", running.views.names == read.views.names);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::source::Environment;
    use crate::plan::argv::{Argv, Word};
    use crate::plan::resolve::{RunOptions, resolve};

    fn check(name: &str, interval: u64) -> CheckPlan {
        let variables = [("PORTCULLIS_CHECKS__X__URL".to_owned(), "tcp://db:5432".to_owned())];
        let request = RunOptions { arguments: vec!["serve".to_owned()], ..RunOptions::default() };
        let plan = resolve(&request, &Environment::new(variables)).unwrap();
        CheckPlan { name: name.to_owned(), interval: Duration::from_secs(interval), ..plan.checks[0].clone() }
    }

    /// Modules by name, command and the names of those they come after; a module has the check `NAME.own`.
    fn plan(checks: &[(&str, u64)], modules: &[(&str, &str, &[&str])]) -> Plan {
        let request = RunOptions { arguments: vec!["serve".to_owned()], ..RunOptions::default() };
        let mut plan = resolve(&request, &Environment::new([("HOME", "/")])).unwrap();
        plan.checks = checks.iter().map(|(name, interval)| check(name, *interval)).collect();
        for (number, (name, command, after)) in modules.iter().enumerate() {
            let process = ProcessPlan::new(Argv::new(vec![Word::plain(*command)]).unwrap());
            let mut module = ModulePlan::new(ModuleId(number as u32), name, process);
            module.checks = vec![plan.checks.len()];
            plan.checks.push(check(&format!("{name}.own"), 5));
            let place = |name: &&str| ModuleId(modules.iter().position(|(other, ..)| other == name).unwrap() as u32);
            module.after = after.iter().map(|name| Predecessor::Module(place(name))).collect();
            plan.modules.push(module);
        }
        plan
    }

    fn module<'a>(plan: &'a Plan, name: &str) -> &'a ModulePlan {
        plan.modules.iter().find(|module| module.name == name).unwrap()
    }

    #[test]
    fn unchanged_items_stay_and_no_index_is_used_twice() {
        let first = plan(&[("db", 5), ("cache", 5)], &[("beat", "beat", &[]), ("mail", "mail", &[])]);
        let same = Reload::new(&first, first.clone()).unwrap();
        assert_eq!((same.plan.clone(), same.words()), (first.clone(), "nothing has changed".to_owned()));

        let read = plan(&[("cache", 5), ("db", 9), ("es", 5)], &[("web", "web", &["mail"]), ("mail", "mail", &[])]);
        let second = Reload::new(&first, read).unwrap();
        assert_eq!(second.words(), "module web added; module beat removed; check es added; check db changed");
        let (mail, web) = (module(&second.plan, "mail"), module(&second.plan, "web"));
        assert_eq!((mail, web.id), (module(&first, "mail"), ModuleId(2)));
        assert_eq!(web.after, [Predecessor::Module(mail.id)]);
        assert_eq!(second.plan.checks[web.checks[0]].name, "web.own");
        let live: Vec<&str> = live_checks(&second.plan).map(|(_, check)| check.name.as_str()).collect();
        assert_eq!(live, ["cache", "mail.own", "db", "es", "web.own"]);
        assert_eq!(second.plan.retired.modules, [ModuleId(0)].into());

        let third = Reload::new(&second.plan, plan(&[("db", 9)], &[("beat", "beat", &[])])).unwrap();
        assert_eq!(third.words(), "module beat added; modules web, mail removed; checks cache, es removed");
        assert_eq!(module(&third.plan, "beat").id, ModuleId(3));
        assert!(third.plan.module(ModuleId(0)).is_none());
    }

    #[test]
    fn a_module_whose_own_check_changes_changes() {
        let first = plan(&[], &[("beat", "beat", &[])]);
        let mut read = first.clone();
        read.checks[0].timeout = Duration::from_secs(1);
        let reload = Reload::new(&first, read).unwrap();
        assert_eq!(reload.words(), "module beat changed");
        assert_eq!(module(&reload.plan, "beat").checks, [1]);
    }

    #[test]
    fn impossible_changes_are_reported_item_by_item_and_nothing_is_done() {
        let first = plan(&[("db", 5)], &[]);
        let mut read = plan(&[("db", 7)], &[("beat", "beat", &[])]);
        read.main = Some(ProcessPlan::new(Argv::new(vec![Word::plain("other")]).unwrap()));
        read.health = read.health.map(|health| HealthPlan { listen: Vec::new(), ..health });
        read.hold = true;
        let differences = Reload::new(&first, read).unwrap_err();
        assert_eq!(
            differences,
            ["the process' command", "`listen` of [health]", "`on_startup_failure`"].map(|what| format!("{what} differs"))
        );
    }
}
