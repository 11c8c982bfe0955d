//! `started`: how a start is known to be through.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::target::TargetKeys;
use crate::config::values::{Number, Span, YEAR};

/// How and how long a start is watched.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StartSection {
    /// How long the start may take.
    pub within: Span<100, YEAR>,
    /// How long one try may take.
    pub timeout: Span<10, 600_000>,
    /// Whether the process says itself that it is ready, by `READY=1` as of `sd_notify(3)`, in place of a target.
    pub notify: bool,
    /// The descriptor on which the process says by a line that it is ready, in place of a target.
    pub notify_fd: Option<Number<3, 255>>,
    /// What a line of the process' own standard output or standard error contains once it is ready, in place of a target: `Listening at`. It
    /// is compared byte for byte, colours included, and counts as soon as it is written; up to 1024 bytes. Both streams are pipes then, as
    /// with `output = "prefix"`, also where portcullis has a terminal; what goes through them is unchanged.
    pub line: Option<Text>,
}

impl Default for StartSection {
    fn default() -> Self {
        Self { within: const { Span::of(120_000) }, timeout: const { Span::of(2000) }, notify: false, notify_fd: None, line: None }
    }
}

/// The startup check of a process: a target that has to answer once, a notification, or a line of its output.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "started", deny_unknown_fields)]
pub struct Started {
    /// How and how long.
    #[serde(flatten)]
    pub start: StartSection,
    /// What is asked.
    #[serde(flatten)]
    pub target: TargetKeys,
}
crate::union!(Started { start: StartSection, target: TargetKeys });
