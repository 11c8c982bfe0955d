//! A Redis from an application's variables: alone, behind Sentinels, in a Cluster, with TLS.
//!
//! The names and their order of precedence are Dify's (`REDIS_USE_SENTINEL` before `REDIS_USE_CLUSTERS` before `REDIS_HOST`), the
//! prefix is whatever the key `variables` says.

use super::AlreadyReported;
use crate::config::interpolate::{Findings, Template};
use crate::config::reader::{Section, TRUTHS, truth};
use crate::config::target::TargetKeys;
use crate::plan::resolve::target_url::{ParsedUrl, place_of};

/// The variables under one prefix.
struct RedisVariables<'s, 'c> {
    section: &'s Section<'c>,
    prefix: String,
}

/// The address in the variables of `variables = "PREFIX"`; none after reporting errors.
pub(super) fn address(section: &Section<'_>, keys: &TargetKeys) -> Option<ParsedUrl> {
    let prefix = keys.variables.value().map(|prefix| prefix.trim_end_matches('_').to_owned());
    let named = |prefix: &String| prefix.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !prefix.is_empty();
    let Some(prefix) = prefix.filter(named) else {
        section.problem("variables", "has to be the prefix of the variables, for example `REDIS` for REDIS_HOST and so on");
        return None;
    };
    RedisVariables { section, prefix }.address().ok()
}

impl RedisVariables<'_, '_> {
    fn address(&self) -> Result<ParsedUrl, AlreadyReported> {
        if self.flag("USE_SENTINEL")? {
            self.sentinel()
        } else if self.flag("USE_CLUSTERS")? {
            self.cluster()
        } else {
            self.one()
        }
    }

    fn one(&self) -> Result<ParsedUrl, AlreadyReported> {
        let host = self.text("HOST")?.unwrap_or_else(|| "localhost".to_owned());
        let port = self.text("PORT")?.map(|port| format!(":{port}")).unwrap_or_default();
        // A name, or an IPv6 address with its colons; an existing port is kept.
        let bare = if host.parse::<std::net::Ipv6Addr>().is_ok() { format!("[{host}]{port}") } else { format!("{host}{port}") };
        let mut query = vec![("db", self.text("DB")?)];
        let secure = self.flag("USE_SSL")?;
        if secure {
            let demands = self.text("SSL_CERT_REQS")?.unwrap_or_default().to_ascii_uppercase();
            if matches!(demands.as_str(), "CERT_REQUIRED" | "CERT_OPTIONAL") {
                query.push(("ssl_ca_certs", self.text("SSL_CA_CERTS")?));
            } else {
                let notice = format!("{0}_USE_SSL without {0}_SSL_CERT_REQS=CERT_REQUIRED: the certificate is not verified", self.prefix);
                self.section.context().notice(notice);
                query.push(("ssl_cert_reqs", Some("none".to_owned())));
            }
            query.extend([("ssl_certfile", self.text("SSL_CERTFILE")?), ("ssl_keyfile", self.text("SSL_KEYFILE")?)]);
        }
        let login = (self.text("USERNAME")?, self.text("PASSWORD")?);
        self.put_together(if secure { "rediss" } else { "redis" }, &format!("HOST with {}_PORT", self.prefix), &bare, login, &query)
    }

    fn sentinel(&self) -> Result<ParsedUrl, AlreadyReported> {
        let (hosts, service) = (self.needed("SENTINELS", "USE_SENTINEL")?, self.needed("SENTINEL_SERVICE_NAME", "USE_SENTINEL")?);
        let query = vec![
            ("service", Some(service)),
            ("db", self.text("DB")?),
            ("sentinel_user", self.text("SENTINEL_USERNAME")?),
            ("sentinel_password", self.text("SENTINEL_PASSWORD")?),
        ];
        self.put_together("redis+sentinel", "SENTINELS", &hosts, (self.text("USERNAME")?, self.text("PASSWORD")?), &query)
    }

    fn cluster(&self) -> Result<ParsedUrl, AlreadyReported> {
        let hosts = self.needed("CLUSTERS", "USE_CLUSTERS")?;
        self.put_together("redis+cluster", "CLUSTERS", &hosts, (None, self.text("CLUSTERS_PASSWORD")?), &[])
    }

    /// The address of these hosts; `from` is their variable.
    fn put_together(
        &self,
        scheme: &str,
        from: &str,
        hosts: &str,
        (user, password): (Option<String>, Option<String>),
        query: &[(&str, Option<String>)],
    ) -> Result<ParsedUrl, AlreadyReported> {
        let places = hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(place_of).collect::<Result<Vec<_>, _>>();
        let mut places = match places {
            Ok(places) => places.into_iter(),
            Err(why) => {
                self.section.problem("variables", format!("finds that {}_{from} {why}", self.prefix));
                return Err(AlreadyReported);
            }
        };
        let (host, port) = places.next().unwrap_or_default();
        let mut encoded = url::form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(query.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
        let query = Some(encoded.finish());
        Ok(ParsedUrl { scheme: scheme.to_owned(), user, password, host, port, more: places.collect(), path: String::new(), query })
    }

    /// The value of a variable; none if it is unset or empty.
    fn text(&self, name: &str) -> Result<Option<String>, AlreadyReported> {
        let written = format!("${{{}_{name}:-}}", self.prefix);
        let mut findings = Findings::default();
        let text = Template::parse(&written).map_err(|_| AlreadyReported)?.expand(self.section.context().environment, &mut findings);
        findings.notices.into_iter().for_each(|notice| self.section.context().notice(notice));
        for why in &findings.problems {
            self.section.problem("variables", format!("finds that {why}"));
        }
        if findings.problems.is_empty() { Ok(Some(text.value()).filter(|value| !value.is_empty())) } else { Err(AlreadyReported) }
    }

    fn needed(&self, name: &str, by: &str) -> Result<String, AlreadyReported> {
        let found = self.text(name)?;
        if found.is_none() {
            self.section.problem("variables", format!("finds {0}_{by}, but {0}_{name} is not set", self.prefix));
        }
        found.ok_or(AlreadyReported)
    }

    fn flag(&self, name: &str) -> Result<bool, AlreadyReported> {
        let value = self.text(name)?.unwrap_or_default();
        truth(&value).ok_or_else(|| {
            self.section.problem("variables", format!("finds {}_{name} to be `{value}`; expected {TRUTHS}", self.prefix));
            AlreadyReported
        })
    }
}
