//! `[health]`: where portcullis answers, and who may see details.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::config::interpolate::Text;
use crate::config::layers::{self, Layers};
use crate::config::node::Table;
use crate::config::reader::{Context, Depth, Keys, Section};
use crate::config::source::Environment;
use crate::plan::resolve::ROOT;
use crate::plan::{Details, HealthPlan, SocketName, Views};
use crate::secret::Secret;

pub(super) const KEYS: Keys = Keys {
    known: &[
        "enabled",
        "listen",
        "socket",
        "details",
        "token",
        "hosts",
        "required",
        "healthz",
        "kubernetes",
        "actuator",
        "health",
        "status",
        "metrics",
        "page",
    ],
};

/// The port when nobody says another.
const DEFAULT_PORT: u16 = 8051;

/// Where a running portcullis answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthAddress {
    /// TCP addresses, the first that binds wins; empty: none.
    pub listen: Vec<SocketAddr>,
    /// The unix socket.
    pub socket: Option<SocketName>,
}

/// Where the portcullis that runs with this file and environment answers, as `healthcheck` looks for it.
///
/// Reads nothing but `listen` and `socket` of `[health]`; what is wrong anywhere else, or with them, yields the default.
pub fn health_address(file: Option<&Path>, environment: &Environment) -> HealthAddress {
    let layers = Layers { file, preset: None, overrides: &[], keys: ROOT.known };
    let tree = layers::load(layers, environment, &mut Vec::new());
    let context = Context::new(environment);
    let root = context.section(tree, "", None, None, Depth::Whole);
    let health = root.table("health", None).unwrap_or_else(|| context.section(Table::default(), "health", None, None, Depth::Whole));
    address(&health)
}

/// The token of `[health]` that who gives orders has to bear; none when none is asked for, or when it cannot be read.
pub fn health_token(file: Option<&Path>, environment: &Environment) -> Option<Secret> {
    let layers = Layers { file, preset: None, overrides: &[], keys: ROOT.known };
    let tree = layers::load(layers, environment, &mut Vec::new());
    let context = Context::new(environment);
    let root = context.section(tree, "", None, None, Depth::Whole);
    root.table("health", None)?.secret("token").filter(|token| !token.is_empty())
}

/// The health endpoint; none when it is switched off.
pub(super) fn read(root: &Section<'_>, bare: bool) -> Option<HealthPlan> {
    let context = root.context();
    let section = match root.node("health") {
        Some(node) => {
            let enabled = context.open(node, "health", None, Depth::Whole)?.boolean("enabled").unwrap_or(true) && !bare;
            context.open(node, "health", Some(KEYS), if enabled { Depth::Whole } else { Depth::Form })?
        }
        None => context.section(Table::default(), "health", None, Some(KEYS), if bare { Depth::Form } else { Depth::Whole }),
    };
    let details =
        section.word("details", &[("never", Details::Never), ("when-authorized", Details::WhenAuthorized), ("always", Details::Always)]);
    let required = section.boolean("required").unwrap_or(true);
    let token = section.secret("token");
    let on = |key| section.boolean(key).unwrap_or(true);
    let views = Views {
        healthz: on("healthz"),
        kubernetes: on("kubernetes"),
        actuator: on("actuator"),
        health: on("health"),
        status: on("status"),
        metrics: on("metrics"),
        page: on("page"),
    };
    let hosts = hosts(&section);
    let HealthAddress { listen, socket } = address(&section);
    if section.depth() == Depth::Form {
        return None;
    }
    if listen.is_empty() && socket.is_none() {
        section.problem("listen", "is empty and so is `socket`: nobody could ask; write `enabled = false` for no endpoint at all");
    }
    Some(HealthPlan { listen, socket, required, details: details.unwrap_or_default(), token, hosts, views, control: root.has("modules") })
}

fn hosts(section: &Section<'_>) -> Vec<String> {
    let context = section.context();
    let items = section.list("hosts").unwrap_or_default();
    let texts = items.iter().filter_map(|item| context.text(item, &section.what("hosts"), section.depth()));
    let checked = texts.filter_map(|text| {
        let host = text.value();
        let fits = !host.is_empty() && host.len() <= 253 && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if !fits {
            section.problem("hosts", format!("has `{}`; a name as `health.example.com` is wanted, without a port", text.shown()));
        }
        fits.then_some(host)
    });
    checked.collect()
}

/// Beside a command of one's own: the unix socket alone, where `healthcheck` is told that no service runs. What is wrong with the
/// rest of the table is of no matter to it.
pub(super) fn marker(root: &Section<'_>, bare: bool) -> Option<HealthPlan> {
    let context = root.context();
    let section = match root.node("health") {
        Some(node) => {
            context.open(node, "health", Some(KEYS), Depth::Form)?;
            context.open(node, "health", None, Depth::Whole)?
        }
        None => context.section(Table::default(), "health", None, None, Depth::Whole),
    };
    let enabled = section.boolean("enabled").unwrap_or(true) && !bare;
    let socket = address(&section).socket.filter(|_| enabled)?;
    let (listen, views) = (Vec::new(), Views::default());
    Some(HealthPlan {
        listen,
        socket: Some(socket),
        required: false,
        details: Details::Never,
        token: None,
        views,
        control: false,
        hosts: Vec::new(),
    })
}

fn address(section: &Section<'_>) -> HealthAddress {
    let wildcard = |port: u16| vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
    let context = section.context();
    // `[::]:8051` begins like a list and is none.
    let texts: Option<Vec<Text>> = section.node("listen").and_then(|node| match context.list_quietly(node) {
        Some(items) => Some(items.iter().filter_map(|item| context.text(item, &section.what("listen"), section.depth())).collect()),
        None => section.text("listen").map(|text| vec![text]),
    });
    let listen = match texts {
        None => wildcard(DEFAULT_PORT),
        Some(texts) => {
            let mut listen = Vec::new();
            for text in texts.iter().filter(|text| !text.is_empty()) {
                let value = text.value();
                let port = value.strip_prefix(':').or_else(|| value.strip_prefix("*:")).unwrap_or(&value);
                if let Ok(port) = port.parse() {
                    listen.extend(wildcard(port));
                } else if let Ok(address) = value.replacen("localhost:", "127.0.0.1:", 1).parse() {
                    listen.push(address);
                } else {
                    section.problem("listen", format!("has `{}`, not an address as `0.0.0.0:8051`, `[::]:8051` or `:8051`", text.shown()));
                }
            }
            listen
        }
    };
    let port = listen.first().map_or(DEFAULT_PORT, SocketAddr::port);
    let socket = match section.text("socket") {
        Some(text) if text.is_empty() => None,
        Some(text) => {
            let value = text.value();
            if value == "@" || value.len() > 107 || (!value.starts_with('@') && !value.starts_with('/')) {
                section.problem("socket", format!("is `{}`; `@name` or a path from `/` of at most 107 bytes is wanted", text.shown()));
            }
            Some(SocketName::new(&value))
        }
        None => Some(SocketName::Abstract(format!("portcullis/{port}"))),
    };
    HealthAddress { listen, socket }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_of(variables: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
        let address = health_address(None, &Environment::new(variables.iter().copied()));
        (address.listen.iter().map(SocketAddr::to_string).collect(), address.socket.map(|socket| socket.to_string()))
    }

    #[test]
    fn the_endpoint_is_found_by_variables_or_its_default() {
        let default = ["[::]:8051".to_owned(), "0.0.0.0:8051".to_owned()].to_vec();
        assert_eq!(address_of(&[]), (default.clone(), Some("@portcullis/8051".into())));
        assert_eq!(address_of(&[("PORTCULLIS_HEALTH__LISTEN", "127.0.0.1:9")]), (vec!["127.0.0.1:9".into()], Some("@portcullis/9".into())));
        for any in [":9", "*:9", "9"] {
            let expected = vec!["[::]:9".to_owned(), "0.0.0.0:9".to_owned()];
            assert_eq!(address_of(&[("PORTCULLIS_HEALTH__LISTEN", any)]), (expected, Some("@portcullis/9".into())), "{any}");
        }
        assert_eq!(address_of(&[("PORTCULLIS_HEALTH__LISTEN", "[::1]:9")]), (vec!["[::1]:9".into()], Some("@portcullis/9".into())));
        assert_eq!(address_of(&[("PORTCULLIS_HEALTH__LISTEN", r#"["127.0.0.1:9", "[::1]:9"]"#)]).0.len(), 2);
        assert_eq!(
            address_of(&[("PORTCULLIS_HEALTH__LISTEN", ""), ("PORTCULLIS_HEALTH__SOCKET", "/run/p")]),
            (vec![], Some("/run/p".into()))
        );
        assert_eq!(address_of(&[("PORTCULLIS_HEALTH__SOCKET", ""), ("PORTCULLIS_WRONG", "x")]), (default, None));
    }
}
