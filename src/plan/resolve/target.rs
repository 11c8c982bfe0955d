//! What a check asks, from its URL, from its parts, or from a URL with parts on top.

mod broker;
mod http;
mod kinds;
mod local;
mod mysql;
mod own;
mod parameters;
mod postgres;
mod redis;
mod tls;
mod variables;

use crate::config::interpolate::Text;
use crate::config::node::Value;
use crate::config::reader::{Depth, Keys, Section};
use crate::plan::resolve::address::{self, Address};
use crate::plan::target::{self, GrpcTarget, Target};
use crate::secret::Secret;
use http::HttpOptions;
pub(super) use http::{EXPECT, MEMBER};
use kinds::{family, own_name, says_tls};
use tls::TlsOptions;

/// Keys of some kinds only; `host`, `port` and `kind` are everybody's, what stands in other sections too is not listed.
const PARTICULAR: [&str; 22] = [
    "user",
    "username",
    "password",
    "database",
    "path",
    "query",
    "sslmode",
    "tls",
    "ca",
    "client_certificate",
    "client_key",
    "insecure",
    "headers",
    "method",
    "expect",
    "bearer",
    "service",
    "key",
    "min",
    "free",
    "command",
    "role",
];

/// Every key that names a target; which of them mean something depends on its kind.
pub(super) const KEYS: [&str; 27] = Keys::joined(&[&["url", "kind", "variables", "host", "port"], &PARTICULAR]);

/// What the section wrote about the target, in any of the ways.
struct Written<'s, 'c> {
    section: &'s Section<'c>,
    address: Address,
    user: Option<Text>,
    password: Option<Secret>,
    host: Option<Text>,
    port: Option<u16>,
    database: Option<Text>,
    path: Option<Text>,
    service: Option<Text>,
    sslmode: Option<Text>,
    tls: TlsOptions,
}

/// What is wrong was said.
struct Said;

/// Reads the target of a check; none when it is wrong, or at [`Depth::Form`] when it cannot be told.
pub(super) fn read(section: &Section<'_>) -> Option<Target> {
    if section.has("targets") {
        return http::several(section);
    }
    let kind = section.text("kind");
    let (url, host, port) = (section.text("url"), section.nonempty("host"), section.port("port"));
    let (user, username) = (section.nonempty("user"), section.nonempty("username"));
    let (database, path, sslmode) = (database_text(section), section.nonempty("path"), section.nonempty("sslmode"));
    let (service, password) = (section.nonempty("service"), section.secret("password"));
    if user.is_some() && username.is_some() {
        section.problem("username", "says the same as `user`; keep one of them");
    }
    let tls = TlsOptions::read(section);
    let http = http::options(section);
    let by_variables = section.has("variables");
    if !by_variables && !section.has("url") && !section.has("kind") {
        section.problem("url", "is missing: name the target by `url`, or by `kind`, `host` and `port`");
        return None;
    }
    if let Some(other) = ["url", "kind"].into_iter().find(|key| by_variables && section.has(key)) {
        section.problem("variables", format!("says what kind of Redis it is, and so does `{other}`; keep one of them"));
        return None;
    }
    let own = url.as_ref().and_then(|url| Some((url, own::scheme(&url.value())?)));
    if let Some((url, scheme)) = own {
        for key in PARTICULAR.iter().chain(&["kind", "host", "port"]).filter(|key| section.has(key)) {
            section.problem(key, format!("means nothing beside a url of kind {scheme}"));
        }
        return own::read(section, url, scheme);
    }
    let mut address = match (&url, section.has("url")) {
        _ if by_variables && section.depth() == Depth::Form => return None,
        _ if by_variables => variables::address(section)?,
        (Some(text), _) => match Address::parse(&address::assemble(text)) {
            Ok(address) => address,
            Err(why) => {
                section.problem("url", why);
                return None;
            }
        },
        (None, true) => return None,
        (None, false) => Address::default(),
    };
    if let Some(password) = &address.password {
        let _ = Secret::new(password);
    }
    let mut scheme = address.scheme.clone();
    if let Some(kind) = &kind {
        let kind = kind.value();
        if !scheme.is_empty() && family(&scheme) != family(&kind) {
            section.problem("kind", format!("is `{kind}`, but the url begins with `{scheme}://`"));
            return None;
        }
        // `kind = "redis"` beside a url of `rediss://` takes nothing away from it.
        if scheme.is_empty() || !says_tls(&scheme) {
            scheme = kind;
        }
    } else if scheme.is_empty() {
        return None;
    }
    if section.depth() == Depth::Form {
        return None;
    }
    // From here on a kind has one name.
    scheme = own_name(&scheme).to_owned();
    address.scheme.clone_from(&scheme);
    if let Some(query) = section.nonempty("query") {
        let own = address.query.take().map(|own| format!("{own}&")).unwrap_or_default();
        address.query = Some(format!("{own}{}", query.value().trim_start_matches(['?', '&'])));
    }
    if !address.more.is_empty() && !["redis+sentinel", "redis+cluster", "postgres", "amqp", "mongodb", "kafka"].contains(&family(&scheme)) {
        section.problem("url", "names several hosts, which is not supported for this kind");
        return None;
    }
    let written = Written { section, address, user: user.or(username), password, host, port, database, path, service, sslmode, tls };
    written.target(&scheme, http)
}

/// Whether a URL's scheme says that TLS is spoken.
pub(super) fn is_secure(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| says_tls(&scheme.to_ascii_lowercase()))
}

/// `database` is a name, or a number for Redis.
fn database_text(section: &Section<'_>) -> Option<Text> {
    match &section.node("database")?.value {
        Value::Integer(number) => Some(Text::literal(number.to_string())),
        _ => section.nonempty("database"),
    }
}

impl Written<'_, '_> {
    fn target(self, scheme: &str, http: HttpOptions) -> Option<Target> {
        const LOGIN: [&str; 3] = ["user", "username", "password"];
        const HTTP: [&str; 4] = ["headers", "method", "expect", "bearer"];
        const FILES: [&str; 3] = ["ca", "client_certificate", "client_key"];
        let fit = |groups: &[&[&str]]| {
            for key in PARTICULAR.iter().filter(|key| self.section.has(key) && !groups.iter().any(|group| group.contains(key))) {
                // The heartbeat's own key is not the registry's.
                if *key != "key" || self.section.path() != "heartbeat" {
                    self.section.problem(key, format!("means nothing to a target of kind {}", family(scheme)));
                }
            }
        };
        match family(scheme) {
            "tcp" | "dns" | "process" => fit(&[]),
            "unix" | "file" => fit(&[&["path"]]),
            "disk" => fit(&[&["path", "free"]]),
            "exec" => fit(&[&["command"]]),
            "http" => fit(&[&LOGIN, &HTTP, &FILES, &["path", "tls", "insecure"]]),
            "grpc" => fit(&[&FILES, &["service", "tls", "insecure"]]),
            "amqp" => fit(&[&LOGIN, &FILES, &["database", "tls", "insecure"]]),
            "postgres" => fit(&[&LOGIN, &FILES, &["database", "sslmode", "role", "query"]]),
            "mysql" => fit(&[&LOGIN, &FILES, &["database", "sslmode", "path", "query"]]),
            "redis" => fit(&[&LOGIN, &FILES, &["database", "tls", "insecure", "path"]]),
            "redis+sentinel" => fit(&[&LOGIN, &FILES, &["database", "tls", "insecure", "service"]]),
            "redis+cluster" | "mongodb" | "kafka" => fit(&[&LOGIN, &FILES, &["tls", "insecure"]]),
            "redis+ready" => fit(&[&LOGIN, &FILES, &["database", "tls", "insecure", "service", "key", "min"]]),
            _ => {}
        }
        match family(scheme) {
            "tcp" => self.tcp(),
            "unix" => self.file("path").map(Target::Unix),
            "file" => self.file("path").map(Target::File),
            "dns" => self.dns(),
            "disk" => self.disk(),
            "exec" => self.exec(),
            "process" => Some(Target::Process),
            "http" => self.http(http),
            "grpc" => self.grpc(),
            "amqp" => self.amqp(),
            "mongodb" => self.mongodb(),
            "kafka" => self.kafka(),
            "postgres" => self.postgres(),
            "mysql" => self.mysql(),
            "redis" => self.redis().map(Target::Redis),
            "redis+sentinel" => self.sentinel(),
            "redis+cluster" => self.cluster(),
            "redis+ready" => self.ready(),
            unknown => {
                let key = if self.section.has("kind") { "kind" } else { "url" };
                self.section.problem(key, kinds::unknown(unknown));
                None
            }
        }
    }

    /// The key at fault when an address is wrong.
    fn key(&self, part: &'static str) -> &'static str {
        let whole = ["url", "variables"].into_iter().find(|key| self.section.has(key));
        whole.filter(|_| !self.section.has(part)).unwrap_or(part)
    }

    /// Host and port, the parts before the URL, with a port of last resort.
    fn place(&self, default_port: Option<u16>) -> Option<target::Address> {
        let host = self.host.as_ref().map_or_else(|| self.address.host.clone(), Text::value);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map_or(host.clone(), str::to_owned);
        if host.is_empty() {
            self.section.problem(self.key("host"), "names no host");
            return None;
        }
        if let Err(why) = address::check_host(&host) {
            self.section.problem(self.key("host"), why);
            return None;
        }
        let Some(port) = self.port.or(self.address.port).or(default_port) else {
            if !self.section.has("port") {
                self.section.problem(self.key("port"), "names no port");
            }
            return None;
        };
        Some(target::Address { host, port })
    }

    fn user(&self) -> Option<String> {
        self.user.as_ref().map(Text::value).or_else(|| self.address.user.clone())
    }

    fn password(&self) -> Option<Secret> {
        self.password.clone().or_else(|| self.address.password.clone().map(Secret::new))
    }

    /// The database's name, the part before the URL; an empty one is none.
    fn database(&self) -> Result<Option<String>, Said> {
        if let Some(database) = &self.database {
            return Ok(Some(database.value()));
        }
        match self.address.database() {
            Ok(database) => Ok(Some(database).filter(|database| !database.is_empty())),
            Err(why) => {
                self.section.problem("url", why);
                Err(Said)
            }
        }
    }

    fn tcp(self) -> Option<Target> {
        if !matches!(self.address.path.as_str(), "" | "/") || self.address.user.is_some() {
            self.section.problem("url", "has more than `tcp://host:port`");
        }
        self.address.parameters().iter().for_each(|(name, value)| self.ignored(name, value));
        self.place(None).map(Target::Tcp)
    }

    /// `grpc://host:port`, the service's name behind it.
    fn grpc(self) -> Option<Target> {
        let service = match &self.service {
            Some(service) => service.value(),
            None => self.address.path.trim_matches('/').to_owned(),
        };
        if service.len() > 1000 || service.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.section.problem(self.key("service"), "names no service");
        }
        self.address.parameters().iter().for_each(|(name, value)| self.ignored(name, value));
        let secure = self.address.scheme == "grpcs";
        let tls = self.tls.chosen(self.section, secure);
        Some(Target::Grpc(GrpcTarget { address: self.place(None)?, service, tls }))
    }
}

#[cfg(test)]
mod tests;
