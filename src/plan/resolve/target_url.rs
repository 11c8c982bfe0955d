//! A target's URL: built with each interpolated value encoded for its place, and parsed.

use std::net::Ipv6Addr;

use percent_encoding::{percent_decode_str, utf8_percent_encode};

use crate::config::interpolate::{Piece, Text};
use crate::secret::{URL_SEGMENTS as SEGMENTS, URL_VALUE as VALUE};

/// A parsed URL; it may contain a password, so it cannot be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct ParsedUrl {
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// Decoded, without brackets; empty when none was given.
    pub host: String,
    pub port: Option<u16>,
    /// Further hosts and ports, after commas.
    pub more: Vec<(String, Option<u16>)>,
    /// As written: encoded, with its first `/`.
    pub path: String,
    /// As written, without its `?`.
    pub query: Option<String>,
}

/// The place of a value in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UrlPart {
    Scheme,
    User,
    Host,
    /// In the brackets of an IPv6 address.
    Bracket,
    Port,
    Path,
    Query,
}

/// The URL of `text`; a text that is only one variable, or was never interpolated, is not changed.
pub(super) fn assemble(text: &Text) -> String {
    put_together(text).0
}

/// The same, if a variable in the place of the port has to be a port, and the whole text a URL.
pub(super) fn assemble_strictly(text: &Text) -> Result<String, &'static str> {
    let (url, ports) = put_together(text);
    if ports.iter().any(|port| port.parse::<u16>().is_err()) {
        return Err("has a variable for its port that is no number from 0 to 65535");
    }
    if text.pieces().len() > 1 {
        ParsedUrl::parse(&url)?;
    }
    Ok(url)
}

/// The URL, and what variables gave for its ports.
fn put_together(text: &Text) -> (String, Vec<&str>) {
    let (pieces, mut url, mut ports) = (text.pieces(), String::new(), Vec::new());
    if let [only] = pieces {
        return (only.value.clone(), ports);
    }
    for (index, piece) in pieces.iter().enumerate() {
        if piece.interpolated {
            let following = pieces.get(index + 1..).unwrap_or_default();
            let place = place(&url, following);
            if place == UrlPart::Port {
                ports.push(piece.value.as_str());
            }
            let encoded = encode(&piece.value, place, &url, following);
            url.push_str(&encoded);
        } else {
            url.push_str(&piece.value);
        }
    }
    (url, ports)
}

/// The place of the value after `before`, derived from the text before and after it.
fn place(before: &str, following: &[Piece]) -> UrlPart {
    let Some((_, rest)) = before.split_once("://") else { return UrlPart::Scheme };
    if rest.contains(['?', '#']) {
        return UrlPart::Query;
    }
    if rest.contains('/') {
        return UrlPart::Path;
    }
    let written = following.iter().filter(|piece| !piece.interpolated);
    let next_mark = written.flat_map(|piece| piece.value.chars()).find(|c| matches!(c, '/' | '?' | '#' | '@'));
    if next_mark == Some('@') {
        return UrlPart::User;
    }
    let host = rest.rsplit('@').next().unwrap_or_default();
    match (host.rfind('['), host.rfind(']'), host.rfind(':')) {
        (Some(_), None, _) => UrlPart::Bracket,
        (_, bracket, Some(colon)) if bracket.is_none_or(|bracket| bracket < colon) => UrlPart::Port,
        _ => UrlPart::Host,
    }
}

fn encode(value: &str, place: UrlPart, before: &str, following: &[Piece]) -> String {
    let set = match place {
        UrlPart::Scheme | UrlPart::Bracket | UrlPart::Port => return value.to_owned(),
        UrlPart::Host => {
            let port_follows = following.first().is_some_and(|piece| !piece.interpolated && piece.value.starts_with(':'));
            if value.parse::<Ipv6Addr>().is_ok() {
                return format!("[{value}]");
            }
            let with_port = value.rsplit_once(':').is_some_and(|(host, port)| !host.contains(['/', '@']) && port.parse::<u16>().is_ok());
            if (with_port && !port_follows) || value.strip_prefix('[').is_some_and(|rest| rest.ends_with(']')) {
                return value.to_owned();
            }
            VALUE
        }
        UrlPart::Path if before.starts_with("http") => SEGMENTS,
        UrlPart::User | UrlPart::Path | UrlPart::Query => VALUE,
    };
    utf8_percent_encode(value, set).to_string()
}

impl ParsedUrl {
    /// Parses `url`. The error message never repeats any part of it, because a misplaced part may belong to a password.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let url = url.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
        let (scheme, rest) = url.ok_or("is not a URL of the form `kind://host:port`")?;
        let behind = rest.find(['/', '?', '#']).and_then(|end| rest.get(end..)).unwrap_or_default();
        if behind.contains('@') && !scheme.to_ascii_lowercase().starts_with("http") {
            return Err("has an `@` after its host; in a password `@`, `:`, `/`, `?` and `#` have to be percent-encoded");
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query.to_owned())));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (userinfo, host) = authority.rsplit_once('@').map_or((None, authority), |(userinfo, host)| (Some(userinfo), host));
        let (user, password) = match userinfo.map(|userinfo| userinfo.split_once(':').unwrap_or((userinfo, ""))) {
            Some((user, password)) => (some_decoded(user)?, some_decoded(password)?),
            None => (None, None),
        };
        let mut places = host.split(',').map(place_of).collect::<Result<Vec<_>, _>>()?.into_iter();
        let (host, port) = places.next().unwrap_or_default();
        Ok(Self { scheme: scheme.to_ascii_lowercase(), user, password, host, port, more: places.collect(), path: path.to_owned(), query })
    }

    /// The query's names and values, decoded.
    pub(super) fn parameters(&self) -> Vec<(String, String)> {
        self.query.as_deref().map(|query| url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()).unwrap_or_default()
    }

    /// The whole path, decoded: that of a file.
    pub(super) fn file(&self) -> Result<std::path::PathBuf, &'static str> {
        if !self.host.is_empty() || !self.path.starts_with('/') {
            return Err("has to have three slashes and a path, for example `kind:///path`");
        }
        decoded(&self.path).map(std::path::PathBuf::from)
    }

    /// The path after its first `/`, decoded.
    pub(super) fn database(&self) -> Result<String, &'static str> {
        let name = self.path.strip_prefix('/').unwrap_or_default();
        if name.contains('/') {
            return Err("has more than a database after its host");
        }
        decoded(name)
    }
}

/// One host with its port, in URL syntax.
pub(super) fn place_of(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(host) => {
            let (host, port) = host.split_once(']').ok_or("has a `[` without its `]`")?;
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" => None,
        port => Some(port.parse().ok().filter(|port| *port > 0).ok_or(
            "has a port that is not a number from 1 to 65535; in a password `@`, `:`, `/`, `?` and `#` have to be percent-encoded",
        )?),
    };
    let host = decoded(host)?;
    check_host(&host)?;
    Ok((host, port))
}

/// Whether `host` can be a name, an IP address or the directory of a unix socket.
pub(super) fn check_host(host: &str) -> Result<(), &'static str> {
    let named = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.starts_with('/')
        || host.parse::<Ipv6Addr>().is_ok()
        || host.split_once('%').is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok())
    {
        return Ok(());
    }
    if host.chars().all(named) { Ok(()) } else { Err("has a host that is neither a name nor an address") }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| "has a percent-encoded part that is not UTF-8")
}

fn some_decoded(text: &str) -> Result<Option<String>, &'static str> {
    decoded(text).map(|text| Some(text).filter(|text| !text.is_empty()))
}

/// `value`, encoded for the user part of a URL.
pub(super) fn encode_user(value: &str) -> String {
    utf8_percent_encode(value, VALUE).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::interpolate::{Findings, Template};
    use crate::config::source::Environment;

    fn url(text: &str, variables: &[(&str, &str)]) -> String {
        assemble(&Template::parse(text).unwrap().expand(&Environment::new(variables.iter().copied()), &mut Findings::default()))
    }

    #[test]
    fn a_value_is_encoded_for_the_place_where_it_stands() {
        for (text, value, expected) in [
            ("redis://:${V}@h:1/0", "a@b:c/d?e#f%g", "redis://:a%40b%3Ac%2Fd%3Fe%23f%25g@h:1/0"),
            ("postgres://${V}@h/x", "me", "postgres://me@h/x"),
            ("redis://${V}:1/0", "fe80::1", "redis://[fe80::1]:1/0"),
            ("redis://[${V}]:1/0", "fe80::1", "redis://[fe80::1]:1/0"),
            ("redis://${V}/0", "cache:6380", "redis://cache:6380/0"),
            ("redis://${V}:1/0", "cache:6380", "redis://cache%3A6380:1/0"),
            ("postgres://u@${V}/x", "/run/postgresql", "postgres://u@%2Frun%2Fpostgresql/x"),
            ("postgres://h/${V}", "a/b", "postgres://h/a%2Fb"),
            ("http://h/${V}?x", "a b/c", "http://h/a%20b/c?x"),
            ("http://h/?x=${V}&y", "a&b=c", "http://h/?x=a%26b%3Dc&y"),
            ("tcp://h:${V}", "80", "tcp://h:80"),
            ("${V}", "redis://u:p@h/0", "redis://u:p@h/0"),
            ("${U:-redis://:${V}@h/0}", "p@q", "redis://:p%40q@h/0"),
        ] {
            assert_eq!(url(text, &[("V", value)]), expected, "{text}");
        }
    }

    #[test]
    fn a_url_is_parsed_or_refused_without_repeating_it() {
        let address = ParsedUrl::parse("Redis://u%40:p%2F@[::1]:6380/2?a=b%20c#f").unwrap();
        assert_eq!((address.scheme.as_str(), address.user.as_deref(), address.password.as_deref()), ("redis", Some("u@"), Some("p/")));
        assert_eq!((address.host.as_str(), address.port, address.database()), ("::1", Some(6380), Ok("2".to_owned())));
        assert_eq!(address.parameters(), [("a".to_owned(), "b c".to_owned())]);
        for wrong in [
            "db:5432",
            "://db:5432",
            "redis://u:pa#ss@h",
            "redis://u:12#pass@h",
            "redis://u:pa/ss@h",
            "redis://h:0",
            "redis://[::1",
            "redis://h%ff/0",
            "tcp://a b:1",
        ] {
            let problem = ParsedUrl::parse(wrong).err().unwrap();
            assert!(!problem.contains("pass/") && !problem.contains("`pa"), "{problem}");
        }
        assert!(ParsedUrl::parse("postgres://user/pa@h/x").is_err());
        assert!(ParsedUrl::parse("http://h/@me").is_ok());
    }

    proptest! {
        #[test]
        fn any_password_user_and_database_survive(user in "\\PC+", password in "\\PC+", database in "\\PC*") {
            let variables = [("U", user.as_str()), ("P", password.as_str()), ("D", database.as_str())];
            let address = ParsedUrl::parse(&url("postgres://${U}:${P}@db:5432/${D}", &variables)).unwrap();
            prop_assert_eq!(address.user.as_deref(), Some(user.as_str()));
            prop_assert_eq!(address.password.as_deref(), Some(password.as_str()));
            prop_assert_eq!(address.database().unwrap(), database);
            prop_assert_eq!((address.host.as_str(), address.port), ("db", Some(5432)));
        }
    }
}
