//! The greeting of a MySQL server, and the authentication with a password.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use sha2::{Digest, Sha256};

use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::MysqlTarget;

const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DATABASE: u32 = 8;
const PROTOCOL_41: u32 = 0x200;
const TLS: u32 = 0x800;
const TRANSACTIONS: u32 = 0x2000;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x8_0000;

/// utf8mb4_general_ci, supported by every server since MySQL 5.5.
const CHARACTER_SET: u8 = 45;

/// The greeting of the server (protocol version 10).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    capabilities: u32,
    challenge: Vec<u8>,
    plugin: String,
}

impl Greeting {
    /// Parses a greeting; none if it is not one.
    pub(super) fn parse(packet: &[u8]) -> Option<Self> {
        let rest = packet.strip_prefix(&[10])?;
        let version_ends = rest.iter().position(|byte| *byte == 0)?;
        // After the version, its end and the connection's number.
        let rest = rest.get(version_ends..)?.get(5..)?;
        let (first, rest) = rest.split_at_checked(8)?;
        let [_, low, middle, _, _, _, high, top, length, rest @ ..] = rest else { return None };
        let capabilities = u32::from_le_bytes([*low, *middle, *high, *top]);
        let rest = rest.get(10..)?;
        let mut challenge = first.to_vec();
        let length = usize::from(*length).saturating_sub(8).max(13);
        let (second, rest) = rest.split_at_checked(length.min(rest.len()))?;
        challenge.extend_from_slice(second.strip_suffix(&[0]).unwrap_or(second));
        let plugin = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        let plugin = if plugin.is_empty() { "mysql_native_password".to_owned() } else { String::from_utf8_lossy(plugin).into_owned() };
        (capabilities & PROTOCOL_41 != 0).then_some(Self { capabilities, challenge, plugin })
    }

    pub(super) fn challenge(&self) -> &[u8] {
        &self.challenge
    }

    pub(super) const fn offers_tls(&self) -> bool {
        self.capabilities & TLS != 0
    }

    /// The beginning of a login that requests TLS.
    pub(super) fn tls_request(&self, target: &MysqlTarget) -> Vec<u8> {
        self.head(target, true)
    }

    /// The login, with the authentication for the server's default plugin; the server requests another one if the user has another plugin.
    pub(super) fn login(&self, target: &MysqlTarget, encrypted: bool) -> Result<Vec<u8>, Failure> {
        let password = target.password.as_ref().map_or("", |password| password.expose());
        // An unknown default plugin may not be that of this user: then the server requests another one.
        let (plugin, proof) = match proof(&self.plugin, password, &self.challenge) {
            Ok(proof) => (self.plugin.as_str(), proof),
            Err(_) => ("mysql_native_password", proof("mysql_native_password", password, &self.challenge)?),
        };
        let mut packet = self.head(target, encrypted);
        for text in [Some(&target.user), target.database.as_ref()].into_iter().flatten() {
            if text.contains('\0') {
                return Err(Failure::new(ErrorKind::Auth, "the name of a user or a database must not contain a NUL byte"));
            }
        }
        packet.extend_from_slice(target.user.as_bytes());
        packet.push(0);
        packet.push(proof.len() as u8);
        packet.extend_from_slice(&proof);
        if let Some(database) = &target.database {
            packet.extend_from_slice(database.as_bytes());
            packet.push(0);
        }
        packet.extend_from_slice(plugin.as_bytes());
        packet.push(0);
        Ok(packet)
    }

    fn head(&self, target: &MysqlTarget, encrypted: bool) -> Vec<u8> {
        let mut wanted = LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH;
        if encrypted {
            wanted |= TLS;
        }
        if target.database.is_some() {
            wanted |= CONNECT_WITH_DATABASE;
        }
        let mut head = (wanted & (self.capabilities | LONG_PASSWORD)).to_le_bytes().to_vec();
        head.extend_from_slice(&(1_u32 << 24).to_le_bytes());
        head.push(CHARACTER_SET);
        head.extend_from_slice(&[0; 23]);
        head
    }
}

/// The authentication for `plugin` that does not reveal the password.
pub(super) fn proof(plugin: &str, password: &str, challenge: &[u8]) -> Result<Vec<u8>, Failure> {
    let password = password.as_bytes();
    match plugin {
        "mysql_native_password" | "caching_sha2_password" if password.is_empty() => Ok(Vec::new()),
        "mysql_native_password" => {
            let once = sha1(&[password]);
            Ok(xor(&once, &sha1(&[challenge, &sha1(&[&once])])))
        }
        "caching_sha2_password" => {
            let once = sha256(&[password]);
            Ok(xor(&once, &sha256(&[&sha256(&[&once]), challenge])))
        }
        other => Err(Failure::new(
            ErrorKind::Auth,
            &format!(
                "the server requires the authentication {other}, which is not supported; give the user a password of caching_sha2_password, sha256_password or mysql_native_password"
            ),
        )),
    }
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

fn sha256(parts: &[&[u8]]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().to_vec()
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    #[test]
    fn proofs_are_those_of_the_field() {
        let challenge: Vec<u8> = (1..=20).collect();
        assert_eq!(hex(&proof("mysql_native_password", "secret", &challenge).unwrap()), NATIVE);
        assert_eq!(hex(&proof("caching_sha2_password", "secret", &challenge).unwrap()), CACHING);
        assert_eq!(proof("mysql_native_password", "", &challenge).unwrap(), b"");
        assert!(proof("mysql_clear_password", "secret", &challenge).is_err());
        assert_eq!(proof("client_ed25519", "secret", &challenge).unwrap_err().kind, ErrorKind::Auth);
    }

    const NATIVE: &str = "b32bb3a583e1340c0a1108d58b1be49781ad8c2f";
    const CACHING: &str = "746ebe205d56a0707acb3e796e834e0dd7b1d61743b26bd5202c7a623230c7c9";

    #[test]
    fn a_truncated_greeting_is_refused() {
        let mut packet = vec![10];
        packet.extend_from_slice(b"10.11.6-MariaDB\0\x01\0\0\x0012345678\0");
        packet.extend_from_slice(&[0xfe, 0xf7, 45, 2, 0, 0xff, 0x81, 21]);
        packet.extend_from_slice(&[0; 10]);
        packet.extend_from_slice(b"abcdefghijkl\0mysql_native_password\0");
        let greeting = Greeting::parse(&packet).unwrap();
        assert_eq!((greeting.challenge.as_slice(), greeting.plugin.as_str()), (&b"12345678abcdefghijkl"[..], "mysql_native_password"));
        for length in 0..packet.len() {
            let _ = Greeting::parse(&packet[..length]);
        }
        assert_eq!(Greeting::parse(&packet[..30]), None);
    }
}
