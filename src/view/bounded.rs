//! Long documents cut so that what fails comes first and nothing is left out unsaid.

use serde_json::{Map, Value};

use super::LONGEST_BODY;

/// One member of an object that may grow long.
pub(super) struct Member {
    /// Its key.
    pub(super) name: String,
    /// Whether it has to be told before others.
    pub(super) fails: bool,
    /// What is told.
    pub(super) value: Value,
}

/// As many members as fit beside `frame` further bytes, in their order, and how many were left out. Where not all fit, those that fail
/// come first.
pub(super) fn cut(mut members: Vec<Member>, frame: usize) -> (Map<String, Value>, usize) {
    // Key, quotes, colon and comma.
    let length = |member: &Member| Value::from(member.name.as_str()).to_string().len() + member.value.to_string().len() + 2;
    let mut room = LONGEST_BODY.saturating_sub(frame);
    let total: usize = members.iter().map(length).sum();
    if total > room {
        members.sort_by_key(|member| !member.fails);
    }
    let all = members.len();
    let fitting = members.into_iter().take_while(|member| room.checked_sub(length(member)).inspect(|rest| room = *rest).is_some());
    let told: Map<String, Value> = fitting.map(|member| (member.name, member.value)).collect();
    let left_out = all - told.len();
    (told, left_out)
}
