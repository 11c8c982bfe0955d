//! `${@NAME}`: values that portcullis itself provides.

use crate::config::problem::suggest;
use crate::config::source::{Environment, Found};

/// A value that portcullis provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// Processors, as `nproc(1)` counts them.
    Processors,
    /// Processors that the cgroup grants, rounded up.
    Granted,
    /// The name of this host.
    Host,
    /// Our user id.
    User,
    /// Our group id.
    Group,
    /// The number of a module's instance.
    Instance,
    /// The item of a step's `each`.
    Each,
    /// Its number, from 1.
    Index,
}

/// All values with their names.
const ALL: [(&str, Own); 8] = [
    ("@nproc", Own::Processors),
    ("@cpus", Own::Granted),
    ("@hostname", Own::Host),
    ("@uid", Own::User),
    ("@gid", Own::Group),
    ("@instance", Own::Instance),
    ("@each", Own::Each),
    ("@index", Own::Index),
];

impl Own {
    /// The value of this name (with the `@`), or an error message.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        ALL.iter().find(|(known, _)| *known == name).map(|(_, own)| *own).ok_or_else(|| {
            let near = suggest(name.trim_start_matches('@'), ALL.iter().map(|(known, _)| known.trim_start_matches('@')));
            format!("unknown `${{{name}}}`{near}")
        })
    }

    /// The name, with its `@`.
    pub(super) fn name(self) -> &'static str {
        ALL.iter().find(|(_, own)| *own == self).map_or("", |(name, _)| name)
    }

    /// Whether it depends on the part of the configuration.
    pub(super) const fn is_of_a_part(self) -> bool {
        matches!(self, Self::Instance | Self::Each | Self::Index)
    }

    /// Its value here; none if it is not available here.
    pub(super) fn value(self, environment: &Environment) -> Option<Found> {
        let value = match self {
            Self::Processors => environment.processors().to_string(),
            Self::Granted => environment.granted_processors().to_string(),
            Self::Host => environment.host_name().to_owned(),
            Self::User => environment.ids().0.to_string(),
            Self::Group => environment.ids().1.to_string(),
            Self::Instance => environment.instance()?.to_string(),
            Self::Each => return environment.each().cloned(),
            Self::Index => environment.item_number()?.to_string(),
        };
        Some(Found { value, secret: false })
    }

    /// The message if it is not available.
    pub(super) fn missing(self) -> String {
        match self {
            Self::Instance => "`${@instance}` is the number of a module's instance; it exists only in a module with `instances`".to_owned(),
            Self::Each => "`${@each}` is the item of a step's `each`; it exists only in such a step".to_owned(),
            Self::Index => "`${@index}` is the number of the item of a step's `each`; it exists only in such a step".to_owned(),
            other => format!("`${{{}}}` is not available here", other.name()),
        }
    }
}
