//! The table of paths: the view of each path, and its properties.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::actuator;
use crate::plan::ViewSwitch;
use crate::state::snapshot::Level;

/// A view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Page,
    Ragflow,
    Kubernetes(Level),
    Actuator,
    /// That of a module, below its web path.
    Module,
    Article,
    Status,
    Metrics,
}

/// The endpoint of a path.
pub(super) struct Endpoint<'a> {
    pub(super) view: View,
    /// The fixed name for metrics.
    pub(super) route: &'static str,
    /// Whether the response may be long and slow to compose.
    pub(super) is_long: bool,
    /// The decoded segments.
    pub(super) segments: Vec<Cow<'a, str>>,
}

impl<'a> Endpoint<'a> {
    /// The endpoint of this path, if any. One slash at its end is tolerated.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/').filter(|path| *path != "/")?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let segments: Vec<Cow<'a, str>> = path.split('/').map(|part| percent_decode_str(part).decode_utf8().ok()).collect::<Option<_>>()?;
        let names: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();
        let (view, route, is_long) = match names[..] {
            [""] => (View::Page, "/", true),
            ["healthz"] => (View::Ragflow, "/healthz", false),
            ["v1", "system", "healthz"] => (View::Ragflow, "/v1/system/healthz", false),
            ["api", "v1", "system", "healthz"] => (View::Ragflow, "/api/v1/system/healthz", false),
            ["livez"] | ["livez", _] => (View::Kubernetes(Level::Live), "/livez", false),
            ["readyz"] | ["readyz", _] => (View::Kubernetes(Level::Ready), "/readyz", false),
            ["startupz"] | ["startupz", _] => (View::Kubernetes(Level::Started), "/startupz", false),
            ["actuator"] => (View::Actuator, "/actuator", false),
            ["actuator", "info"] => (View::Actuator, "/actuator/info", false),
            ["actuator", "health", name] if actuator::GROUPS.contains(&name) => (View::Actuator, "/actuator/health", false),
            ["actuator", "health", ..] => (View::Actuator, "/actuator/health", true),
            [_, .., "actuator", "health" | "info"] | [_, .., "actuator", "health", _] => (View::Module, "/{web_path}/actuator", true),
            ["health"] => (View::Article, "/health", false),
            ["status"] => (View::Status, "/status", true),
            ["metrics"] => (View::Metrics, "/metrics", true),
            _ => return None,
        };
        Some(Self { view, route, is_long, segments })
    }

    /// The segments after the first one; all of them if the first one is a name, too.
    pub(super) fn names(&self) -> Vec<&str> {
        let fixed = usize::from(self.view != View::Module);
        self.segments.iter().skip(fixed).map(AsRef::as_ref).collect()
    }

    /// The key that switches this off.
    pub(super) const fn switch(&self) -> ViewSwitch {
        match self.view {
            View::Page => ViewSwitch::Page,
            View::Ragflow => ViewSwitch::Healthz,
            View::Kubernetes(_) => ViewSwitch::Kubernetes,
            View::Actuator | View::Module => ViewSwitch::Actuator,
            View::Article => ViewSwitch::Health,
            View::Status => ViewSwitch::Status,
            View::Metrics => ViewSwitch::Metrics,
        }
    }
}

/// The fixed name of a path for metrics; unknown paths are `other`.
pub fn route_of(path: &str) -> &'static str {
    Endpoint::of(path).map_or("other", |endpoint| endpoint.route)
}

/// Whether the response may be long: such responses must not delay a probe.
pub fn is_long(path: &str) -> bool {
    Endpoint::of(path).is_some_and(|endpoint| endpoint.is_long)
}
