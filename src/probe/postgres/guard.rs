//! Inspects the bytes of a login before the driver gets them: whether the peer is a PostgreSQL, and requests the password only in an
//! allowed way.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::hooked_stream::{HookedStream, StreamHook};
use crate::plan::target::AuthMethods;
use crate::probe::bounded::Bounded;
use crate::probe::dial::Duplex;

/// The violation of the server; empty without one.
pub(super) type Breach = Arc<OnceLock<&'static str>>;

/// A stream whose first byte has to be a valid first byte of a PostgreSQL, and on which only allowed authentication methods pass.
///
/// Without the former, the driver would wait for a peer with another protocol, because it reads the first bytes as the length of a huge
/// message. The latter has to be below the driver, which answers a password request at once.
pub(super) type Guard = HookedStream<Bounded<Box<dyn Duplex>>, Watch>;

/// Inspects a login with these allowed methods; none: all methods.
pub(super) fn guard(stream: Bounded<Box<dyn Duplex>>, methods: Option<AuthMethods>) -> (Guard, Breach) {
    let breach = Breach::default();
    (Guard::new(stream, Watch { breach: Arc::clone(&breach), ..Watch::new(methods) }), breach)
}

impl<S> StreamHook<S> for Watch {
    fn read(&mut self, come: &[u8]) -> io::Result<()> {
        let words = match self.look(come) {
            Ok(()) => return Ok(()),
            Err(Wrong::NotPostgres) => "the peer does not speak PostgreSQL",
            Err(Wrong::Breach(words)) => {
                let _ = self.breach.set(words);
                words
            }
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, words))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    NotPostgres,
    Breach(&'static str),
}

/// Follows the messages of the server up to the end of the login: a kind, a length that counts itself, a body.
#[derive(Debug)]
pub(super) struct Watch {
    breach: Breach,
    methods: Option<AuthMethods>,
    /// The header of the current message: its kind, its length, for an `R` also its code.
    head: Vec<u8>,
    /// The rest of a body to skip.
    skip: usize,
    begun: bool,
    /// Whether the server requested authentication.
    requested: bool,
    over: bool,
}

impl Watch {
    /// Authentication, error, notice, negotiation of the version.
    const GREETINGS: &[u8] = b"RENv";

    fn new(methods: Option<AuthMethods>) -> Self {
        Self { breach: Breach::default(), methods, head: Vec::new(), skip: 0, begun: false, requested: false, over: false }
    }

    fn look(&mut self, mut bytes: &[u8]) -> Result<(), Wrong> {
        while let (false, Some((first, rest))) = (self.over, bytes.split_first()) {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                (self.skip, bytes) = (self.skip.saturating_sub(passed), bytes.get(passed..).unwrap_or_default());
                continue;
            }
            if !self.begun && !Self::GREETINGS.contains(first) {
                return Err(Wrong::NotPostgres);
            }
            self.begun = true;
            self.head.push(*first);
            bytes = rest;
            self.message()?;
        }
        Ok(())
    }

    /// Checks the message once enough of it is received.
    fn message(&mut self) -> Result<(), Wrong> {
        let Some((kind, rest)) = self.head.split_first() else { return Ok(()) };
        let Some((length, code)) = rest.split_first_chunk::<4>() else { return Ok(()) };
        let body = (u32::from_be_bytes(*length) as usize).checked_sub(4).ok_or(Wrong::NotPostgres)?;
        if *kind != b'R' {
            (self.skip, self.head) = (body, Vec::new());
            return Ok(());
        }
        let Some((code, _)) = code.split_first_chunk::<4>() else { return Ok(()) };
        let code = u32::from_be_bytes(*code);
        (self.skip, self.head) = (body.checked_sub(4).ok_or(Wrong::NotPostgres)?, Vec::new());
        self.authentication(code)
    }

    /// The codes of the protocol's authentication messages (PostgreSQL: message formats).
    fn authentication(&mut self, code: u32) -> Result<(), Wrong> {
        let allowed = |word| self.methods.is_none_or(|methods| methods.has(word));
        let (allowed, words) = match code {
            0 => {
                self.over = true;
                (self.requested || allowed("none"), "the server accepts the login without authentication, which require_auth forbids")
            }
            3 => (allowed("password"), "the server requires the password in clear, which require_auth forbids"),
            5 => (allowed("md5"), "the server requires an MD5 of the password, which require_auth forbids"),
            7 | 8 => (allowed("gss"), "the server requires a login by GSSAPI, which require_auth forbids"),
            9 => (allowed("sspi"), "the server requires a login by SSPI, which require_auth forbids"),
            10 => (allowed("scram-sha-256"), "the server requires a login by SCRAM, which require_auth forbids"),
            // The further steps of SCRAM, which began with 10.
            11 | 12 => (self.requested, "the server continues a login that it did not begin"),
            _ => (self.methods.is_none(), "the server requires a login of another kind, which require_auth forbids"),
        };
        self.requested |= code != 0;
        if allowed { Ok(()) } else { Err(Wrong::Breach(words)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind][..], &(body.len() as u32).saturating_add(4).to_be_bytes(), body].concat()
    }

    fn authentication(code: u32) -> Vec<u8> {
        message(b'R', &code.to_be_bytes())
    }

    fn verdict(methods: Option<&str>, bytes: &[u8], chunk: usize) -> Result<(), Wrong> {
        let mut watch = Watch::new(methods.map(|list| AuthMethods::parse(list).unwrap()));
        bytes.chunks(chunk).try_for_each(|chunk| watch.look(chunk))
    }

    #[test]
    fn the_password_is_requested_in_allowed_ways_only_however_the_bytes_come() {
        let notice = message(b'N', b"SNOTICE\0\0");
        let clear = [notice.clone(), authentication(3), authentication(0)].concat();
        let scram = [notice, message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"), message(b'R', b"\0\0\0\x0br=x"), authentication(0)].concat();
        for chunk in 1..clear.len() {
            for (methods, bytes, well) in [
                (None, &clear, true),
                (Some("password"), &clear, true),
                (Some("!md5"), &clear, true),
                (Some("scram-sha-256"), &clear, false),
                (Some("!password"), &clear, false),
                (Some("scram-sha-256"), &scram, true),
                (Some("none"), &scram, false),
                (Some("scram-sha-256"), &authentication(0), false),
                (Some("none,md5"), &authentication(0), true),
                (Some("scram-sha-256"), &authentication(12), false),
                (Some("scram-sha-256"), &authentication(99), false),
            ] {
                assert_eq!(verdict(methods, bytes, chunk).is_ok(), well, "{methods:?} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn a_server_that_cannot_begin_a_login_is_not_a_postgres() {
        for bytes in [&b"HTTP/1.1 400"[..], b"R\0\0\0\x02", b"R\0\0\0\x06\0\0\0\0", b"E\0\0\0\0"] {
            assert_eq!(verdict(None, bytes, 1), Err(Wrong::NotPostgres), "{bytes:?}");
        }
        // After the login anything may follow.
        assert_eq!(verdict(Some("none"), &[authentication(0), b"HTTP".to_vec()].concat(), 3), Ok(()));
    }
}
