//! `started`: how the end of a start is detected.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::target::TargetKeys;
use crate::config::values::{Number, Span, YEAR};

/// How and for how long a start is checked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StartSection {
    /// How long the start may take.
    pub within: Span<100, YEAR>,
    /// How long one probe may take.
    pub timeout: Span<10, 600_000>,
    /// Whether the process itself reports that it is ready, by `READY=1` (`sd_notify(3)`), instead of a target.
    pub notify: bool,
    /// The descriptor to which the process writes a line when it is ready, instead of a target.
    pub notify_fd: Option<Number<3, 255>>,
    /// A text in a line of the process' standard output or standard error that shows that it is ready, instead of a target: `Listening at`. It is
    /// compared byte for byte, including colour codes, and counts as soon as it is written; up to 1024 bytes. Both streams are then pipes, as with
    /// `output = "prefix"`, even if portcullis has a terminal; the output is passed on unchanged.
    pub line: Option<Text>,
}

impl Default for StartSection {
    fn default() -> Self {
        Self { within: const { Span::of(120_000) }, timeout: const { Span::of(2000) }, notify: false, notify_fd: None, line: None }
    }
}

/// The startup check of a process: a target that has to be ready once, a notification, or a line of its output.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "started", deny_unknown_fields)]
pub struct Started {
    /// How and for how long.
    #[serde(flatten)]
    pub start: StartSection,
    /// The target.
    #[serde(flatten)]
    pub target: TargetKeys,
}
crate::union!(Started { start: StartSection, target: TargetKeys });
