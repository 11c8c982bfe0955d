//! What `[process]` and a mode say of how a process is started, signalled, stopped and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::accounts::Accounts;
use crate::config::node::{Origin, Value};
use crate::config::reader::{Depth, Keys, Section};
use crate::plan::argv::{Argv, Word};
use crate::plan::process::{Conditions, RestartPlan, RestartPolicy, SignalPlan};
use crate::plan::resolve::variables::Variables;
use crate::plan::resolve::{DAY, YEAR, signal};
use crate::plan::{ProcessPlan, StartedPlan};

/// The keys of every process, modules included.
pub(super) const SHARED: [&str; 16] = [
    "user",
    "working_directory",
    "umask",
    "limits",
    "no_new_privileges",
    "parent_death_signal",
    "signal_scope",
    "stop_signal",
    "stop_timeout",
    "restart",
    "restart_delay",
    "restart_max_delay",
    "restart_reset",
    "restart_limit",
    "watchdog",
    "output",
];

/// The keys of the main process alone, which gets the signals and decides how the run ends.
pub(super) const OF_MAIN: [&str; 7] =
    ["rewrite", "ignore_signals", "stop_on", "third_stop", "drain_delay", "success_codes", "on_startup_failure"];

const KNOWN: [&str; 24] = Keys::joined(&[&SHARED, &OF_MAIN, &["grace_period"]]);

/// The keys of `[process]`; a mode knows them too, but for `grace_period`, which is the orchestrator's.
pub(super) const KEYS: Keys = Keys { known: &KNOWN };

/// The keys of `limits`.
pub(super) const LIMIT_NAMES: Keys = Keys { known: &NAMES };

/// The kernel's numbers of resource limits (`asm-generic/resource.h`), by the names that `prlimit(1)` and Docker's `--ulimit` know.
const LIMITS: [(&str, u32); 16] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("as", 9),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

const NAMES: [&str; LIMITS.len()] = {
    let (mut names, mut index) = ([""; LIMITS.len()], 0);
    while index < LIMITS.len() {
        names[index] = LIMITS[index].0;
        index += 1;
    }
    names
};

/// The name of a resource limit.
pub fn limit_name(resource: u32) -> &'static str {
    LIMITS.iter().find(|(_, number)| *number == resource).map_or("?", |(name, _)| name)
}

/// What all children of a mode share.
#[derive(Clone, Default)]
pub(super) struct Template {
    pub variables: Variables,
    /// Whether a start that failed is held for inspection.
    pub hold: bool,
    /// Whether the lines of a process shall bear its name.
    pub prefix: bool,
    conditions: Conditions,
    home: Option<String>,
    signals: SignalPlan,
    stop_signal: Option<i32>,
    stop_timeout: Option<Duration>,
    drain_delay: Option<Duration>,
    success_codes: BTreeSet<u8>,
    restart: RestartPlan,
    watchdog: Option<Duration>,
}

impl Template {
    /// The defaults, with these variables.
    pub(super) fn new(variables: Variables) -> Self {
        Self { variables, ..Self::default() }
    }

    /// A process of this mode that runs `argv`.
    pub(super) fn process(&self, argv: Argv, started: Option<StartedPlan>) -> ProcessPlan {
        let mut env = self.variables.set.clone();
        // A user's programs look for its files at home; what the operator sets stands above that.
        let home = self.home.as_ref().filter(|_| !env.iter().any(|(name, _)| name == "HOME"));
        env.extend(home.map(|home| ("HOME".to_owned(), Word::plain(home))));
        ProcessPlan {
            env,
            env_remove: self.variables.remove.clone(),
            conditions: self.conditions.clone(),
            started,
            signals: self.signals.clone(),
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout.unwrap_or(ProcessPlan::STOP_TIMEOUT),
            drain_delay: self.drain_delay.unwrap_or_default(),
            success_codes: self.success_codes.clone(),
            restart: self.restart.clone(),
            watchdog: self.watchdog,
            ..ProcessPlan::new(argv)
        }
    }

    /// What a module starts from: who and where it is, and how it is stopped; whether it is started again is its own affair.
    pub(super) fn for_module(&self) -> Self {
        let signals = SignalPlan { group: self.signals.group, ..SignalPlan::default() };
        let restart = RestartPlan { policy: RestartPolicy::OnFailure, limit: 0, ..self.restart.clone() };
        let (drain_delay, success_codes, watchdog, hold) = (None, BTreeSet::new(), None, false);
        Self { hold, signals, drain_delay, success_codes, restart, watchdog, ..self.clone() }
    }

    /// A command of one's own keeps its surroundings and its signals, and nothing that is about a service: it is not started again,
    /// watched, drained, held or labelled, and its exit code is its own.
    pub(super) fn is_own_command(&mut self) {
        self.never_restarts();
        (self.watchdog, self.drain_delay, self.hold, self.prefix) = (None, None, false, false);
        self.success_codes.clear();
        self.variables.remove("PORTCULLIS_EXEC");
    }

    /// One whose end has to be the end is not started again.
    pub(super) fn never_restarts(&mut self) {
        self.restart.policy = RestartPolicy::Never;
    }

    /// Takes what `section` says; an option of the command line, which `general` carries, stays above a mode.
    pub(super) fn read(&mut self, section: &Section<'_>, general: Option<&Section<'_>>) {
        let wins = |key: &str| {
            let above = general.and_then(|general| general.origin(key));
            !above.is_some_and(|origin| matches!(origin, Origin::Flag(_)))
        };
        self.read_conditions(section, wins);
        self.read_signals(section, wins);
        let duration = |key, range| section.duration(key, range).filter(|_| wins(key));
        self.stop_timeout = duration("stop_timeout", Duration::ZERO..=YEAR).or(self.stop_timeout);
        self.drain_delay = duration("drain_delay", Duration::ZERO..=DAY).or(self.drain_delay);
        self.watchdog = duration("watchdog", Duration::from_millis(10)..=DAY).or(self.watchdog);
        if let Some(codes) = success_codes(section).filter(|_| wins("success_codes")) {
            self.success_codes = codes;
        }
        let policies = [("never", RestartPolicy::Never), ("on-failure", RestartPolicy::OnFailure), ("always", RestartPolicy::Always)];
        let restart = &mut self.restart;
        restart.policy = section.word("restart", &policies).unwrap_or(restart.policy);
        restart.delay = duration("restart_delay", Duration::ZERO..=DAY).unwrap_or(restart.delay);
        restart.longest_delay = duration("restart_max_delay", Duration::ZERO..=DAY).unwrap_or(restart.longest_delay);
        restart.healthy_after = duration("restart_reset", Duration::ZERO..=YEAR).unwrap_or(restart.healthy_after);
        let limit = section.integer("restart_limit", 0..=i64::from(u32::MAX)).and_then(|limit| u32::try_from(limit).ok());
        restart.limit = limit.unwrap_or(restart.limit);
        self.prefix = section.word("output", &[("inherit", false), ("prefix", true)]).unwrap_or(self.prefix);
        self.hold = section.word("on_startup_failure", &[("exit", false), ("hold", true)]).unwrap_or(self.hold);
    }

    fn read_conditions(&mut self, section: &Section<'_>, wins: impl Fn(&str) -> bool) {
        if let Some(user) = section.nonempty("user").filter(|_| section.depth() == Depth::Whole) {
            match Accounts::read().find(&user.value()) {
                Ok(account) => {
                    self.conditions.user = Some(account.credentials);
                    self.home = Some(account.home);
                }
                Err(why) => section.problem("user", why),
            }
        }
        let conditions = &mut self.conditions;
        let directory = section.nonempty("working_directory").map(|text| PathBuf::from(text.value()));
        conditions.directory = directory.or_else(|| conditions.directory.take());
        conditions.umask = umask(section).or(conditions.umask);
        for (resource, soft, hard) in limits(section) {
            conditions.limits.retain(|(present, ..)| *present != resource);
            conditions.limits.push((resource, soft, hard));
        }
        conditions.no_new_privileges = section.boolean("no_new_privileges").unwrap_or(conditions.no_new_privileges);
        let death = signal::one(section, "parent_death_signal").filter(|_| wins("parent_death_signal"));
        conditions.parent_death_signal = death.unwrap_or(conditions.parent_death_signal);
    }

    fn read_signals(&mut self, section: &Section<'_>, wins: impl Fn(&str) -> bool) {
        let scope = section.word("signal_scope", &[("child", false), ("group", true)]).filter(|_| wins("signal_scope"));
        self.signals.group = scope.unwrap_or(self.signals.group);
        let rewrite: Option<BTreeMap<i32, i32>> = signal::pairs(section, "rewrite").map(|pairs| pairs.into_iter().collect());
        if let Some(rewrite) = rewrite.filter(|_| wins("rewrite")) {
            self.signals.rewrite = rewrite;
        }
        let set = |key| signal::list(section, key).filter(|_| wins(key)).map(|numbers| numbers.into_iter().collect::<BTreeSet<_>>());
        if let Some(ignore) = set("ignore_signals") {
            self.signals.ignore = ignore;
        }
        self.signals.never_kills = section.word("third_stop", &[("kill", false), ("forward", true)]).unwrap_or(self.signals.never_kills);
        if let Some(stop_on) = set("stop_on") {
            self.signals.stop_on = stop_on;
        }
        self.stop_signal = signal::one(section, "stop_signal").filter(|_| wins("stop_signal")).or(self.stop_signal);
    }
}

fn success_codes(section: &Section<'_>) -> Option<BTreeSet<u8>> {
    let items = section.list("success_codes")?;
    let mut codes = BTreeSet::new();
    for item in items {
        let code = match &item.value {
            Value::Integer(number) => u8::try_from(*number).ok(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match code {
            Some(code) => {
                codes.insert(code);
            }
            None => section.problem("success_codes", "holds something else than exit codes from 0 to 255"),
        }
    }
    Some(codes)
}

/// An octal mask in quotes: TOML has no `0027`, and 27 would be another mask.
fn umask(section: &Section<'_>) -> Option<u32> {
    if matches!(section.node("umask").map(|node| &node.value), Some(Value::Integer(_))) {
        section.problem("umask", "is a number; write it in octal and in quotes, as \"0027\"");
        return None;
    }
    let text = section.text("umask")?;
    let mask = u32::from_str_radix(text.value().trim(), 8).ok().filter(|mask| *mask <= 0o777);
    if mask.is_none() {
        section.problem("umask", format!("is `{}`; an octal mask up to \"0777\" is wanted", text.shown()));
    }
    mask
}

/// `limits = { nofile = 65536, core = "0:unlimited" }`: one value for both the soft and the hard limit, or `soft:hard`.
fn limits(section: &Section<'_>) -> Vec<(u32, u64, u64)> {
    let Some(table) = section.table("limits", Some(LIMIT_NAMES)) else { return Vec::new() };
    let mut limits = Vec::new();
    for (name, resource) in LIMITS {
        let Some(node) = table.node(name) else { continue };
        let text = match &node.value {
            Value::Integer(number) => number.to_string(),
            _ => match table.text(name) {
                Some(text) => text.value(),
                None => continue,
            },
        };
        let (soft, hard) = text.split_once(':').unwrap_or((&text, &text));
        match (amount(soft), amount(hard)) {
            (Some(soft), Some(hard)) if soft <= hard => limits.push((resource, soft, hard)),
            (Some(_), Some(_)) => table.problem(name, format!("is `{text}`, a soft limit above the hard one")),
            _ => table.problem(name, format!("is `{text}`; a number, `unlimited` or `soft:hard` is wanted")),
        }
    }
    limits
}

fn amount(text: &str) -> Option<u64> {
    if text.trim() == "unlimited" { Some(u64::MAX) } else { text.trim().parse().ok() }
}
