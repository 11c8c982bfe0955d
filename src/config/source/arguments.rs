//! The input of a start besides its variables: arguments, and the results of named conditions.

use std::sync::{Arc, PoisonError};

use super::Environment;

impl Environment {
    /// The same with these arguments.
    #[must_use]
    pub fn with_arguments(&self, arguments: Vec<String>) -> Self {
        Self { arguments, ..self.clone() }
    }

    /// The same with these variables, which override all others.
    #[must_use]
    pub fn with_variables(&self, variables: &[(String, String)]) -> Self {
        let mut all = self.clone();
        if !variables.is_empty() {
            Arc::make_mut(&mut all.variables).extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
        }
        all
    }

    /// The arguments after the options of portcullis that no rule or option has used.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The argument of this number: from 1, or from -1 for the last; none if it does not exist.
    pub fn argument(&self, number: i64) -> Option<&str> {
        let index = if number < 0 { i64::try_from(self.arguments.len()).ok()? + number } else { number - 1 };
        self.arguments.get(usize::try_from(index).ok()?).map(String::as_str)
    }

    /// The result of the condition of this name in this start; none if it was not evaluated yet.
    pub fn answer(&self, condition: &str) -> Option<bool> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(condition).copied()
    }

    /// Records the result.
    pub fn note_answer(&self, condition: &str, holds: bool) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(condition.to_owned(), holds);
    }
}
