//! Which health views are enabled, and the names of components that have two.

use crate::config::health::ComponentNames;

/// A health view that can be switched off, by its key in `[health]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewSwitch {
    /// RAGFlow's `/healthz` and its two other paths.
    Healthz,
    /// Kubernetes' `/livez`, `/readyz` and `/startupz`.
    Kubernetes,
    /// Spring's `/actuator` and the paths below it.
    Actuator,
    /// The Dify article's `/health`.
    Health,
    /// ConfigCat's `/status`.
    Status,
    /// Prometheus' `/metrics`.
    Metrics,
    /// The page at `/`.
    Page,
}

impl ViewSwitch {
    /// All of them with their keys, in the order of the manual.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Healthz, "healthz"),
        (Self::Kubernetes, "kubernetes"),
        (Self::Actuator, "actuator"),
        (Self::Health, "health"),
        (Self::Status, "status"),
        (Self::Metrics, "metrics"),
        (Self::Page, "page"),
    ];
}

/// The enabled views; all by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Views {
    /// The disabled views, one bit each.
    off: u8,
    /// The names of the components of Koupleless.
    pub names: ComponentNames,
}

impl Views {
    /// All of them, with these names of the components of Koupleless.
    pub const fn naming(names: ComponentNames) -> Self {
        Self { off: 0, names }
    }

    /// The same without these.
    #[must_use]
    pub fn without(self, views: impl IntoIterator<Item = ViewSwitch>) -> Self {
        let off = views.into_iter().fold(self.off, |off, view| off | 1 << view as u8);
        Self { off, ..self }
    }

    /// The same with all of them.
    #[must_use]
    pub const fn all(self) -> Self {
        Self::naming(self.names)
    }

    /// Whether this view is enabled.
    pub const fn has(self, switch: ViewSwitch) -> bool {
        self.off & 1 << switch as u8 == 0
    }

    /// The keys of those that are switched off, in the order of the manual.
    pub fn off(self) -> Vec<&'static str> {
        ViewSwitch::ALL.into_iter().filter(|(switch, _)| !self.has(*switch)).map(|(_, key)| key).collect()
    }
}
