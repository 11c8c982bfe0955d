//! PostgreSQL by URL and by parts, with libpq's parameters and those of the drivers that applications use.

use std::net::IpAddr;

use super::Written;
use super::parameters::truth;
use super::tls::absolute;
use crate::config::problem::suggest;
use crate::config::values::{Number, word};
use crate::plan::resolve::target_url;
use crate::plan::target::{Address, AuthMethods, Demands, PostgresHost, PostgresTarget, ServerRole, SslMode, Target, Verify};

/// Parameters that do not matter for a probe and are ignored without a notice.
const IDLE: [&str; 8] = [
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "connect_timeout",
    "tcp_user_timeout",
    "sslcompression",
    "sslsni",
    "krbsrvname",
];

/// The values of the parameters.
#[derive(Default)]
struct Parameters {
    sslmode: Option<String>,
    /// How the certificate is verified whenever TLS is used (Prisma's `sslaccept=strict`).
    verify: Option<Verify>,
    system_roots: bool,
    no_certificate: bool,
    role: Option<ServerRole>,
    database: Option<String>,
    options: Option<String>,
    schemas: Vec<String>,
    hosts: Option<String>,
    ports: Option<String>,
    addresses: Option<String>,
    any_order: bool,
    demands: Demands,
}

impl Written<'_, '_> {
    /// Like libpq: parameters of the query override the rest of the URL, the database defaults to the role's name.
    pub(super) fn postgres(mut self) -> Option<Target> {
        let parameters = self.postgres_parameters();
        let database = self.database().ok()?;
        let database = if self.database_part().is_none() { parameters.database.clone().or(database) } else { database };
        let (sslmode, mut tls) = self.postgres_tls(&parameters);
        if parameters.no_certificate {
            tls.identity = None;
        }
        let user = self.user().unwrap_or_else(|| "postgres".to_owned());
        let database = database.filter(|database| !database.is_empty()).unwrap_or_else(|| user.clone());
        Some(Target::Postgres(PostgresTarget {
            hosts: self.postgres_hosts(&parameters)?,
            any_order: parameters.any_order,
            user,
            password: self.password(),
            database,
            options: parameters.options,
            schemas: parameters.schemas,
            tls,
            sslmode,
            demands: parameters.demands,
            role: parameters.role.unwrap_or(self.keys.role),
        }))
    }

    fn postgres_parameters(&mut self) -> Parameters {
        let mut found = Parameters::default();
        let (mut certificate, mut key) = (None, None);
        for (name, value) in self.address.parameters() {
            match name.as_str() {
                "sslmode" => found.sslmode = Some(value),
                "ssl" => found.sslmode = Some(Self::mode_of_flag(&value)),
                "requiressl" if truth(&value) == Some(true) => found.sslmode = Some("require".to_owned()),
                "sslaccept" => match value.as_str() {
                    "strict" => found.verify = Some(Verify::Full),
                    "accept_invalid_certs" => {}
                    _ => self.refused(&name, "it is neither `strict` nor `accept_invalid_certs`"),
                },
                "sslrootcert" if value == "system" => found.system_roots = true,
                "sslrootcert" => self.tls.ca = Some(absolute(&value)),
                "sslcert" => certificate = Some(absolute(&value)),
                "sslkey" => key = Some(absolute(&value)),
                "sslcertmode" => match value.as_str() {
                    "disable" => found.no_certificate = true,
                    "allow" => {}
                    _ => self.refused(&name, "portcullis cannot ensure that the server requests a certificate"),
                },
                "sslnegotiation" => match value.as_str() {
                    "postgres" => {}
                    "direct" => found.demands.direct_tls = true,
                    _ => self.refused(&name, "it is neither `postgres` nor `direct`"),
                },
                "ssl_min_protocol_version" => self.lowest_tls(&name, &value),
                "sslcrl" | "sslcrldir" if !value.is_empty() => self.refused(&name, "certificate revocation lists are not supported here"),
                "requirepeer" if !value.is_empty() => self.refused(&name, "the owner of the server's socket is not checked here"),
                "channel_binding" => match value.as_str() {
                    "disable" | "prefer" => {}
                    "require" => found.demands.channel_binding = true,
                    _ => self.refused(&name, "it is not one of `disable`, `prefer` and `require`"),
                },
                "require_auth" if !value.is_empty() => match AuthMethods::parse(&value) {
                    Ok(methods) if !methods.meets(AuthMethods::SPOKEN) => {
                        self.refused(
                            &name,
                            "it leaves only authentication methods that are not supported here (known: password, md5, scram-sha-256, none)",
                        );
                    }
                    Ok(methods) => found.demands.methods = Some(methods),
                    Err(word) => {
                        let known = suggest(&word, AuthMethods::WORDS.map(|(word, _)| word));
                        self.refused(&name, &format!("`{word}` is not allowed there{known}"));
                    }
                },
                "gssencmode" => match value.as_str() {
                    "disable" | "prefer" => {}
                    _ => self.refused(&name, "encryption by GSSAPI is not supported here"),
                },
                "target_session_attrs" => match word(&value) {
                    Ok(role) => found.role = Some(role),
                    Err(words) => {
                        let known = suggest(&value, words.iter().copied());
                        self.section.problem("url", format!("has the unknown target_session_attrs `{value}`{known}"));
                    }
                },
                "load_balance_hosts" => match value.as_str() {
                    "disable" => {}
                    "random" => found.any_order = true,
                    _ => self.section.problem("url", "has a load_balance_hosts that is neither `disable` nor `random`"),
                },
                "host" => found.hosts = Some(value),
                "port" => found.ports = Some(value),
                "hostaddr" => found.addresses = Some(value),
                "user" => self.address.user = Some(value),
                "password" => self.address.password = Some(value),
                "dbname" => found.database = Some(value),
                "options" => found.options = Some(value).filter(|options| !options.trim().is_empty()),
                // The names in Prisma, JDBC, and the setting itself, as in Go's drivers.
                "schema" | "currentSchema" | "search_path" => found.schemas = schemas(&value),
                idle if IDLE.contains(&idle) || idle.starts_with("keepalives") => {}
                _ => self.ignored(&name, &value),
            }
        }
        self.take_identity(certificate, key);
        found
    }

    /// `ssl=`: libpq treats `true` as `require`, other clients write modes or booleans.
    fn mode_of_flag(value: &str) -> String {
        match truth(value) {
            Some(true) => "require".to_owned(),
            Some(false) => "disable".to_owned(),
            // An unknown word is refused like an unknown mode.
            None => value.to_owned(),
        }
    }

    fn postgres_tls(&self, parameters: &Parameters) -> (SslMode, crate::plan::target::Tls) {
        let word = self.keys.sslmode.value().or_else(|| parameters.sslmode.clone());
        // As in libpq: the system's authorities sign for any server, so only the name identifies it.
        let word = word.or_else(|| parameters.system_roots.then(|| "verify-full".to_owned()));
        let (sslmode, mut tls) = self.tls.by_mode(self.section, self.key("sslmode"), word.as_deref());
        let shown = word.unwrap_or_else(|| "prefer".to_owned());
        if parameters.system_roots && tls.verify != Verify::Full {
            self.refused("sslrootcert", &format!("`system` requires sslmode=verify-full, but it is `{shown}`"));
        }
        if parameters.demands.direct_tls && sslmode != SslMode::Require {
            self.refused("sslnegotiation", &format!("`direct` requires sslmode=require or stricter, but it is `{shown}`"));
        }
        if let Some(verify) = parameters.verify {
            tls.verify = verify;
        }
        (sslmode, tls)
    }

    /// Every host with its port: those of the parameters before those of the URL, the part of that name before both.
    fn postgres_hosts(&self, parameters: &Parameters) -> Option<Vec<PostgresHost>> {
        let wrong = |why: &str| {
            self.section.problem(self.key("host"), why);
            None
        };
        let mut places: Vec<(String, Option<u16>)> = match &parameters.hosts {
            Some(hosts) if self.keys.host.0.is_none() => hosts.split(',').map(|host| (host.to_owned(), None)).collect(),
            _ => {
                let first = self.keys.host.value().unwrap_or_else(|| self.address.host.clone());
                let more = self.address.more.iter().filter(|_| self.keys.host.0.is_none()).cloned();
                std::iter::once((first, self.port())).chain(more).collect()
            }
        };
        if let Some(ports) = &parameters.ports {
            let ports: Vec<&str> = ports.split(',').collect();
            if ports.len() != 1 && ports.len() != places.len() {
                return wrong("has a different number of ports and hosts");
            }
            for (index, place) in places.iter_mut().enumerate() {
                match ports.get(index).or(ports.first()).copied().unwrap_or_default() {
                    "" => {}
                    port => match port.parse::<u16>().ok().filter(|port| *port > 0) {
                        Some(port) => place.1 = Some(port),
                        None => return wrong("has a parameter `port` that is not a number from 1 to 65535"),
                    },
                }
            }
        }
        let addresses: Vec<&str> =
            parameters.addresses.as_deref().filter(|list| !list.is_empty()).map_or_else(Vec::new, |list| list.split(',').collect());
        if !addresses.is_empty() && addresses.len() != places.len() {
            return wrong("has a different number of addresses in `hostaddr` and hosts");
        }
        let above: Option<u16> = self.keys.port.0.and_then(Number::to);
        let mut hosts = Vec::with_capacity(places.len());
        for (index, (host, port)) in places.into_iter().enumerate() {
            let at = match addresses.get(index).copied().unwrap_or_default() {
                "" => None,
                text => match text.parse::<IpAddr>() {
                    Ok(at) => Some(at),
                    Err(_) => return wrong("has a `hostaddr` that is not an IP address"),
                },
            };
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map_or(host.clone(), str::to_owned);
            // A host with an address needs no name.
            let host = if host.is_empty() { at.map(|at| at.to_string()).unwrap_or_default() } else { host };
            if host.is_empty() {
                return wrong("names no host");
            }
            if let Err(why) = target_url::check_host(&host) {
                return wrong(why);
            }
            let port = above.filter(|_| index == 0).or(port).unwrap_or(5432);
            hosts.push(PostgresHost { address: Address { host, port }, at });
        }
        Some(hosts)
    }
}

/// The names in a list of schemas, without their quotes.
fn schemas(list: &str) -> Vec<String> {
    list.split(',').map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()).collect()
}
