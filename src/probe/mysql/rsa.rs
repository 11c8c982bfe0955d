//! Encrypts a password for one MySQL server: RSA with OAEP and SHA-1, like its clients (MySQL: caching SHA-2 pluggable authentication).
//!
//! It only encrypts with a public key, so the known attack on the library's private key operations (RUSTSEC-2023-0071) does not apply.

use std::io::Read;
use std::path::Path;

use ::rsa::PublicKey;
use ::rsa::pkcs8::DecodePublicKey;
use sha1::Sha1;

use crate::outcome::{ErrorKind, Failure};

/// The maximum length of a key: one of 8192 bits takes 1.5 KiB.
const LONGEST_KEY: u64 = 16 * 1024;

/// The password, combined with the server's challenge and encrypted with its key (PEM).
pub(super) fn seal(key: &str, password: &str, challenge: &[u8]) -> Result<Vec<u8>, Failure> {
    if challenge.is_empty() {
        return Err(Failure::new(ErrorKind::Protocol, "the server sends no challenge"));
    }
    // The server ends its own file with a NUL.
    let key = PublicKey::from_public_key_pem(key.trim_end_matches(|c: char| c == '\0' || c.is_whitespace()))
        .map_err(|error| Failure::new(ErrorKind::Protocol, &format!("the server's public key is invalid: {error}")))?;
    let plain = password.as_bytes().iter().chain(&[0]);
    let mixed: Vec<u8> = plain.zip(challenge.iter().cycle()).map(|(one, other)| one ^ other).collect();
    key.oaep_encrypt::<Sha1>(&mixed)
        .map_err(|error| Failure::new(ErrorKind::Protocol, &format!("the server's public key cannot encrypt: {error}")))
}

/// The key in a file.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LONGEST_KEY).read_to_string(&mut text));
    read.map_err(|error| Failure::new(ErrorKind::Auth, &format!("cannot read the server's public key of {}: {error}", path.display())))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_key_is_refused_and_nothing_is_sent() {
        for key in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "hunter2"] {
            assert_eq!(seal(key, "secret", b"12345678901234567890").unwrap_err().kind, ErrorKind::Protocol);
        }
    }
}
