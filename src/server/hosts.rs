//! The host of a request: exactly one (RFC 9112, 3.2), and an allowed one if the configuration has `hosts`.

use std::net::{IpAddr, Ipv6Addr};

use hyper::Version;
use hyper::header::{self, HeaderValue};
use hyper::http::uri::Authority;

/// The status for a request that is not for this server; none if it is.
pub(super) fn refusal<B>(request: &hyper::Request<B>, hosts: &[String]) -> Option<(u16, &'static str)> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let (host, more) = (named.next(), named.next().is_some());
    if more || (host.is_none() && request.version() >= Version::HTTP_11) {
        return Some((400, "exactly one Host header is required\n"));
    }
    let authority = match host.map(HeaderValue::as_bytes) {
        // Empty for a target without authority (RFC 9110, 7.2).
        None | Some(b"") => None,
        Some(host) => match Authority::try_from(host) {
            Ok(authority) if !authority.as_str().contains('@') => Some(authority),
            _ => return Some((400, "the Host header is empty\n")),
        },
    };
    if hosts.is_empty() {
        return None;
    }
    // The authority of an absolute target overrides the header (RFC 9112, 3.2.2).
    let name = request.uri().authority().or(authority.as_ref()).map(Authority::host).unwrap_or_default();
    (!is_meant(name, hosts)).then_some((421, "this host name is not allowed: see `hosts` in [health]\n"))
}

/// Whether `name` is allowed. IP addresses always are: a DNS rebinding attack needs a name in its Host header.
fn is_meant(name: &str, hosts: &[String]) -> bool {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_address = bare.map_or_else(|| name.parse::<IpAddr>().is_ok(), |name| name.parse::<Ipv6Addr>().is_ok());
    is_address || name.eq_ignore_ascii_case("localhost") || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(version: Version, uri: &str, hosts: &[&str], own: &[&str]) -> Option<u16> {
        let mut request = hyper::Request::builder().version(version).uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let own: Vec<String> = own.iter().map(|&host| host.to_owned()).collect();
        refusal(&request.body(()).unwrap(), &own).map(|(status, _)| status)
    }

    #[test]
    fn one_host_and_where_hosts_are_named_one_of_those() {
        let (new, old, own) = (Version::HTTP_11, Version::HTTP_10, ["health.example"]);
        for (version, uri, hosts, own, expected) in [
            (new, "/", &[][..], &[][..], Some(400)),
            (new, "/", &["a", "a"], &[], Some(400)),
            (new, "/", &["a b"], &[], Some(400)),
            (new, "/", &["me@a"], &[], Some(400)),
            (new, "/", &[""], &[], None),
            (new, "/", &["anything:80"], &[], None),
            (old, "/", &[], &[], None),
            (old, "/", &["a", "b"], &[], Some(400)),
            (new, "/", &["Health.Example:8051"], &own, None),
            (new, "/", &["evil.example"], &own, Some(421)),
            (new, "/", &[""], &own, Some(421)),
            (old, "/", &[], &own, Some(421)),
            (new, "/", &["10.0.0.5:8051"], &own, None),
            (new, "/", &["[fe80::1]:8051"], &own, None),
            (new, "/", &["localhost"], &own, None),
            (new, "http://evil.example/", &["health.example"], &own, Some(421)),
        ] {
            assert_eq!(refused(version, uri, hosts, own), expected, "{version:?} {uri} {hosts:?} {own:?}");
        }
    }
}
