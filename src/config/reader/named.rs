//! The conditions of `[conditions]`: written once, asked when they are needed first.

use super::Context;
use crate::config::node::Node;

/// A condition with a name.
#[derive(Clone)]
pub enum NamedCondition {
    /// It stands here.
    Written(Node),
    /// It is being asked, so that it cannot name itself.
    Evaluating,
}

impl Context<'_> {
    /// Notes where a condition stands, or that it is being asked.
    pub fn name_condition(&self, name: &str, condition: NamedCondition) {
        self.named.borrow_mut().insert(name.to_owned(), condition);
    }

    /// The condition of this name.
    pub fn condition(&self, name: &str) -> Option<NamedCondition> {
        self.named.borrow().get(name).cloned()
    }

    /// The names that there are.
    pub fn condition_names(&self) -> Vec<String> {
        self.named.borrow().keys().cloned().collect()
    }
}
