//! `[heartbeat]`: where and how often the readiness is written to Redis.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::condition::Condition;
use crate::config::interpolate::Text;
use crate::config::target::TargetKeys;
use crate::config::values::{DAY, Deferred, Maybe, Span, Switch};

/// Which records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum HeartbeatMode {
    /// A record for each replica, and the key of the service.
    #[default]
    Auto,
    /// Only the key of the service.
    Simple,
}

/// Where and how often the readiness is written into Redis.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Beat {
    /// Whether the readiness is written.
    pub enabled: Switch,
    /// It is written only if this condition holds.
    pub when: Deferred<Condition>,
    /// The redis check whose Redis is used, instead of a target.
    pub check: Option<Text>,
    /// The key; by default the prefix, then `SERVICE_service_status`.
    pub key: Maybe<Text>,
    /// The prefix of the default key, before a `:`.
    pub prefix: Maybe<Text>,
    /// How long a record stays without a further heartbeat.
    pub ttl: Span<1000, DAY>,
    /// How often it is written; shorter than `ttl`.
    pub every: Span<1000, DAY>,
    /// Which records are written.
    pub mode: HeartbeatMode,
    /// Whether no other replica writes the key, so that it may be deleted at the end even with `mode = "simple"`.
    pub exclusive: bool,
    /// Whether the service is not ready while the heartbeat cannot be written.
    pub required: bool,
}

impl Default for Beat {
    fn default() -> Self {
        Self {
            enabled: Switch::On,
            when: Deferred::default(),
            check: None,
            key: Maybe(None),
            prefix: Maybe(None),
            ttl: const { Span::of(60_000) },
            every: const { Span::of(20_000) },
            mode: HeartbeatMode::Auto,
            exclusive: false,
            required: false,
        }
    }
}

/// The heartbeat. Its Redis is given like that of a check, or by `check`.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "heartbeat", deny_unknown_fields)]
pub struct HeartbeatSection {
    /// The Redis.
    #[serde(flatten)]
    pub target: TargetKeys,
    /// The keys besides the Redis.
    #[serde(flatten)]
    pub beat: Beat,
}
crate::union!(HeartbeatSection { target: TargetKeys, beat: Beat });
