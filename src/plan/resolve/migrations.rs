//! `[migrations]`: the command that runs once for all replicas, and its lock.

mod lock;

use crate::config::migration::{Migrations, OnLockLost};
use crate::config::node::{Node, Value};
use crate::config::origin::Origin;
use crate::config::reader::{Context, Depth, Section, truth};
use crate::config::values::{Gate, Switch};
use crate::plan::argv::{Argv, Word};
use crate::plan::resolve::argv::command;
use crate::plan::resolve::around::is_for_mode;
use crate::plan::resolve::condition;
use crate::plan::resolve::process::Template;
use crate::plan::{CheckPlan, ConditionPlan, LockPlan, MigrationPlan, SchemaCheck};
pub(super) use lock::Locks;

/// Whether migrations are enabled; a section without `enabled` counts as enabled.
///
/// The preset `dify` accepts what the replaced script accepts: exactly `true`. Other values that seem to mean yes cause a warning.
pub(super) fn enabled(root: &Section<'_>) -> bool {
    let Some(mut section) = root.table_at("migrations", root.depth()) else { return false };
    let Some(node) = section.node("enabled") else { return true };
    if !matches!(&node.origin, Origin::Preset { name, .. } if name.split('@').next() == Some("dify")) {
        return section.part::<Gate>().enabled == Some(Switch::On);
    }
    let value = section.text("enabled").map(|text| text.value()).unwrap_or_default();
    if value != "true" && truth(&value) != Some(false) {
        section.context().notice(format!(
            "MIGRATION_ENABLED is `{value}`, so no migration runs: the preset `dify` accepts only `true`, as Dify's own script does"
        ));
    }
    value == "true"
}

/// The migration; none if it is not `wanted` (its form is still checked) or if it has errors.
pub(super) fn read(
    root: &Section<'_>,
    wanted: bool,
    waits: bool,
    bare: bool,
    checks: &[CheckPlan],
    (mode, template): (Option<&str>, &Template),
) -> Option<MigrationPlan> {
    let form = root.table_at("migrations", Depth::Syntax)?;
    let now = if wanted { root.depth() } else { Depth::Syntax };
    let run = |argv| template.aside(argv);
    let condition = condition::deferred(root.context(), form.node("when"), "migrations", now, &run);
    let holds = condition.constant() != Some(false);
    let wanted = wanted && holds && root.table_at("migrations", now).is_some_and(|section| is_for_mode(&section, root, mode));
    let depth = if wanted { Depth::Whole } else { Depth::Syntax };
    let mut variables = template.variables.clone();
    let environment = variables.set_all(root.table_at("migrations", depth)?.table("env"));
    let context = root.context().of_part(environment.as_ref().unwrap_or(root.context().environment));
    let node = root.node("migrations")?;
    let reading = Reading { context: &context, depth, wanted, waits, bare, checks };
    let plan = reading.read(node, &template.with(variables));
    root.context().absorb(context);
    plan.map(|plan| MigrationPlan { condition, ..plan })
}

/// The migration that is being read, in its environment.
struct Reading<'c> {
    context: &'c Context<'c>,
    depth: Depth,
    wanted: bool,
    waits: bool,
    bare: bool,
    checks: &'c [CheckPlan],
}

impl Reading<'_> {
    fn read(&self, node: &Node, template: &Template) -> Option<MigrationPlan> {
        let Self { depth, wanted, waits, bare, checks, .. } = *self;
        let mut section = self.context.open(node, "migrations", depth)?;
        let declared: Migrations = section.declared();
        section.note(&declared);
        let Migrations { own: declared, around } = declared;
        let template = &template.around(&mut section, &around);
        let command = command(&section, "command", depth);
        if wanted && !section.has("command") && !waits {
            section.problem(
                "command",
                "is missing: migrations are enabled; name the command that migrates, for example `[\"flask\", \"db\", \"upgrade\"]`",
            );
        }
        let [check, verify] = ["check", "verify"].map(|key| question(&section, key, depth, template));
        if !wanted {
            return None;
        }
        let by_command = |question: &Option<SchemaCheck>| !matches!(question, Some(SchemaCheck::Sql(_)));
        if waits && !section.has("check") {
            section.problem("check", "is missing: a mode with `migrate = \"wait\"` runs it until another replica has migrated");
        }
        let locks = Locks { section: &section, declared: &declared, checks };
        let second = locks.second().filter(|_| !bare && !waits);
        let lock = if bare || (waits && by_command(&check)) { LockPlan::None } else { locks.lock()? };
        if !matches!(lock, LockPlan::Postgres { .. } | LockPlan::Table { .. } | LockPlan::Mysql { .. }) {
            for (key, _) in [("check", &check), ("verify", &verify)].into_iter().filter(|(_, question)| !by_command(question)) {
                section.problem(key, "is a statement, but the lock is not in a database that could run it; write a command, as a list");
            }
        }
        let argv = if waits { command.or_else(|| Argv::new(vec![Word::plain("true")])) } else { command };
        let mut process = template.process(argv?, None)?;
        // Without its portcullis its lock is lost.
        process.command.attributes.parent_death_signal = libc::SIGKILL;
        Some(MigrationPlan {
            condition: ConditionPlan::Always,
            process,
            waits,
            check,
            verify,
            lock,
            second,
            lock_timeout: declared.lock_timeout.0,
            timeout: declared.timeout.0,
            unlocked: declared.on_lock_lost == OnLockLost::Continue,
            orphans: declared.orphans,
            retries: declared.retries.to().unwrap_or_default(),
        })
    }
}

/// A text is a statement, a list is a command.
fn question(section: &Section<'_>, key: &str, depth: Depth, template: &Template) -> Option<SchemaCheck> {
    let node = section.node(key)?;
    match &node.value {
        Value::String(text) if !(node.origin.verbatim() && text.trim_start().starts_with('[')) => {
            section.text(key).filter(|text| !text.is_empty()).map(|text| SchemaCheck::Sql(text.value()))
        }
        _ => {
            let mut process = template.process(command(section, key, depth)?, None)?;
            process.command.attributes.parent_death_signal = libc::SIGKILL;
            Some(SchemaCheck::Command(Box::new(process)))
        }
    }
}
