//! Classifies the errors of a MySQL server and the loss of its connection.

use std::io;

use crate::outcome::{Detail, ErrorKind, Failure};
use crate::probe::dial::kind_of_io;
use crate::probe::tls;

/// An error packet of the server: a number, after the greeting also a SQLSTATE, and a text.
pub(super) fn refusal(rest: &[u8]) -> Failure {
    let Some((number, rest)) = rest.split_first_chunk() else {
        return Failure::new(ErrorKind::Protocol, "the peer does not speak MySQL");
    };
    let number = u16::from_le_bytes(*number);
    let (state, words) = match rest {
        [b'#', rest @ ..] if rest.len() >= 5 => rest.split_at(5),
        rest => (&b""[..], rest),
    };
    let (state, words) = (String::from_utf8_lossy(state), String::from_utf8_lossy(words));
    let kind = kind_of_error(number);
    let detail = match number {
        1040 | 1203 | 1226 => Detail::Full,
        _ if kind == ErrorKind::Missing => Detail::NoDatabase,
        _ => Detail::Plain,
    };
    Failure::new(kind, format!("error {number} {state}: {words}").trim()).because(detail)
}

/// The class of an error number (MySQL's server error reference, MariaDB's alike).
const fn kind_of_error(number: u16) -> ErrorKind {
    match number {
        // User, password, host, right, plugin, expired password, locked account.
        1044 | 1045 | 1130 | 1142 | 1227 | 1251 | 1524 | 1698 | 1820 | 1862 | 2059 | 3118 | 3955 | 4151 => ErrorKind::Auth,
        3159 => ErrorKind::Tls,
        // Unknown database.
        1049 => ErrorKind::Missing,
        // Too many connections, blocked host, shutting down, out of memory, too many of this user, read-only or starting up.
        1040 | 1129 | 1053 | 1037 | 1041 | 1203 | 1226 | 1290 | 3032 | 3168 => ErrorKind::NotReady,
        _ => ErrorKind::Protocol,
    }
}

/// Classifies the end of a connection.
pub(super) fn lost(error: &io::Error) -> Failure {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
        return tls::failure(error);
    }
    Failure::new(kind_of_io(error), &format!("talking to the server: {error}")).once_connected()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_class_and_keeps_its_numbers() {
        let failure = refusal(b"\x15\x04#28000Access denied for user 'app'@'localhost'");
        assert_eq!(failure.kind, ErrorKind::Auth);
        assert_eq!(failure.private.as_str(), "error 1045 28000: Access denied for user 'app'@'localhost'");
        let missing = refusal(b"\x19\x04#42000Unknown database 'app'");
        assert_eq!((missing.kind, missing.detail), (ErrorKind::Missing, Detail::NoDatabase));
        assert_eq!(refusal(b"\x10\x04Too many connections").kind, ErrorKind::NotReady);
        assert_eq!(refusal(b"").kind, ErrorKind::Protocol);
    }
}
