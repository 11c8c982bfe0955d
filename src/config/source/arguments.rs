//! What a start was given beside its variables: arguments, and the answers of conditions that are asked once.

use std::sync::PoisonError;

use super::Environment;

impl Environment {
    /// The same with these arguments.
    #[must_use]
    pub fn with_arguments(&self, arguments: Vec<String>) -> Self {
        Self { arguments, ..self.clone() }
    }

    /// The same with these variables above all others.
    #[must_use]
    pub fn with_variables(&self, variables: &[(String, String)]) -> Self {
        let mut all = self.clone();
        all.variables.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
        all
    }

    /// What follows the options of portcullis, as far as nothing has taken it.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The argument of this number: from 1, or from the last one by -1; none where there is none.
    pub fn argument(&self, number: i64) -> Option<&str> {
        let index = if number < 0 { i64::try_from(self.arguments.len()).ok()? + number } else { number - 1 };
        self.arguments.get(usize::try_from(index).ok()?).map(String::as_str)
    }

    /// What the condition of this name came to in this start; none where it was not asked yet.
    pub fn answer(&self, condition: &str) -> Option<bool> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(condition).copied()
    }

    /// Notes what it came to.
    pub fn note_answer(&self, condition: &str, holds: bool) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(condition.to_owned(), holds);
    }
}
