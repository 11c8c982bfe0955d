//! The response to a control request, as sent over the socket and read by the command.

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// The document; when received, any key may be missing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ControlAnswer {
    /// The exit code of the command; none if the client is not authorized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// One sentence for a person.
    pub sentence: Option<String>,
    /// Further lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<String>>,
}

impl ControlAnswer {
    /// The text of a response with one sentence.
    pub fn text(exit: Option<Exit>, sentence: &str) -> String {
        Self { exit: exit.map(Exit::code), sentence: Some(sentence.to_owned()), lines: None }.to_text()
    }

    /// The serialized text.
    pub fn to_text(&self) -> String {
        let document = serde_json::to_string(self).unwrap_or_default();
        format!("{document}\n")
    }
}
