//! The second half of a login to a MySQL: the requests of the server until it accepts the login.

use super::handshake::proof;
use super::refusal::refusal;
use super::{Wire, rsa};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{MysqlTarget, ServerKey};

/// The maximum number of packets of a login.
const MOST_PACKETS: usize = 16;

/// The requests for the server's key (MySQL: packets of the authentication plugins).
const CACHING_WANTS_KEY: u8 = 2;
const SHA256_WANTS_KEY: u8 = 1;

/// The security of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// Only the server can read it: its certificate was verified, or it is a unix socket.
    Proven,
    /// Encrypted, but the peer is not verified.
    Encrypted,
    /// Readable by any host in between.
    Clear,
}

/// Answers the requests of the server until it accepts the login. `challenge` is that of the greeting.
pub(super) async fn finish(wire: &mut Wire, target: &MysqlTarget, challenge: &[u8], channel: Channel) -> Result<(), Failure> {
    let password = target.password.as_ref().map_or("", |password| password.expose());
    let plain = || [password.as_bytes(), &[0]].concat();
    let mut challenge = challenge.to_vec();
    for _ in 0..MOST_PACKETS {
        let packet = wire.receive().await?;
        match packet.as_slice() {
            [0x00, ..] => return Ok(()),
            [0xff, rest @ ..] => return Err(refusal(rest)),
            // Another authentication method, with its own challenge.
            [0xfe, rest @ ..] => {
                let mut parts = rest.splitn(2, |byte| *byte == 0);
                let plugin = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
                let own = parts.next().unwrap_or_default();
                challenge = own.strip_suffix(&[0]).unwrap_or(own).to_vec();
                match plugin.as_str() {
                    "sha256_password" if password.is_empty() || channel != Channel::Clear => wire.send(&plain()).await?,
                    "sha256_password" => encrypted(wire, target, password, &challenge, SHA256_WANTS_KEY).await?,
                    // In clear, and only to a verified server: the clients of MySQL even have to enable that explicitly.
                    "mysql_clear_password" if channel == Channel::Proven => wire.send(&plain()).await?,
                    "mysql_clear_password" => {
                        let words = "the server requires the password in clear (mysql_clear_password), which is sent only over TLS with a verified \
                                     certificate (sslmode=verify-full) or a unix socket only";
                        return Err(Failure::new(ErrorKind::Auth, words));
                    }
                    plugin => wire.send(&proof(plugin, password, &challenge)?).await?,
                }
            }
            // caching_sha2_password: the password is cached (3), or the server requires it (4).
            [0x01, 3] => {}
            [0x01, 4] if channel != Channel::Clear => wire.send(&plain()).await?,
            [0x01, 4] => encrypted(wire, target, password, &challenge, CACHING_WANTS_KEY).await?,
            _ => return Err(Failure::new(ErrorKind::Protocol, "the peer does not speak MySQL")),
        }
    }
    Err(Failure::new(ErrorKind::Protocol, "the login does not end"))
}

/// Sends the password encrypted with the server's key, which is requested by `request` unless a file has it.
async fn encrypted(wire: &mut Wire, target: &MysqlTarget, password: &str, challenge: &[u8], request: u8) -> Result<(), Failure> {
    let key = match &target.server_key {
        ServerKey::None => {
            let words = "the server requires the password itself, which is sent over TLS, over a unix socket, or encrypted with the server's key, whose \
                         retrieval the url forbids";
            return Err(Failure::new(ErrorKind::Auth, words));
        }
        ServerKey::File(path) => rsa::read(path)?,
        ServerKey::Requested => {
            wire.send(&[request]).await?;
            match wire.receive().await?.as_slice() {
                [0x01, key @ ..] => String::from_utf8_lossy(key).into_owned(),
                [0xff, rest @ ..] => return Err(refusal(rest)),
                _ => return Err(Failure::new(ErrorKind::Protocol, "the server does not send its key")),
            }
        }
    };
    let sealed = rsa::seal(&key, password, challenge)?;
    wire.send(&sealed).await
}
