//! The answer to an order: what the socket tells, and what the command that gave the order reads.

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// The document; in what others send, anything may be missing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ControlAnswer {
    /// What the command ends with; none where nothing was ordered because the asker may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// One sentence for a person.
    pub sentence: Option<String>,
    /// More, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<String>>,
}

impl ControlAnswer {
    /// The text of an answer of one sentence.
    pub fn text(exit: Option<Exit>, sentence: &str) -> String {
        Self { exit: exit.map(Exit::code), sentence: Some(sentence.to_owned()), lines: None }.to_text()
    }

    /// The text as it is sent.
    pub fn to_text(&self) -> String {
        let document = serde_json::to_string(self).unwrap_or_default();
        format!("{document}\n")
    }
}
