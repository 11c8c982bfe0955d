//! What a check asks, from its URL, from its parts, or from a URL with parts on top.

use crate::config::interpolate::{Text, looks_secret};
use crate::config::node::{Node, Value};
use crate::config::problem::{Problem, suggest};
use crate::config::reader::{Depth, Keys, Section};
use crate::plan::resolve::address::{self, Address};
use crate::plan::target::{self, Expect, HttpTarget, PostgresTarget, RedisTarget, Target};
use crate::secret::Secret;

/// Kinds of a target that there are.
const KINDS: [&str; 4] = ["http", "postgres", "redis", "tcp"];

/// Kinds that the documentation names and this version cannot ask yet.
const LATER: [&str; 16] = [
    "https",
    "rediss",
    "redis+unix",
    "redis+sentinel",
    "redis+cluster",
    "redis+ready",
    "mysql",
    "mariadb",
    "grpc",
    "grpcs",
    "unix",
    "file",
    "dns",
    "exec",
    "process",
    "disk",
];

/// Parameters of a PostgreSQL URL that change nothing about whether the server answers.
const IDLE_PARAMETERS: [&str; 5] = ["application_name", "client_encoding", "connect_timeout", "options", "target_session_attrs"];

/// Keys that only an HTTP target has.
const HTTP_ONLY: [&str; 4] = ["headers", "method", "expect", "bearer"];

const EXPECT: Keys = Keys { known: &["status", "body", "json"], later: &[] };

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
    sslmode: Option<Text>,
}

/// Reads the target of a check; none when it is wrong, or at [`Depth::Form`] when it cannot be told.
pub(super) fn read(section: &Section<'_>) -> Option<Target> {
    let kind = section.text("kind");
    let (url, host, port) = (section.text("url"), section.nonempty("host"), section.port("port"));
    let (user, username) = (section.nonempty("user"), section.nonempty("username"));
    let (database, path, sslmode) = (database_text(section), section.nonempty("path"), section.nonempty("sslmode"));
    let password = section.secret("password");
    if user.is_some() && username.is_some() {
        section.problem("username", "says the same as `user`; keep one of them");
    }
    if section.boolean("tls") == Some(true) {
        section.problem("tls", "is not supported yet");
    }
    let http = http_options(section);
    if !section.has("url") && !section.has("kind") {
        section.problem("url", "is missing: name the target by `url`, or by `kind`, `host` and `port`");
        return None;
    }
    let mut address = match (&url, section.has("url")) {
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
    if let Some(kind) = &kind {
        let kind = kind.value();
        if !address.scheme.is_empty() && family(&address.scheme) != family(&kind) {
            section.problem("kind", format!("is `{kind}`, but the url begins with `{}://`", address.scheme));
            return None;
        }
        address.scheme = kind;
    } else if address.scheme.is_empty() {
        return None;
    }
    let scheme = address.scheme.clone();
    let written = Written { section, address, user: user.or(username), password, host, port, database, path, sslmode };
    if section.depth() == Depth::Form {
        return None;
    }
    let unfit = |keys: &[&str]| {
        for key in keys.iter().filter(|key| section.has(key)) {
            section.problem(key, format!("means nothing to a target of kind {}", family(&scheme)));
        }
    };
    match family(&scheme) {
        "tcp" => {
            unfit(&HTTP_ONLY);
            unfit(&["user", "username", "password", "database", "path", "sslmode"]);
            written.tcp()
        }
        "http" => {
            unfit(&["database", "sslmode"]);
            written.http(http)
        }
        "postgres" => {
            unfit(&HTTP_ONLY);
            unfit(&["path"]);
            written.postgres()
        }
        "redis" => {
            unfit(&HTTP_ONLY);
            unfit(&["path", "sslmode"]);
            written.redis()
        }
        unknown => {
            let key = if section.has("kind") { "kind" } else { "url" };
            let problem = if LATER.contains(&unknown) {
                format!("is of kind `{unknown}`, which is not supported yet")
            } else {
                format!("is of the unknown kind `{unknown}`{}", suggest(unknown, KINDS))
            };
            section.problem(key, problem);
            None
        }
    }
}

/// The kind that a scheme means: `postgresql+psycopg2` is `postgres`.
fn family(scheme: &str) -> &str {
    match scheme.split('+').next().unwrap_or(scheme) {
        "postgres" | "postgresql" => "postgres",
        "mysql" => "mysql",
        _ => scheme,
    }
}

/// `database` is a name, or a number for Redis.
fn database_text(section: &Section<'_>) -> Option<Text> {
    match &section.node("database")?.value {
        Value::Integer(number) => Some(Text::literal(number.to_string())),
        _ => section.nonempty("database"),
    }
}

impl Written<'_, '_> {
    /// The key at fault when an address is wrong.
    fn key(&self, part: &'static str) -> &'static str {
        if self.section.has(part) || !self.section.has("url") { part } else { "url" }
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

    /// The database's name, the part before the URL; it may be empty. None when the URL is wrong there.
    fn database(&self) -> Option<String> {
        if let Some(database) = &self.database {
            return Some(database.value());
        }
        match self.address.database() {
            Ok(database) => Some(database),
            Err(why) => {
                self.section.problem("url", why);
                None
            }
        }
    }

    fn tcp(self) -> Option<Target> {
        if !matches!(self.address.path.as_str(), "" | "/") || self.address.user.is_some() {
            self.section.problem("url", "has more than `tcp://host:port`");
        }
        self.place(None).map(Target::Tcp)
    }

    fn redis(self) -> Option<Target> {
        for (name, _) in self.address.parameters() {
            self.section.context().notice(format!("{}: the parameter `{name}` is ignored", self.section.what("url")));
        }
        let (place, database) = (self.place(Some(6379)), self.database()?);
        let number = if database.is_empty() { Ok(0) } else { database.parse::<u32>() };
        let Ok(database) = number else {
            self.section.problem(self.key("database"), "names a database that is not a number");
            return None;
        };
        Some(Target::Redis(RedisTarget { address: place?, username: self.user(), password: self.password(), database }))
    }

    /// As libpq reads it: parameters of the query stand above the rest of the URL, the database defaults to the role's name.
    fn postgres(mut self) -> Option<Target> {
        let mut sslmode = None;
        let mut database = self.database()?;
        for (name, value) in self.address.parameters() {
            match name.as_str() {
                "sslmode" => sslmode = Some(value),
                "host" => self.address.host = value,
                "port" => match value.parse() {
                    Ok(port) => self.address.port = Some(port),
                    Err(_) => self.section.problem("url", "has a parameter `port` that is not a number from 1 to 65535"),
                },
                "user" => self.address.user = Some(value),
                "password" => self.address.password = Some(value),
                "dbname" if self.database.is_none() => database = value,
                ssl if ssl.starts_with("ssl") => {
                    self.section.problem("url", format!("has the parameter `{ssl}`, which is not supported yet"));
                }
                idle if IDLE_PARAMETERS.contains(&idle) || idle.starts_with("keepalives") => {}
                other => self.section.context().notice(format!("{}: the parameter `{other}` is ignored", self.section.what("url"))),
            }
        }
        let key = self.key("sslmode");
        match self.sslmode.as_ref().map(Text::value).or(sslmode).as_deref() {
            None | Some("disable" | "allow" | "prefer") => {}
            Some(mode @ ("require" | "verify-ca" | "verify-full")) => {
                self.section.problem(key, format!("asks for sslmode `{mode}`, which is not supported yet"));
            }
            Some(mode) => {
                let known = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
                self.section.problem(key, format!("asks for the unknown sslmode `{mode}`{}", suggest(mode, known)));
            }
        }
        let user = self.user().unwrap_or_else(|| "postgres".to_owned());
        let database = if database.is_empty() { user.clone() } else { database };
        let password = self.password();
        Some(Target::Postgres(PostgresTarget { address: self.place(Some(5432))?, user, password, database }))
    }

    fn http(self, options: HttpOptions) -> Option<Target> {
        let place = self.place(Some(80))?;
        let raw_path = match &self.path {
            Some(path) if !path.value().starts_with('/') => {
                self.section.problem("path", "does not begin with `/`");
                return None;
            }
            Some(path) => path.value(),
            None => self.address.query.as_ref().map_or_else(|| self.address.path.clone(), |query| format!("{}?{query}", self.address.path)),
        };
        let login = match (self.user(), self.password()) {
            (None, None) => String::new(),
            (user, None) => format!("{}@", address::encode_user(&user.unwrap_or_default())),
            (user, Some(password)) => {
                format!("{}:{}@", address::encode_user(&user.unwrap_or_default()), address::encode_user(password.expose()))
            }
        };
        let Ok(url) = url::Url::parse(&format!("http://{login}{place}{raw_path}")) else {
            self.section.problem(self.key("host"), "gives no valid URL");
            return None;
        };
        let mut shown = url.clone();
        // Neither can fail for a URL that has a host.
        let _ = (shown.set_username(""), shown.set_password(None));
        shown.set_query(None);
        let shown = crate::secret::scrub(shown.as_str());
        let HttpOptions { method, headers, expect } = options;
        Some(Target::Http(HttpTarget { url: Secret::unlisted(url.as_str()), shown, method, headers, expect }))
    }
}

/// What only an HTTP target has.
struct HttpOptions {
    method: String,
    headers: Vec<(String, Secret)>,
    expect: Expect,
}

fn http_options(section: &Section<'_>) -> HttpOptions {
    let method = section.nonempty("method").map_or_else(|| "GET".to_owned(), |text| text.value());
    if !method.chars().all(|c| c.is_ascii_uppercase()) {
        section.problem("method", format!("is `{method}`, not a method as `GET` or `HEAD`"));
    }
    let mut headers = Vec::new();
    if let Some(table) = section.table("headers", None) {
        for name in table.entries().map(|entry| entry.key.as_str()) {
            let Some(value) = table.text(name).map(|text| text.value()) else { continue };
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
                table.problem(name, "cannot be sent as a header");
            }
            let secret = looks_secret(name, &value) || ["authorization", "cookie"].contains(&name.to_ascii_lowercase().as_str());
            headers.push((name.to_owned(), if secret { Secret::new(value) } else { Secret::unlisted(value) }));
        }
    }
    if let Some(token) = section.nonempty("bearer") {
        if headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            section.problem("bearer", "and the header `Authorization` exclude each other");
        }
        let token = Secret::new(token.value());
        if token.expose().chars().any(|c| c.is_control() || !c.is_ascii()) {
            section.problem("bearer", "cannot be sent in a header");
        }
        headers.push(("Authorization".to_owned(), Secret::new(format!("Bearer {}", token.expose()))));
    }
    HttpOptions { method, headers, expect: section.table("expect", Some(EXPECT)).map(|section| expectation(&section)).unwrap_or_default() }
}

fn expectation(section: &Section<'_>) -> Expect {
    let status = match section.node("status") {
        Some(Node { value: Value::List(items), .. }) => items.iter().filter_map(|item| status(section, item)).collect(),
        Some(Node { value: Value::Integer(_), .. }) => section.node("status").and_then(|node| status(section, node)).into_iter().collect(),
        Some(Node { value: Value::String(_), .. }) if section.origin("status").is_some_and(crate::config::node::Origin::verbatim) => {
            section.integer("status", 100..=599).and_then(|status| u16::try_from(status).ok()).into_iter().collect()
        }
        Some(_) => {
            section.problem("status", "wants a status as `200`, or a list of them");
            Vec::new()
        }
        None => Vec::new(),
    };
    let mut json = Vec::new();
    if let Some(table) = section.table("json", None) {
        for entry in table.entries() {
            if !entry.key.is_empty() && !entry.key.starts_with('/') {
                table.problem(&entry.key, "is not a JSON pointer: it has to begin with `/`");
            }
            let accepted = match &entry.node.value {
                Value::List(items) => items.iter().filter_map(|item| json_value(section, item)).collect(),
                _ => json_value(section, &entry.node).into_iter().collect(),
            };
            json.push((entry.key.clone(), accepted));
        }
    }
    Expect { status, body: section.nonempty("body").map(|text| text.value()), json }
}

fn status(section: &Section<'_>, node: &Node) -> Option<u16> {
    let status = if let Value::Integer(number) = node.value {
        u16::try_from(number).ok().filter(|number| (100..=599).contains(number))
    } else {
        None
    };
    if status.is_none() {
        let problem = format!("{} holds something that is not a status from 100 to 599", section.what("status"));
        section.context().problem(Problem::at(&node.origin, problem));
    }
    status
}

fn json_value(section: &Section<'_>, node: &Node) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    Some(match &node.value {
        Value::String(_) => Json::String(section.context().text(node, &section.what("json"), section.depth())?.value()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(flag) => Json::Bool(*flag),
        Value::List(items) => Json::Array(items.iter().filter_map(|item| json_value(section, item)).collect()),
        Value::Table(table) => {
            let member = |entry: &crate::config::node::Entry| json_value(section, &entry.node).map(|value| (entry.key.clone(), value));
            Json::Object(table.iter().filter_map(member).collect())
        }
        Value::Datetime => {
            section.context().problem(Problem::at(&node.origin, format!("{} holds a date, which JSON has not", section.what("json"))));
            return None;
        }
    })
}
