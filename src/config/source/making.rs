//! Variables that the configuration sets: values that override those of the process, and how generated values are created.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Environment, Found};

/// Runs the commands whose output becomes a variable.
pub trait CommandRunner: Send + Sync {
    /// The standard output of `argv` within that time, in an environment of these variables.
    ///
    /// # Errors
    /// The reason, as the end of a sentence about the command.
    fn output(&self, argv: &[String], variables: &BTreeMap<OsString, OsString>, within: Duration) -> Result<String, String>;
}

/// A variable that the configuration sets.
#[derive(Clone)]
pub(super) struct Set {
    pub(super) found: Option<Found>,
    /// Whether its value is not known here, because it is not generated.
    pub(super) unknown: bool,
}

impl Environment {
    /// The same with a maker that generates values and runs commands: only `run` has one.
    #[must_use]
    pub fn with_command_runner(self, command_runner: Arc<dyn CommandRunner>) -> Self {
        Self { command_runner: Some(command_runner), ..self }
    }

    /// The same for a reload, and for another portcullis that asks about a run: existing values are kept, and nothing new is generated or run.
    #[must_use]
    pub fn recalling(self) -> Self {
        Self { command_runner: None, recalling: true, ..self }
    }

    /// Whether the start ran the commands whose results are needed.
    pub const fn is_recalling(&self) -> bool {
        self.recalling
    }

    /// The value that was generated under this name before, else the result of `make`; none if nothing may be generated.
    pub fn made(&self, name: &str, make: impl FnOnce(&dyn CommandRunner) -> Result<String, String>) -> Option<Result<String, String>> {
        let known = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known().get(name) {
            return Some(Ok(value.clone()));
        }
        let value = make(self.command_runner.as_deref()?);
        if let Ok(value) = &value {
            known().insert(name.to_owned(), value.clone());
        }
        Some(value)
    }

    /// The item or instance that is being read, as a part of the name of a value that differs in each of them.
    pub fn part(&self) -> String {
        let item = self.each.as_ref().map(|each| &each.value);
        format!("{:?} {item:?} {:?}", self.item_number, self.instance)
    }

    /// Records the signal that arrived during a condition's command, which ends the start.
    pub fn note_stop(&self, number: i32) {
        self.stopped.store(number, Ordering::Release);
    }

    /// That signal, if any.
    pub fn stopped_by(&self) -> Option<i32> {
        Some(self.stopped.load(Ordering::Acquire)).filter(|number| *number > 0)
    }

    /// Sets `name` for everything that is read after this; `secret` if no part of the value may be shown.
    pub fn set(&mut self, name: &str, value: &str, secret: bool) {
        self.put(name, Some(Found { value: value.to_owned(), secret }), false);
    }

    /// Sets `name` to a value that is not known here, with `value` as its placeholder.
    pub fn set_unknown(&mut self, name: &str, value: &str) {
        self.put(name, Some(Found { value: value.to_owned(), secret: false }), true);
    }

    /// Removes `name` for everything that is read after this.
    pub fn unset(&mut self, name: &str) {
        self.put(name, None, false);
    }

    fn put(&mut self, name: &str, found: Option<Found>, unknown: bool) {
        let variables = Arc::make_mut(&mut self.variables);
        match &found {
            Some(found) => variables.insert(name.into(), found.value.as_str().into()),
            None => variables.remove(OsStr::new(name)),
        };
        Arc::make_mut(&mut self.set).insert(name.to_owned(), Set { found, unknown });
    }

    /// Whether the configuration sets or removes `name`.
    pub fn sets(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// Whether the value of `name` is not known here.
    pub fn is_unknown(&self, name: &str) -> bool {
        self.set.get(name).is_some_and(|set| set.unknown)
    }
}
