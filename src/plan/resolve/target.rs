//! The target of a check, from its URL, from its parts, or from a URL with parts that override it.

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
use crate::config::reader::{Depth, Section};
use crate::config::target::TargetKeys;
use crate::config::values::Number;
use crate::plan::resolve::target_url::{self, ParsedUrl};
use crate::plan::target::{self, GrpcTarget, Target};
use crate::secret::Secret;
use http::HttpOptions;
pub(super) use http::several;
use kinds::TargetKind;
use tls::TlsOptions;

/// The keys of every target; beside a complete URL they are a mistake.
const EVERYBODYS: [&str; 5] = ["url", "kind", "variables", "host", "port"];

/// The keys of the target, in any form.
struct Written<'s, 'c> {
    section: &'s Section<'c>,
    keys: &'s TargetKeys,
    address: ParsedUrl,
    /// Whether the name of its kind implies TLS.
    secure: bool,
    tls: TlsOptions,
    http: HttpOptions,
}

/// The error has been reported.
struct AlreadyReported;

/// Reads the target of `keys` in `section`; none if it has errors, or at [`Depth::Syntax`] if it cannot be determined.
pub(super) fn read(section: &Section<'_>, keys: &TargetKeys) -> Option<Target> {
    if keys.user.0.is_some() && keys.username.0.is_some() {
        section.problem("username", "is the same as `user`; keep one of them");
    }
    let (tls, http) = (TlsOptions::read(section, keys), HttpOptions::read(section, keys));
    if section.depth() == Depth::Syntax {
        own::form(section);
    }
    let by_variables = section.has("variables");
    if !by_variables && !section.has("url") && !section.has("kind") {
        section.problem("url", "is missing: name the target by `url`, or by `kind`, `host` and `port`");
        return None;
    }
    if let Some(other) = ["url", "kind"].into_iter().find(|key| by_variables && section.has(key)) {
        section.problem("variables", format!("excludes `{other}`: both say what kind of Redis it is; keep one of them"));
        return None;
    }
    let own = keys.url.as_ref().and_then(|url| Some((url, own::scheme(&url.value())?)));
    if let Some((url, scheme)) = own {
        for key in beside(section, &["url"]) {
            section.problem(key, format!("has no effect beside a url of kind {scheme}"));
        }
        return own::read(section, url, scheme);
    }
    let mut address = match &keys.url {
        _ if by_variables && section.depth() == Depth::Syntax => return None,
        _ if by_variables => variables::address(section, keys)?,
        Some(text) => ParsedUrl::parse(&target_url::assemble(text)).map_err(|why| section.problem("url", why)).ok()?,
        None if section.has("url") => return None,
        None => ParsedUrl::default(),
    };
    if let Some(password) = &address.password {
        let _ = Secret::new(password);
    }
    let word = keys.kind.as_ref().map(Text::value);
    let secure = kinds::is_tls_scheme(&address.scheme) || word.as_deref().is_some_and(kinds::is_tls_scheme);
    match word {
        Some(word) if address.scheme.is_empty() => address.scheme = word,
        Some(word) if !kinds::same(&address.scheme, &word) => {
            section.problem("kind", format!("is `{word}`, but the url begins with `{}://`", address.scheme));
            return None;
        }
        // Its value is unknown, or has errors.
        None if address.scheme.is_empty() => return None,
        _ => {}
    }
    if section.depth() == Depth::Syntax {
        return None;
    }
    let Some(kind) = TargetKind::of(&address.scheme) else {
        section.problem(if section.has("kind") { "kind" } else { "url" }, kinds::unknown(&address.scheme));
        return None;
    };
    if let Some(query) = keys.query.value() {
        let own = address.query.take().map(|own| format!("{own}&")).unwrap_or_default();
        address.query = Some(format!("{own}{}", query.trim_start_matches(['?', '&'])));
    }
    if !address.more.is_empty() && !kind.several {
        section.problem("url", "names several hosts, which is not supported for this kind");
        return None;
    }
    // The `key` of the heartbeat is not that of a registry target.
    let own = |key: &str| key == "key" && section.path() == "heartbeat";
    for key in beside(section, &EVERYBODYS).filter(|key| !kind.takes(key) && !own(key)) {
        section.problem(key, format!("has no effect for a target of kind {}", kind.name()));
    }
    (kind.target)(Written { section, keys, address, secure, tls, http })
}

/// Checks the form of keys that only some kinds have, in a target that is not determined.
pub(super) fn form(section: &Section<'_>, keys: &TargetKeys) {
    HttpOptions::read(section, keys);
    own::form(section);
}

/// The keys of a target in the section besides these.
pub(super) fn beside<'s>(section: &'s Section<'_>, these: &'s [&str]) -> impl Iterator<Item = &'s str> {
    let of_target = |key: &&str| EVERYBODYS.contains(key) || kinds::is_particular(key);
    section.entries().map(|entry| entry.key.as_str()).filter(of_target).filter(|key| !these.contains(key))
}

/// Whether the scheme of a URL implies TLS.
pub(super) fn is_secure(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| kinds::is_tls_scheme(&scheme.to_ascii_lowercase()))
}

impl Written<'_, '_> {
    /// The key at fault when an address is wrong.
    fn key(&self, part: &'static str) -> &'static str {
        let whole = ["url", "variables"].into_iter().find(|key| self.section.has(key));
        whole.filter(|_| !self.section.has(part)).unwrap_or(part)
    }

    /// Host and port; parts override the URL; with a default port.
    fn place(&self, default_port: Option<u16>) -> Option<target::Address> {
        let host = self.keys.host.value().unwrap_or_else(|| self.address.host.clone());
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map_or(host.clone(), str::to_owned);
        if host.is_empty() {
            self.section.problem(self.key("host"), "names no host");
            return None;
        }
        if let Err(why) = target_url::check_host(&host) {
            self.section.problem(self.key("host"), why);
            return None;
        }
        let Some(port) = self.port().or(default_port) else {
            self.section.problem(self.key("port"), "names no port");
            return None;
        };
        Some(target::Address { host, port })
    }

    fn user(&self) -> Option<String> {
        self.keys.user.value().or_else(|| self.keys.username.value()).or_else(|| self.address.user.clone())
    }

    /// The part of that name, the URL's port.
    fn port(&self) -> Option<u16> {
        self.keys.port.0.and_then(Number::to).or(self.address.port)
    }

    fn password(&self) -> Option<Secret> {
        self.keys.password.0.clone().or_else(|| self.address.password.clone().map(Secret::new))
    }

    /// The part `database`.
    fn database_part(&self) -> Option<String> {
        self.keys.database.0.as_ref().map(|database| database.0.value())
    }

    /// The database's name; the part overrides the URL; none if empty.
    fn database(&self) -> Result<Option<String>, AlreadyReported> {
        if let Some(database) = self.database_part() {
            return Ok(Some(database));
        }
        match self.address.database() {
            Ok(database) => Ok(Some(database).filter(|database| !database.is_empty())),
            Err(why) => {
                self.section.problem("url", why);
                Err(AlreadyReported)
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

    /// `grpc://host:port`, with the service's name as path.
    fn grpc(self) -> Option<Target> {
        let service = self.keys.service.value().unwrap_or_else(|| self.address.path.trim_matches('/').to_owned());
        if service.len() > 1000 || service.chars().any(|c| c.is_control() || c.is_whitespace()) {
            self.section.problem(self.key("service"), "names no service");
        }
        self.address.parameters().iter().for_each(|(name, value)| self.ignored(name, value));
        let tls = self.tls.chosen(self.section, self.secure);
        Some(Target::Grpc(GrpcTarget { address: self.place(None)?, service, tls }))
    }
}

#[cfg(test)]
mod tests;
