//! `[health]`: the addresses of the health endpoint, and who may see details.

use std::net::SocketAddr;
use std::path::Path;

use crate::config::health::{Health, Listen, Socket};
use crate::config::layers::{self, Layers};
use crate::config::node::Table;
use crate::config::reader::{Context, Depth, Section};
use crate::config::source::Environment;
use crate::config::values::{Gate, Switch};
use crate::plan::resolve::variables;
use crate::plan::{Details, HealthPlan, SocketName, ViewSwitch, Views};
use crate::secret::Secret;

/// The default port.
const DEFAULT_PORT: u16 = 8051;

/// The addresses of a running portcullis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthAddress {
    /// The TCP addresses of the first listener; empty: none.
    pub listen: Vec<SocketAddr>,
    /// The unix socket.
    pub socket: Option<SocketName>,
}

/// The addresses of the portcullis that runs with this file and environment, for `healthcheck`.
///
/// Reads only `listen` and `socket` of `[health]`; errors in them or elsewhere give the default.
pub fn health_address(file: Option<&Path>, environment: &Environment) -> HealthAddress {
    let layers = Layers { file, preset: None, overrides: &[] };
    address(&readable(layers, environment))
}

/// `[health]` as far as it can be read, regardless of other errors.
fn readable(layers: Layers<'_>, environment: &Environment) -> Health {
    if environment.file(layers.file).is_none() && !environment.names().any(|name| name.starts_with(layers::PREFIX)) {
        // The built-in configuration does not set it without a variable.
        return Health::default();
    }
    let tree = layers::load(layers, environment, &mut Vec::new());
    let seen = variables::seen(&tree, environment);
    let context = Context::new(&seen);
    let root = context.section(tree, "", None, Depth::Whole);
    root.table("health").map(|mut health| health.part()).unwrap_or_default()
}

/// The token of `[health]` that control requests need; none if none is required, or if it cannot be read.
pub fn health_token(file: Option<&Path>, environment: &Environment) -> Option<Secret> {
    let layers = Layers { file, preset: None, overrides: &[] };
    readable(layers, environment).token.0
}

/// The health endpoint; none when it is switched off.
pub(super) fn read(root: &Section<'_>, bare: bool) -> Option<HealthPlan> {
    let enabled = root.table("health").is_none_or(|mut section| section.part::<Gate>().enabled != Some(Switch::Off)) && !bare;
    let mut section = section(root, if enabled { Depth::Whole } else { Depth::Syntax })?;
    let health: Health = section.declared();
    section.note(&health);
    if !enabled {
        return None;
    }
    let (listen, socket) = (listeners(&health), address(&health).socket);
    if listen.is_empty() && socket.is_none() {
        section
            .problem("listen", "is empty, and so is `socket`: no client could connect; write `enabled = false` to switch the endpoint off");
    }
    let switches = [
        (ViewSwitch::Healthz, health.healthz),
        (ViewSwitch::Kubernetes, health.kubernetes),
        (ViewSwitch::Actuator, health.actuator),
        (ViewSwitch::Health, health.health),
        (ViewSwitch::Status, health.status),
        (ViewSwitch::Metrics, health.metrics),
        (ViewSwitch::Page, health.page),
    ];
    let off = switches.into_iter().filter(|(_, key)| !key.is_on()).map(|(view, _)| view);
    Some(HealthPlan {
        listen,
        socket,
        required: health.required,
        details: health.details,
        token: health.token.0,
        hosts: health.hosts.into_iter().map(|host| host.0).collect(),
        max_connections: health.max_connections.to().unwrap_or(1),
        views: Views::naming(health.component_names).without(off),
        control: root.has("modules"),
    })
}

/// `[health]`, empty if it is not written; none if it is not a table.
fn section<'c>(root: &Section<'c>, depth: Depth) -> Option<Section<'c>> {
    let none = || root.context().section(Table::default(), "health", None, depth);
    if root.has("health") { root.table_at("health", depth) } else { Some(none()) }
}

/// For an ad-hoc command: only the unix socket, where `healthcheck` learns that no service runs. Errors in the rest of the table do not matter for
/// it.
pub(super) fn marker(root: &Section<'_>, bare: bool) -> Option<HealthPlan> {
    section(root, Depth::Syntax)?.declared::<Health>();
    let health: Health = section(root, Depth::Whole)?.part();
    let socket = address(&health).socket.filter(|_| health.enabled.is_on() && !bare)?;
    Some(HealthPlan {
        listen: Vec::new(),
        socket: Some(socket),
        required: false,
        details: Details::Never,
        max_connections: 1,
        token: None,
        views: Views::default(),
        control: false,
        hosts: Vec::new(),
    })
}

/// All configured listeners; by default one on every address of the host.
fn listeners(health: &Health) -> Vec<Listen> {
    match &health.listen {
        None => vec![Listen::everywhere(DEFAULT_PORT)],
        Some(written) => written.0.iter().filter(|listen| !listen.0.is_empty()).cloned().collect(),
    }
}

/// The first listener; its port is part of the default socket name.
fn address(health: &Health) -> HealthAddress {
    let listen = listeners(health).into_iter().next().map(|first| first.0).unwrap_or_default();
    let port = listen.first().map_or(DEFAULT_PORT, SocketAddr::port);
    let socket = match &health.socket {
        Some(Socket(name)) => Some(name).filter(|name| !name.is_empty()).map(|name| SocketName::new(name)),
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
        let several = r#"["127.0.0.1:9", "[::1]:10", ""]"#;
        assert_eq!(address_of(&[("PORTCULLIS_HEALTH__LISTEN", several)]), (vec!["127.0.0.1:9".into()], Some("@portcullis/9".into())));
        assert_eq!(
            address_of(&[("PORTCULLIS_HEALTH__LISTEN", ""), ("PORTCULLIS_HEALTH__SOCKET", "/run/p")]),
            (vec![], Some("/run/p".into()))
        );
        assert_eq!(address_of(&[("PORTCULLIS_HEALTH__SOCKET", ""), ("PORTCULLIS_WRONG", "x")]), (default, None));
    }

    #[test]
    fn conditions_count_and_what_their_commands_would_decide_is_unknown() {
        let file = std::env::temp_dir().join(format!("portcullis-health-address-{}.toml", std::process::id()));
        let ran = file.with_extension("ran");
        let listens = |condition: &str, variables: &[(&str, &str)]| {
            let toml = format!(
                "[conditions]\ntls = {condition}\n[env]\nHEALTH_PORT = [{{ when = {{ condition = 'tls' }}, value = '8443' }}, '9000']\n\
                 [health]\nlisten = '127.0.0.1:${{HEALTH_PORT}}'\n"
            );
            std::fs::write(&file, toml).unwrap();
            let address = health_address(Some(&file), &Environment::new(variables.iter().copied()));
            std::fs::remove_file(&file).unwrap();
            address.listen.iter().map(SocketAddr::port).next().unwrap()
        };
        let by_variable = "{ var = 'TLS', truthy = true }";
        assert_eq!((listens(by_variable, &[("TLS", "yes")]), listens(by_variable, &[])), (8443, 9000));
        let by_command = format!("{{ command = ['touch', '{}'] }}", ran.display());
        assert_eq!(listens(&by_command, &[("PATH", "/usr/bin:/bin")]), DEFAULT_PORT);
        assert_eq!(listens(&by_command, &[("PATH", "/usr/bin:/bin"), ("HEALTH_PORT", "7")]), 7, "that of the container");
        assert!(!ran.exists(), "no command runs");
        let either = format!("[{by_variable}, {by_command}]");
        assert_eq!(listens(&either, &[("TLS", "yes")]), 8443, "decided without the command");
    }
}
