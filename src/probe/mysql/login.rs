//! The second half of a login to a MySQL: what the server asks until it lets us in.

use super::handshake::proof;
use super::refusal::refusal;
use super::{Wire, rsa};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{MysqlTarget, ServerKey};

/// More packets than this are no login.
const MOST_PACKETS: usize = 16;

/// By which the server's key is asked for (MySQL: the authentication plugins' own packets).
const CACHING_WANTS_KEY: u8 = 2;
const SHA256_WANTS_KEY: u8 = 1;

/// Who can read what is sent over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// Only the server, whose certificate was verified, or who is on this host behind its unix socket.
    Proven,
    /// Only who answers, whoever that is.
    Encrypted,
    /// Anybody in between.
    Clear,
}

/// Answers what the server asks until it lets us in. `challenge` is that of the greeting.
pub(super) async fn finish(wire: &mut Wire, target: &MysqlTarget, challenge: &[u8], channel: Channel) -> Result<(), Failure> {
    let password = target.password.as_ref().map_or("", |password| password.expose());
    let plain = || [password.as_bytes(), &[0]].concat();
    let mut challenge = challenge.to_vec();
    for _ in 0..MOST_PACKETS {
        let packet = wire.receive().await?;
        match packet.as_slice() {
            [0x00, ..] => return Ok(()),
            [0xff, rest @ ..] => return Err(refusal(rest)),
            // Another way to prove the password, with a challenge of its own.
            [0xfe, rest @ ..] => {
                let mut parts = rest.splitn(2, |byte| *byte == 0);
                let plugin = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
                let own = parts.next().unwrap_or_default();
                challenge = own.strip_suffix(&[0]).unwrap_or(own).to_vec();
                match plugin.as_str() {
                    "sha256_password" if password.is_empty() || channel != Channel::Clear => wire.send(&plain()).await?,
                    "sha256_password" => encrypted(wire, target, password, &challenge, SHA256_WANTS_KEY).await?,
                    // As it is, and to nobody but the server: the clients of MySQL want to be told to do even that.
                    "mysql_clear_password" if channel == Channel::Proven => wire.send(&plain()).await?,
                    "mysql_clear_password" => {
                        let words = "the server wants the password in clear (mysql_clear_password), which is told over TLS with a verified \
                                     certificate (sslmode=verify-full) or a unix socket only";
                        return Err(Failure::new(ErrorKind::Auth, words));
                    }
                    plugin => wire.send(&proof(plugin, password, &challenge)?).await?,
                }
            }
            // caching_sha2_password: it remembers us (3), or wants the password itself (4).
            [0x01, 3] => {}
            [0x01, 4] if channel != Channel::Clear => wire.send(&plain()).await?,
            [0x01, 4] => encrypted(wire, target, password, &challenge, CACHING_WANTS_KEY).await?,
            _ => return Err(Failure::new(ErrorKind::Protocol, "the peer does not speak MySQL")),
        }
    }
    Err(Failure::new(ErrorKind::Protocol, "the login does not end"))
}

/// Sends the password encrypted by the server's key, which is asked for by `request` unless a file has it.
async fn encrypted(wire: &mut Wire, target: &MysqlTarget, password: &str, challenge: &[u8], request: u8) -> Result<(), Failure> {
    let key = match &target.server_key {
        ServerKey::None => {
            let words = "the server wants the password itself, which is told over TLS, over a unix socket, or by the server's key, whose \
                         retrieval the url forbids";
            return Err(Failure::new(ErrorKind::Auth, words));
        }
        ServerKey::File(path) => rsa::read(path)?,
        ServerKey::Requested => {
            wire.send(&[request]).await?;
            match wire.receive().await?.as_slice() {
                [0x01, key @ ..] => String::from_utf8_lossy(key).into_owned(),
                [0xff, rest @ ..] => return Err(refusal(rest)),
                _ => return Err(Failure::new(ErrorKind::Protocol, "the server does not tell its key")),
            }
        }
    };
    let sealed = rsa::seal(&key, password, challenge)?;
    wire.send(&sealed).await
}
