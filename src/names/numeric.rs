//! Numeric addresses: IPv4 in the forms of inet_aton(3), IPv6 with or without a zone (RFC 4007, 11).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use nix::net::if_::if_nametoindex;

use super::LookupError;

/// The address that `host` is; none for a name.
pub(super) fn address(host: &str, port: u16) -> Result<Option<SocketAddr>, LookupError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Some(SocketAddr::new(ip, port)));
    }
    if let Some((ip, zone)) = host.split_once('%') {
        let ip: Ipv6Addr = ip.parse().map_err(|_| LookupError::Malformed("the text before the `%` is not an IPv6 address"))?;
        let index = zone.parse().or_else(|_| if_nametoindex(zone));
        let index = index.map_err(|_| LookupError::Malformed("the text after the `%` is not a network interface of this host"))?;
        return Ok(Some(SocketAddrV6::new(ip, port, 0, index).into()));
    }
    Ok(short(host).map(|ip| SocketAddr::new(ip.into(), port)))
}

/// The other forms of inet_aton(3): `127.1`, `0x7f000001`, `0177.0.0.1`.
fn short(host: &str) -> Option<Ipv4Addr> {
    let parts = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, front) = parts.split_last()?;
    let room = 4_u32.checked_sub(front.len() as u32).filter(|bytes| *bytes > 0)? * 8;
    let fits = room == 32 || *last < 1 << room;
    if !fits || front.iter().any(|part| *part > 255) {
        return None;
    }
    let front = front.iter().zip([24, 16, 8]).fold(0, |sum, (part, shift)| sum | part << shift);
    Some(Ipv4Addr::from(front | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    // `from_str_radix` accepts a sign.
    digits.starts_with(|c: char| c.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_no_names() {
        for (host, ip) in [
            ("10.0.0.1", "10.0.0.1:7"),
            ("::1", "[::1]:7"),
            ("127.1", "127.0.0.1:7"),
            ("10.1.2", "10.1.0.2:7"),
            ("0x7f000001", "127.0.0.1:7"),
            ("0177.0.0.01", "127.0.0.1:7"),
            ("4294967295", "255.255.255.255:7"),
            ("fe80::1%1", "[fe80::1%1]:7"),
            ("fe80::1%lo", "[fe80::1%1]:7"),
        ] {
            assert_eq!(address(host, 7).unwrap().map(|address| address.to_string()).as_deref(), Some(ip), "{host}");
        }
        for name in ["db", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "4294967296", "+1", "1.", "0x", "1..2", ""] {
            assert_eq!(address(name, 7), Ok(None), "{name}");
        }
        for wrong in ["db%eth0", "fe80::1%nosuchcard"] {
            assert!(address(wrong, 7).is_err(), "{wrong}");
        }
    }
}
