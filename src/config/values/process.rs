//! Masks and limits of a process, as for `umask(1)` and `prlimit(1)`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::config::reader::SHOWN;

/// A file mode creation mask, in octal and in quotes: TOML has no `0027`, and 27 would be another mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Umask(pub u32);

impl Visitor<'_> for Umask {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self, E> {
        Err(E::custom("is a number; write it in octal and in quotes, as \"0027\""))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        let mask = u32::from_str_radix(text.trim(), 8).ok().filter(|mask| *mask <= 0o777);
        mask.map(Self).ok_or_else(|| E::custom(format!("is `{SHOWN}`; expected an octal mask up to \"0777\"")))
    }
}

impl<'de> Deserialize<'de> for Umask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(0))
    }
}

impl Serialize for Umask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}

impl JsonSchema for Umask {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Umask".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\s*\+?[0-7]+\s*$" })
    }
}

/// A resource limit: one number for both the soft and the hard one, or `soft:hard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The soft limit; `u64::MAX` for no limit.
    pub soft: u64,
    /// The hard limit, up to which the process may raise the soft one.
    pub hard: u64,
}

impl Visitor<'_> for Limit {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, `unlimited` or `soft:hard`")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        self.visit_str("")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        let amount = |text: &str| if text.trim() == "unlimited" { Some(u64::MAX) } else { text.trim().parse().ok() };
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        match (amount(soft), amount(hard)) {
            (Some(soft), Some(hard)) if soft <= hard => Ok(Self { soft, hard }),
            (Some(_), Some(_)) => Err(E::custom(format!("is `{SHOWN}`, a soft limit above the hard one"))),
            _ => Err(E::custom(format!("is `{SHOWN}`; expected a number, `unlimited` or `soft:hard`"))),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self { soft: 0, hard: 0 })
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let amount = |amount: u64| if amount == u64::MAX { "unlimited".to_owned() } else { amount.to_string() };
        serializer.collect_str(&format_args!("{}:{}", amount(self.soft), amount(self.hard)))
    }
}

impl JsonSchema for Limit {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^\s*([0-9]+|unlimited)\s*(:\s*([0-9]+|unlimited)\s*)?$|\$";
        json_schema!({ "type": ["integer", "string"], "minimum": 0, "pattern": pattern })
    }
}

/// Each limit with its documentation and its number in the kernel (`asm-generic/resource.h`).
macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $number:literal),+ $(,)?) => {
        /// Resource limits, by the names that `prlimit(1)` and Docker's `--ulimit` know.
        #[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schemars(inline)]
        pub struct Limits {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<Limit>),+
        }

        impl Limits {
            /// The configured limits, each with its number.
            pub fn written(&self) -> impl Iterator<Item = (u32, Limit)> {
                [$(($number, self.$name)),+].into_iter().filter_map(|(number, limit)| limit.map(|limit| (number, limit)))
            }
        }

        /// The name of a resource limit.
        pub fn limit_name(resource: u32) -> &'static str {
            match resource {
                $($number => stringify!($name).trim_start_matches("r#"),)+
                _ => "?",
            }
        }
    };
}
limits! {
    /// CPU time, in seconds.
    cpu = 0,
    /// The largest file it may write, in bytes.
    fsize = 1,
    /// Its data segment, in bytes.
    data = 2,
    /// Its stack, in bytes.
    stack = 3,
    /// The largest core file, in bytes.
    core = 4,
    /// Resident memory, in bytes; today's kernels ignore it.
    rss = 5,
    /// Processes and threads of its user.
    nproc = 6,
    /// Open files.
    nofile = 7,
    /// Locked memory, in bytes.
    memlock = 8,
    /// Address space, in bytes.
    r#as = 9,
    /// File locks; today's kernels ignore it.
    locks = 10,
    /// Queued signals of its user.
    sigpending = 11,
    /// POSIX message queues of its user, in bytes.
    msgqueue = 12,
    /// The ceiling of its nice value, as 20 minus that value.
    nice = 13,
    /// The ceiling of its real-time priority.
    rtprio = 14,
    /// CPU time under a real-time policy without a blocking system call, in microseconds.
    rttime = 15,
}
