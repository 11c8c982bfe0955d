//! The conditions of `[conditions]`: each is evaluated when it is first needed.

use super::Context;
use crate::config::node::Node;

/// A condition with a name.
#[derive(Clone)]
pub enum NamedCondition {
    /// It is written here.
    Written(Node),
    /// It is being evaluated, so it cannot refer to itself.
    Evaluating,
}

impl Context<'_> {
    /// Records where a condition is written, or that it is being evaluated.
    pub fn name_condition(&self, name: &str, condition: NamedCondition) {
        self.named.borrow_mut().insert(name.to_owned(), condition);
    }

    /// The condition of this name.
    pub fn condition(&self, name: &str) -> Option<NamedCondition> {
        self.named.borrow().get(name).cloned()
    }

    /// All names.
    pub fn condition_names(&self) -> Vec<String> {
        self.named.borrow().keys().cloned().collect()
    }
}
