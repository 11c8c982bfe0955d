//! `[health]`: the addresses of the health endpoint, and who may see details.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::reader::SHOWN;
use crate::config::values::{Maybe, Number, OneOrMore, Switch};
use crate::secret::Secret;

/// Who sees hosts, driver texts and other details in health responses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Details {
    /// No one.
    Never,
    /// Root and portcullis' own user on the unix socket, and clients that send the token.
    #[default]
    WhenAuthorized,
    /// All readers.
    Always,
}

/// The names of the components for Koupleless' modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ComponentNames {
    /// As in its document on health checks.
    #[default]
    Document,
    /// The current names upstream.
    Current,
}

/// The health endpoint.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "health")]
pub struct Health {
    /// Whether the endpoint is enabled.
    pub enabled: Switch,
    /// The TCP address: `:8051` (every address of the host), `127.0.0.1:8051` or `[::1]:8051`, or a list, each item of which is bound; `""` for none.
    /// The first one names the socket and is used by `healthcheck`. By default `:8051`.
    pub listen: Option<OneOrMore<Listen>>,
    /// The unix socket: `@name` for an abstract one, or a path; `""` for none. By default `@portcullis/PORT`.
    pub socket: Option<Socket>,
    /// Who sees details.
    pub details: Details,
    /// The bearer token that shows details over TCP, and allows control requests.
    pub token: Maybe<Secret>,
    /// The host names that requests over TCP may use, besides IP addresses and `localhost`; empty: any.
    pub hosts: Vec<HostName>,
    /// How many connections may be open at once on each TCP address; a further one replaces the one whose last request is the oldest. For more
    /// than 64 the limit of open files is raised, as far as the hard limit allows.
    pub max_connections: Number<1, 2000>,
    /// Whether an address or a socket that cannot be bound ends the start with 78; otherwise the run continues without it.
    pub required: bool,
    /// Whether the start of every module counts for the status, also of those on demand, unless its `startup_affects_health` is set.
    pub with_all_modules: bool,
    /// The names of the two components of `/actuator/health` for modules. `document`: `arkBizAggregate` and `masterBizStartUp`; `current`:
    /// `compositeAllBiz` and `baseStartUp`, the current names in Koupleless.
    pub component_names: ComponentNames,
    /// RAGFlow's `/healthz` and its two other paths, over TCP.
    pub healthz: Switch,
    /// Kubernetes' `/livez`, `/readyz` and `/startupz`, over TCP.
    pub kubernetes: Switch,
    /// Spring Boot's `/actuator` and the paths below it, over TCP.
    pub actuator: Switch,
    /// `/health` of Dify's article, over TCP.
    pub health: Switch,
    /// `/status` as in ConfigCat's proxy, over TCP.
    pub status: Switch,
    /// `/metrics` for Prometheus, over TCP.
    pub metrics: Switch,
    /// The page at `/`, over TCP.
    pub page: Switch,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            enabled: Switch::On,
            listen: None,
            socket: None,
            details: Details::default(),
            token: Maybe(None),
            hosts: Vec::new(),
            max_connections: const { Number::of(64) },
            required: true,
            with_all_modules: false,
            component_names: ComponentNames::default(),
            healthz: Switch::On,
            kubernetes: Switch::On,
            actuator: Switch::On,
            health: Switch::On,
            status: Switch::On,
            metrics: Switch::On,
            page: Switch::On,
        }
    }
}

/// Declares a text type with a rule: how it is parsed, and how it is shown.
macro_rules! text_with_rule {
    ($name:ident, $make:expr) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Text::deserialize(deserializer)?.value();
                let make: fn(String) -> Result<Self, String> = $make;
                make(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

/// An address to listen on: the addresses that it stands for, none for an empty text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Listen(#[schemars(with = "String")] pub Vec<SocketAddr>);

text_with_rule!(Listen, |text| {
    let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")).unwrap_or(&text);
    if text.is_empty() {
        Ok(Listen(Vec::new()))
    } else if let Ok(port) = port.parse() {
        Ok(Listen::everywhere(port))
    } else if let Ok(address) = text.replacen("localhost:", "127.0.0.1:", 1).parse() {
        Ok(Listen(vec![address]))
    } else {
        Err(format!("is `{SHOWN}`, not an address such as `0.0.0.0:8051`, `[::]:8051` or `:8051`"))
    }
});

impl Listen {
    /// A port on every address of the host.
    pub fn everywhere(port: u16) -> Self {
        Self(vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))])
    }
}

/// A unix socket: `@name`, or a path; empty for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Socket(pub String);

text_with_rule!(Socket, |text| {
    // `sun_path` of unix(7) holds 108 bytes with the NUL at the end.
    let fits = text != "@" && text.len() <= 107 && text.starts_with(['@', '/']);
    if fits || text.is_empty() {
        Ok(Socket(text))
    } else {
        Err(format!("is `{SHOWN}`; expected `@name` or a path from `/` of at most 107 bytes"))
    }
});

/// The name of a host in a request, without a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct HostName(pub String);

text_with_rule!(HostName, |text| {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !text.is_empty() && text.len() <= 253 && text.bytes().all(named) {
        Ok(HostName(text))
    } else {
        Err(format!("is `{SHOWN}`; expected a name such as `health.example.com`, without a port"))
    }
});

impl fmt::Display for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::WhenAuthorized => "when-authorized",
            Self::Always => "always",
        })
    }
}
