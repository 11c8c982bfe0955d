//! Redis by URL and by parts, alone, behind Sentinels, in a Cluster, and the registry in it.

use super::parameters::{plain, truth};
use super::tls::absolute;
use super::{AlreadyReported, Written};
use crate::plan::target::{Address, ClusterTarget, ReadyTarget, RedisTarget, SentinelTarget, Target};
use crate::secret::Secret;

/// The parsed parameters of a Redis URL.
#[derive(Default)]
struct Parameters {
    database: Option<String>,
    service: Option<String>,
    key: Option<String>,
    min: Option<String>,
    sentinel: (Option<String>, Option<Secret>),
}

impl Written<'_, '_> {
    pub(super) fn redis(mut self) -> Option<RedisTarget> {
        let parameters = self.parameters(&["db"]);
        if self.address.scheme == "redis+unix" || self.keys.path.0.is_some() {
            let path = self.file("path")?.to_string_lossy().into_owned();
            let written = self.database_part().or(parameters.database);
            return self.redis_at(Address { host: path, port: 0 }, written);
        }
        let (place, database) = (self.place(Some(6379)), self.numbered(parameters.database).ok()?);
        self.redis_at(place?, database)
    }

    /// `redis+sentinel://host:port,host:port/name/database`.
    pub(super) fn sentinel(mut self) -> Option<Target> {
        let parameters = self.parameters(&["db", "service", "sentinel_user", "sentinel_password"]);
        let (name, database) = self.address.path.strip_prefix('/').unwrap_or_default().split_once('/').map_or_else(
            || (self.address.path.trim_matches('/').to_owned(), None),
            |(name, database)| (name.to_owned(), Some(database.to_owned())),
        );
        let service = self.keys.service.value().or(parameters.service).unwrap_or(name);
        if service.is_empty() {
            self.section.problem(
                self.key("service"),
                "does not name the master that the sentinels monitor, for example `/mymaster` after the hosts",
            );
        }
        let sentinels = self.places(26379)?;
        let database = self.database_part().or(database.filter(|text| !text.is_empty())).or(parameters.database);
        let master = self.redis_at(sentinels.first()?.clone(), database)?;
        Some(Target::Sentinel(SentinelTarget { sentinels, service, sentinel_login: parameters.sentinel, master }))
    }

    pub(super) fn cluster(mut self) -> Option<Target> {
        self.parameters(&[]);
        if !matches!(self.address.path.as_str(), "" | "/" | "/0") {
            self.section.problem("url", "names a database; a cluster has only number 0");
        }
        let nodes = self.places(6379)?;
        let login = self.redis_at(nodes.first()?.clone(), None)?;
        Some(Target::Cluster(ClusterTarget { nodes, login }))
    }

    /// `redis+ready://host:port/database?service=api&min=2`.
    pub(super) fn ready(mut self) -> Option<Target> {
        let parameters = self.parameters(&["db", "service", "key", "min"]);
        let service = self.keys.service.value().or(parameters.service);
        let key = self.keys.key.value().or(parameters.key);
        let Some(key) = key.or_else(|| service.map(|service| format!("{service}_service_status"))) else {
            self.section.problem(self.key("service"), "names no service; add for example `?service=api`");
            return None;
        };
        let min = match (self.keys.min, parameters.min.map(|text| text.parse::<u64>())) {
            (Some(min), _) => min.get().unsigned_abs(),
            (None, None) => 1,
            (None, Some(Ok(min @ 1..=1_000_000))) => min,
            (None, Some(_)) => {
                self.section.problem("url", "has a parameter `min` that is not a whole number from 1 on");
                return None;
            }
        };
        let (place, database) = (self.place(Some(6379)), self.numbered(parameters.database).ok()?);
        Some(Target::Ready(ReadyTarget { redis: self.redis_at(place?, database)?, key, min }))
    }

    /// All hosts of the URL, or the host of the parts.
    fn places(&self, default_port: u16) -> Option<Vec<Address>> {
        let first = self.place(Some(default_port))?;
        let more = self.address.more.iter().map(|(host, port)| Address { host: host.clone(), port: port.unwrap_or(default_port) });
        Some(std::iter::once(first).chain(more).collect())
    }

    /// The database's number: from the part, else the parameter `db`, else the URL's path, as in redis-py.
    fn numbered(&self, parameter: Option<String>) -> Result<Option<String>, AlreadyReported> {
        let written = self.database()?;
        Ok(if self.database_part().is_some() { written } else { parameter.or(written) })
    }

    fn redis_at(&self, address: Address, database: Option<String>) -> Option<RedisTarget> {
        let Ok(database) = database.map_or(Ok(0), |database| database.parse::<u32>()) else {
            self.section.problem(self.key("database"), "names a database that is not a number");
            return None;
        };
        let tls = self.tls.chosen(self.section, self.secure);
        Some(RedisTarget { address, username: self.user(), password: self.password(), database, tls })
    }

    /// Reads the supported parameters; those about TLS have the names of redis-py.
    fn parameters(&mut self, known: &[&str]) -> Parameters {
        let mut found = Parameters::default();
        let (mut certificate, mut key) = (None, None);
        for (name, value) in self.address.parameters() {
            match name.as_str() {
                // The user and password before the host take precedence.
                "username" if self.address.user.is_none() => self.address.user = Some(value).filter(|user| !user.is_empty()),
                "password" if self.address.password.is_none() => {
                    self.address.password = Some(value).filter(|password| !password.is_empty());
                }
                "username" | "password" => {}
                "ssl" | "tls" if truth(&value) == Some(true) => self.tls.wanted = Some(true),
                "ssl_min_version" => self.lowest_tls(&name, &value),
                "ssl_ca_certs" => self.tls.ca = Some(absolute(&value)),
                "ssl_certfile" => certificate = Some(absolute(&value)),
                "ssl_keyfile" => key = Some(absolute(&value)),
                "ssl_cert_reqs" if value.to_ascii_lowercase().ends_with("none") => self.tls.insecure = true,
                // The client knows only two modes, so `optional` verifies, too.
                "ssl_cert_reqs" if matches!(plain(&value).trim_start_matches("cert"), "required" | "optional") => {}
                known_elsewhere if !known.contains(&known_elsewhere) => self.ignored(&name, &value),
                "db" => found.database = Some(value),
                "service" => found.service = Some(value),
                "key" => found.key = Some(value),
                "min" => found.min = Some(value),
                "sentinel_user" => found.sentinel.0 = Some(value),
                "sentinel_password" => found.sentinel.1 = Some(Secret::new(value)),
                _ => self.ignored(&name, &value),
            }
        }
        self.take_identity(certificate, key);
        found
    }
}
