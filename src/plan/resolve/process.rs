//! How a process is started, signalled, stopped and restarted, from `[process]`, a mode or a module.

use serde::Deserialize;

use crate::config::accounts::{Accounts, UserAccount};
use crate::config::interpolate::Text;
use crate::config::node::merge;
use crate::config::node::{Node, Table, Value};
use crate::config::origin::Origin;
use crate::config::process::{
    DropUser, MainKeys, OnStartupFailure, Output, ProcessKeys, ProcessSection, RestartPolicy, SignalScope, ThirdStop,
};
use crate::config::reader::{Depth, Section};
use crate::config::step::Around;
use crate::config::values::Maybe;
use crate::config::values::signal::SignalNumber;
use crate::plan::argv::{Argv, Word};
use crate::plan::command::{CommandPlan, ProcessAttributes};
use crate::plan::process::{RestartPlan, SignalPlan};
use crate::plan::resolve::variables::VariableChanges;
use crate::plan::{ProcessPlan, StartedPlan};
use crate::sys::start::Credentials;

/// The settings of every process, before those of a mode or a module.
#[derive(Clone)]
pub(super) struct General<'c> {
    /// `[process]`; none without one.
    pub section: Option<Section<'c>>,
    /// `[env]`.
    pub variables: VariableChanges,
    /// Whether the start of every module counts by default.
    pub with_all_modules: bool,
}

/// The key that sets whether the start of a module counts by default.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Counting {
    with_all_modules: bool,
}

impl<'c> General<'c> {
    /// `[process]` and `[env]`, and the default settings of a process.
    pub(super) fn read(root: &Section<'c>, variables: VariableChanges) -> (Self, Template, ProcessSection) {
        let mut section = root.table("process");
        let process: ProcessSection = section.as_mut().map(Section::declared).unwrap_or_default();
        let mut template = Template::of(section.as_mut(), process.shared.clone(), process.main.clone(), variables.clone());
        template.after = section.as_ref().map(Predecessors::read).unwrap_or_default();
        let with_all_modules = root.table("health").is_some_and(|mut section| section.part::<Counting>().with_all_modules);
        (Self { section, variables, with_all_modules }, template, process)
    }

    /// The keys of a mode or a module merged over these `keys` of `[process]`. The table `limits` is merged, `rewrite` is replaced; an option of the
    /// command line still overrides a mode.
    pub(super) fn below(&self, written: &Node, keys: &[&str], options_stay: bool) -> Node {
        let (Some(general), Value::Table(own)) = (&self.section, &written.value) else { return written.clone() };
        let (mut table, mut own) = (Table::default(), own.clone());
        for entry in general.entries().filter(|entry| keys.contains(&entry.key.as_str())) {
            if options_stay && matches!(entry.node.origin, Origin::Flag(_)) {
                own.retain(|own| own.key != entry.key);
            }
            if entry.key != "rewrite" || own.get("rewrite").is_none() {
                table.insert(entry.clone());
            }
        }
        merge(&mut table, own);
        Node { value: Value::Table(table), origin: written.origin.clone() }
    }
}

/// The names in `after`, each with where it was written.
#[derive(Clone, Default)]
pub(super) struct Predecessors {
    /// `after` and its section, for messages.
    pub what: String,
    /// The names.
    pub names: Vec<(String, Node)>,
}

impl Predecessors {
    /// The names in `after` of this section.
    pub(super) fn read(section: &Section<'_>) -> Self {
        let what = section.what("after");
        let text = |node: Node| Some((section.context().text(&node, &what, section.depth())?.value(), node));
        Self { names: section.list("after").unwrap_or_default().into_iter().filter_map(text).collect(), what }
    }
}

/// The user of a process.
#[derive(Clone)]
enum User {
    /// That of portcullis.
    Own,
    /// This one.
    Other(UserAccount),
    /// A wrong one, which was reported: no process is made, because it would run as root.
    Refused,
}

impl User {
    /// The account of the `user` of `section`; an unknown one is reported there.
    fn find(section: &mut Section<'_>, user: &str) -> Self {
        Accounts::read().find(user).map_err(|why| section.refuse("user", why)).map_or(Self::Refused, Self::Other)
    }

    const fn account(&self) -> Option<&UserAccount> {
        if let Self::Other(account) = self { Some(account) } else { None }
    }
}

/// The settings that all children of a mode, or of a module, share.
#[derive(Clone)]
pub(super) struct Template {
    pub variables: VariableChanges,
    /// The modules in the `after` of the main process.
    pub after: Predecessors,
    user: User,
    keys: ProcessKeys,
    main: MainKeys,
}

impl Template {
    /// The values of the keys of `section`; an unknown user is reported there.
    pub(super) fn of(section: Option<&mut Section<'_>>, keys: ProcessKeys, main: MainKeys, variables: VariableChanges) -> Self {
        let applies = keys.drop == DropUser::Always || nix::unistd::geteuid().is_root();
        let user = match (section, keys.user.0.as_ref()) {
            (Some(section), _) if section.is_broken("user") => User::Refused,
            (Some(section), Some(user)) if applies && section.depth() == Depth::Whole => User::find(section, &user.value()),
            _ => User::Own,
        };
        Self { variables, after: Predecessors::default(), user, keys, main }
    }

    /// The same for a one-off command in `section`; its variables are read first, because it sees them.
    pub(super) fn around(&self, section: &mut Section<'_>, around: &Around) -> Self {
        let keys = ProcessKeys {
            user: if around.user.0.is_some() { around.user.clone() } else { self.keys.user.clone() },
            working_directory: if around.working_directory.0.is_some() {
                around.working_directory.clone()
            } else {
                self.keys.working_directory.clone()
            },
            umask: around.umask.or(self.keys.umask),
            watchdog: None,
            restart: None,
            ..self.keys.clone()
        };
        if around.user.0.is_some() || section.is_broken("user") {
            Self::of(Some(section), keys, self.main.clone(), self.variables.clone())
        } else {
            Self { keys, ..self.clone() }
        }
    }

    /// The same with these variables.
    pub(super) fn with(&self, variables: VariableChanges) -> Self {
        Self { variables, ..self.clone() }
    }

    /// The user of the process, if it is not that of portcullis.
    pub(super) fn user(&self) -> Option<&Credentials> {
        self.user.account().map(|account| &account.credentials)
    }

    /// A command of this mode beside its process; none if its user was refused.
    pub(super) fn aside(&self, argv: Argv) -> Option<CommandPlan> {
        self.command(argv).map(CommandPlan::aside)
    }

    fn command(&self, argv: Argv) -> Option<CommandPlan> {
        let Self { variables, user, keys, .. } = self;
        if matches!(user, User::Refused) {
            return None;
        }
        let account = user.account();
        let mut env = variables.set.clone();
        // Programs look for a user's files in its home directory; a `HOME` of the operator overrides this.
        let home = account.filter(|_| !env.iter().any(|(name, _)| name == "HOME"));
        env.extend(home.map(|account| ("HOME".to_owned(), Word::plain(&account.home))));
        Some(CommandPlan {
            argv,
            env,
            env_remove: variables.remove.clone(),
            attributes: ProcessAttributes {
                user: account.map(|account| account.credentials.clone()),
                directory: keys.working_directory.0.as_ref().map(|text| text.value().into()),
                umask: keys.umask.map(|mask| mask.0),
                limits: keys.limits.written().map(|(resource, limit)| (resource, limit.soft, limit.hard)).collect(),
                no_new_privileges: keys.no_new_privileges,
                parent_death_signal: keys.parent_death_signal.map_or(0, |signal| signal.0),
                input: None,
                aside: false,
            },
        })
    }

    /// A process of this mode that runs `argv`; none if its user was refused.
    pub(super) fn process(&self, argv: Argv, started: Option<StartedPlan>) -> Option<ProcessPlan> {
        let Self { keys, main, .. } = self;
        let numbers = |signals: &[SignalNumber]| signals.iter().map(|signal| signal.0).collect();
        Some(ProcessPlan {
            started,
            signals: SignalPlan {
                group: keys.signal_scope == SignalScope::Group,
                rewrite: main.rewrite.0.iter().map(|(from, to)| (from.0, to.0)).collect(),
                ignore: numbers(&main.ignore_signals),
                stop_on: numbers(&main.stop_on),
                never_kills: main.third_stop == ThirdStop::Forward,
            },
            stop_signal: keys.stop_signal.map(|signal| signal.0),
            stop_timeout: keys.stop_timeout.0,
            drain_delay: main.drain_delay.0,
            success_codes: main.success_codes.iter().filter_map(|code| code.to()).collect(),
            restart: RestartPlan::of(keys),
            watchdog: keys.watchdog.map(|longest| longest.0),
            ..ProcessPlan::of(self.command(argv)?)
        })
    }

    /// Uses `user` of `section` instead of its own, if set.
    pub(super) fn run_as(&mut self, section: &mut Section<'_>, user: &Maybe<Text>) {
        if section.is_broken("user") {
            self.user = User::Refused;
        } else if let Some(user) = user.value() {
            self.user = User::find(section, &user);
        }
    }

    /// Whether a failed start is held for inspection.
    pub(super) fn holds(&self) -> bool {
        self.main.on_startup_failure == OnStartupFailure::Hold
    }

    /// Whether the lines of a process get its name as a prefix.
    pub(super) fn is_labelled(&self) -> bool {
        self.keys.output == Output::Prefix
    }

    /// An ad-hoc command keeps its environment and its signals, but no service settings: no restart, watchdog, drain, hold or prefix, and its exit
    /// code is not changed.
    pub(super) fn is_own_command(&mut self) {
        let rest = MainKeys::default();
        (self.keys.restart, self.keys.watchdog, self.keys.output) = (Some(RestartPolicy::Never), None, Output::Inherit);
        self.main.success_codes.clear();
        self.after = Predecessors::default();
        (self.main.drain_delay, self.main.on_startup_failure) = (rest.drain_delay, rest.on_startup_failure);
        self.variables.remove("PORTCULLIS_EXEC");
    }
}
