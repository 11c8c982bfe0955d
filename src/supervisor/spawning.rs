//! Starts the processes of the plan: command, notification channels, and variables of the lock.

use tracing::debug;

use super::Supervisor;
use crate::plan::argv::Word;
use crate::plan::{MigrationPlan, ProcessPlan, SchemaCheck};
use crate::process::notify::Reports;
use crate::process::spawn::SpawnError;
use crate::state::event::{Event, ProcessId, SchemaQuestion};

impl Supervisor {
    pub(super) fn spawn(&mut self, id: ProcessId, purpose: Option<SchemaQuestion>) {
        let plan = match (id, purpose) {
            (ProcessId::Main, _) => self.lifecycle.plan().main.clone(),
            (ProcessId::Module(module), _) => self.lifecycle.plan().module(module).map(|module| module.process.clone()),
            (ProcessId::Step(_), _) => {
                let command = self.lifecycle.step_command();
                if self.lifecycle.step_is_locked() { command.map(|plan| self.named_after_lock(plan)) } else { command.cloned() }
            }
            (ProcessId::Migration, purpose) => self.lifecycle.plan().migration.as_ref().and_then(|migration| self.task(migration, purpose)),
        };
        let Some(plan) = &plan else { return };
        debug!("starting {}", plan.command.argv);
        let news = match self.start(id, plan) {
            Ok(_) => Event::Forked(id),
            Err(error) => Event::SpawnFailed(id, error.code, error.sentence),
        };
        // These events are applied next: a queued TERM must find the process, and the failure of a module the main process.
        let place = if matches!(id, ProcessId::Module(_)) { self.news } else { 0 };
        self.queue.insert(place, news);
        self.news += 1;
    }

    /// Starts it with new notification channels.
    fn start(&mut self, id: ProcessId, plan: &ProcessPlan) -> Result<i32, SpawnError> {
        self.reports.remove(&id);
        let mut reports = Reports::open(plan).map_err(|errno| SpawnError::no_reports(&plan.command, &errno.into()))?;
        let pid = self.children.start(id, plan, reports.ways())?;
        reports.handed_over();
        if reports.is_open() {
            self.reports.insert(id, reports);
        }
        Ok(pid)
    }

    /// A command of the migration. Commands under the lock have the lock's name in the database; a check does not, because it may run while
    /// another replica holds the lock, and must not be mistaken for a leftover.
    fn task(&self, migration: &MigrationPlan, purpose: Option<SchemaQuestion>) -> Option<ProcessPlan> {
        let question = match purpose {
            None => return Some(self.named_after_lock(&migration.process)),
            Some(SchemaQuestion::Check) => &migration.check,
            Some(SchemaQuestion::Verify) => &migration.verify,
        };
        match question {
            Some(SchemaCheck::Command(command)) if purpose == Some(SchemaQuestion::Verify) => Some(self.named_after_lock(command)),
            Some(SchemaCheck::Command(command)) => Some(command.as_ref().clone()),
            Some(SchemaCheck::Sql(_)) | None => None,
        }
    }

    fn named_after_lock(&self, plan: &ProcessPlan) -> ProcessPlan {
        let mut plan = plan.clone();
        let env = &mut plan.command.env;
        for (name, value) in &self.lock_environment {
            let own = env.iter().rev().find(|(known, _)| known == name).map(|(_, word)| word.value().to_owned());
            let before = own.or_else(|| self.children.inherited(name)).filter(|_| name == "PGOPTIONS");
            let value = before.map_or_else(|| value.clone(), |before| format!("{before} {value}"));
            env.retain(|(known, _)| known != name);
            env.push((name.clone(), Word::plain(value)));
        }
        plan
    }
}
