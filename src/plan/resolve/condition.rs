//! `when`: the tests of variables, arguments, files and users; evaluated at once, or as far as possible.

mod named;

use crate::config::accounts::Accounts;
use crate::config::condition::{Comparison, Property, Subject, Test};
use crate::config::interpolate::{Text, looks_secret};
use crate::config::node::{Node, Value};
use crate::config::problem::{Problem, suggest};
use crate::config::reader::{Context, Depth, NamedCondition, Section, keys_of, truth};
use crate::config::values::Position;
use crate::plan::CommandPlan;
use crate::plan::argv::{Argv, Word};
use crate::plan::condition::{ConditionPlan, PathProperty, PathTest};
pub(super) use named::{evaluate_all, name_all};

/// Whether the test at `node`, or one test of a list, holds now; true without a test, and at [`Depth::Syntax`], which only checks the form.
/// Commands are not allowed: they are a problem.
pub(super) fn holds<'c>(context: &'c Context<'c>, node: Option<&Node>, path: &str, depth: Depth) -> bool {
    let found = node.map(|node| Reader { context, depth, commands: Commands::Refused }.read(node, &format!("{path}.when")));
    found.is_none_or(|found| found.plan.holds(&mut |_| false))
}

/// The same with a description of the test; none if it has errors.
pub(super) fn evaluated<'c>(context: &'c Context<'c>, node: &Node, path: &str) -> Option<(bool, String)> {
    let before = context.faults_so_far();
    let found = Reader { context, depth: Depth::Whole, commands: Commands::Refused }.read(node, &format!("{path}.when"));
    (context.faults_so_far() == before).then(|| (found.plan.holds(&mut |_| false), found.words))
}

/// The same for later parts of a start: files and commands are tested right before that part runs. `run` builds the commands.
pub(super) fn deferred<'c>(context: &'c Context<'c>, node: Option<&Node>, path: &str, depth: Depth, run: Run<'_>) -> ConditionPlan {
    let reader = Reader { context, depth, commands: Commands::Later(run) };
    node.map_or(ConditionPlan::Always, |node| reader.read(node, &format!("{path}.when")).plan)
}

/// A parsed condition.
struct Found {
    plan: ConditionPlan,
    /// Its description, as a part of a sentence.
    words: String,
}

impl Found {
    /// The result if only the form is checked, or if it has errors.
    fn nothing() -> Self {
        Self { plan: ConditionPlan::Always, words: String::new() }
    }

    fn decided(holds: bool, words: impl Into<String>) -> Self {
        Self { plan: ConditionPlan::of(holds), words: words.into() }
    }
}

/// Makes a condition's command of its words; none if it has errors.
type Run<'t> = &'t dyn Fn(Argv) -> Option<CommandPlan>;

/// How commands are handled.
#[derive(Clone, Copy)]
enum Commands<'t> {
    /// They are not allowed here.
    Refused,
    /// They run at once, as the user of portcullis.
    Run,
    /// They run later, in this way.
    Later(Run<'t>),
}

/// The place of a condition.
struct Reader<'c, 't> {
    context: &'c Context<'c>,
    depth: Depth,
    commands: Commands<'t>,
}

impl<'c> Reader<'c, '_> {
    /// The condition at `node`, in the section `path`.
    fn read(&self, node: &Node, path: &str) -> Found {
        if let Value::List(tests) = &node.value {
            return self.several(tests, node, path, false);
        }
        let Some(mut section) = self.context.open(node, path, self.depth) else { return Found::nothing() };
        let keys = section.entries().count();
        let test: Test = section.declared();
        // The missing key may be a misspelt one, which was reported.
        let is_complete = section.entries().count() == keys;
        if section.is_empty_list("one_of") {
            section.problem("one_of", "lists no text");
        }
        let subject = self.only_subject(&section, node, is_complete);
        let found = subject.map_or_else(Found::nothing, |subject| self.test(subject, &test, &mut section, node));
        if self.depth == Depth::Syntax { Found::nothing() } else { found }
    }

    /// The single subject of a test, with a comparison that fits it.
    fn only_subject(&self, section: &Section<'_>, node: &Node, is_complete: bool) -> Option<&'static str> {
        let subjects = section.written::<Subject>();
        let mut compared = section.written::<Comparison>();
        compared.extend(section.written::<Property>());
        let alone = subjects.iter().copied().find(|key| !["var", "argument", "file", "directory"].contains(key));
        let [subject] = *subjects.as_slice() else {
            match alone.or(subjects.get(1).copied()) {
                Some(key) => section.problem(key, "stands beside another test; keep one of them, or list them in `all`"),
                None if is_complete => section.problem("var", "is missing: it is the name of the variable"),
                None => {}
            }
            return None;
        };
        if alone.is_some() {
            if !compared.is_empty() {
                section.problem(subject, "stands beside another test; keep one of them, or list them in `all`");
            }
            return Some(subject).filter(|_| compared.is_empty());
        }
        let mut known = keys_of::<Comparison>().to_vec();
        if ["file", "directory"].contains(&subject) {
            known = keys_of::<Property>().to_vec();
            known.retain(|key| subject == "file" || *key != "executable");
            known.push("contains");
        }
        let fits = |key: &&str| known.contains(key);
        if compared.len() > 1 || !compared.iter().all(fits) || (is_complete && compared.is_empty()) {
            let known = known.join("`, `");
            let text = format!("[{}] needs exactly one of `{known}` beside `{subject}`", section.path());
            self.context.problem(Problem::at(&node.origin, text));
            return None;
        }
        (compared.len() == 1).then_some(subject)
    }

    fn test(&self, subject: &str, test: &Test, section: &mut Section<'c>, node: &Node) -> Found {
        let (Test { subject: keys, comparison, .. }, is_whole) = (test, self.depth == Depth::Whole);
        let path = section.path().to_owned();
        match subject {
            "var" => match keys.var.0.as_ref().filter(|_| is_whole).map(Text::value) {
                Some(name) => match self.context.environment.lookup(&name) {
                    Ok(found) => self.compared(comparison, &name, found.map(|found| found.value).as_deref()),
                    // A script that tests a variable reads no file: an error is reported where the value is needed.
                    Err(why) => {
                        self.context.notice(format!("{why}; where {name} is tested it is what the variable itself is"));
                        self.compared(comparison, &name, self.context.environment.get(&name))
                    }
                },
                None => Found::nothing(),
            },
            "argument" => match keys.argument {
                Some(Position::Any) => {
                    let holds = self.context.environment.arguments().iter().any(|argument| comparison.holds(Some(argument)));
                    Found::decided(holds, format!("an argument {}", comparison.words()))
                }
                Some(Position::Numbered(0)) => {
                    section.problem("argument", "is 0; the first argument is 1, the last is -1");
                    Found::nothing()
                }
                Some(Position::Numbered(number)) => {
                    let name = if number == -1 { "the last argument".to_owned() } else { format!("argument {number}") };
                    self.compared(comparison, &name, self.context.environment.argument(number))
                }
                None => Found::nothing(),
            },
            "file" => self.path(keys.file.0.as_ref(), false, test),
            "directory" => self.path(keys.directory.0.as_ref(), true, test),
            "args" => keys.args.map_or_else(Found::nothing, |wanted| {
                let words = if wanted { "there are arguments" } else { "there are no arguments" };
                Found::decided(self.context.environment.arguments().is_empty() != wanted, words)
            }),
            "root" => keys.root.map_or_else(Found::nothing, |wanted| {
                let words = if wanted { "portcullis runs as root" } else { "portcullis does not run as root" };
                Found::decided(nix::unistd::geteuid().is_root() == wanted, words)
            }),
            "user" => self.user(keys.user.0.as_ref(), section),
            "command" => self.command(&keys.command, section),
            "condition" => keys.condition.0.as_ref().map_or_else(Found::nothing, |name| self.named(&name.value(), section)),
            "not" => section.node("not").cloned().map_or_else(Found::nothing, |inner| {
                let Found { plan, words } = self.read(&inner, &format!("{path}.not"));
                Found { plan: plan.negated(), words: format!("not ({words})") }
            }),
            key => section.list(key).map_or_else(Found::nothing, |tests| self.several(&tests, node, &path, key == "all")),
        }
    }

    /// All of them are read before they are combined, so that every error is reported.
    fn several(&self, tests: &[Node], node: &Node, path: &str, all: bool) -> Found {
        if tests.is_empty() {
            self.context.problem(Problem::at(&node.origin, format!("[{path}] lists no test")));
        }
        let found = tests.iter().map(|test| self.read(test, path));
        let (plans, words): (Vec<_>, Vec<_>) = found.map(|found| (found.plan, found.words)).unzip();
        let plan = if all { ConditionPlan::all(plans) } else { ConditionPlan::any(plans) };
        Found { plan, words: words.join(if all { " and " } else { " or " }) }
    }

    fn compared(&self, comparison: &Comparison, name: &str, value: Option<&str>) -> Found {
        let unsure = value.filter(|value| self.depth == Depth::Whole && comparison.truthy.is_some() && truth(value).is_none());
        if let Some(value) = unsure {
            let shown = if looks_secret(name, value) { String::new() } else { format!(" is `{value}`, which") };
            self.context.notice(format!("{name}{shown} is neither `true` nor `false`; it counts as not true"));
        }
        let number = value.filter(|value| self.depth == Depth::Whole && !value.is_empty() && comparison.wants_number(value));
        if number.is_some() {
            self.context.notice(format!("{name} is compared with a number and is none, so the comparison does not hold"));
        }
        Found::decided(comparison.holds(value), format!("{name} {}", comparison.words()))
    }

    fn path(&self, path: Option<&Text>, directory: bool, test: &Test) -> Found {
        let (Some(path), Test { property, comparison, .. }) = (path, test) else { return Found::nothing() };
        let tested = [
            (PathProperty::Exists, property.exists),
            (PathProperty::Empty, property.empty),
            (PathProperty::Executable, property.executable),
            (PathProperty::Readable, property.readable),
            (PathProperty::Writable, property.writable),
        ];
        let tested = tested.into_iter().find_map(|(property, wanted)| Some((property, wanted?)));
        let contains = || Some((PathProperty::Contains(comparison.contains.as_ref()?.value()), true));
        let Some((property, wanted)) = tested.or_else(contains) else { return Found::nothing() };
        let place = self.context.environment.place(path.value());
        let place = std::path::absolute(&place).unwrap_or(place);
        let plan = ConditionPlan::Path(PathTest { path: place, directory, property });
        let plan = if wanted { plan } else { plan.negated() };
        Found { words: plan.to_string(), plan }
    }

    fn user(&self, user: Option<&Text>, section: &Section<'_>) -> Found {
        let Some(user) = user.filter(|_| self.depth == Depth::Whole).map(Text::value) else { return Found::nothing() };
        match Accounts::read().find(&user) {
            Ok(account) => {
                let is = nix::unistd::geteuid().as_raw() == account.credentials.uid;
                Found::decided(is, format!("portcullis runs as {user}"))
            }
            // A number can be compared without an account.
            Err(_) if user.parse::<u32>().is_ok() => {
                Found::decided(user.parse() == Ok(nix::unistd::geteuid().as_raw()), format!("portcullis runs as {user}"))
            }
            Err(why) => {
                section.problem("user", why);
                Found::nothing()
            }
        }
    }

    fn named(&self, name: &str, section: &Section<'_>) -> Found {
        let holds = match self.context.condition(name) {
            Some(NamedCondition::Written(_)) if self.depth == Depth::Syntax => return Found::nothing(),
            Some(NamedCondition::Written(node)) => named::decide(self.context, name, &node),
            Some(NamedCondition::Evaluating) => {
                section.problem("condition", format!("refers to `{name}`, which itself depends on this condition"));
                return Found::nothing();
            }
            None => {
                let known = self.context.condition_names();
                let near = suggest(name, known.iter().map(String::as_str));
                section.problem("condition", format!("refers to `{name}`, which does not exist in [conditions]{near}"));
                return Found::nothing();
            }
        };
        Found::decided(holds, format!("the condition {name} {}", if holds { "holds" } else { "does not hold" }))
    }

    fn command(&self, command: &[Text], section: &Section<'_>) -> Found {
        if matches!(self.commands, Commands::Refused) {
            section.problem(
                "command",
                "is possible only in [conditions], [[files]] and [[steps]]; define it in [conditions] and use `condition` here",
            );
            return Found::nothing();
        }
        let argv = Argv::new(command.iter().map(Word::of).collect()).filter(|argv| !argv.program().is_empty());
        let Some(argv) = argv else {
            if self.depth == Depth::Whole || section.is_empty_list("command") {
                section.problem("command", "contains no program");
            }
            return Found::nothing();
        };
        let command = match self.commands {
            Commands::Later(run) => run(argv),
            _ => Some(CommandPlan::new(argv)),
        };
        let Some(command) = command else { return Found::nothing() };
        let plan = ConditionPlan::Command(Box::new(command));
        Found { words: plan.to_string(), plan }
    }
}

#[cfg(test)]
mod tests;
