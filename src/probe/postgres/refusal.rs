//! Classifies the errors of a PostgreSQL, or a pooler in front of it, by SQLSTATE and text.

use tokio_postgres::error::SqlState;

use crate::outcome::{Detail, ErrorKind, Reason};

/// Parts of the messages with which pgbouncer, or the server through it, refuses a login.
const REFUSALS_OF_LOGINS: [&str; 9] = [
    "authentication failed",
    "no such user",
    "login rejected",
    "wrong password",
    "not allowed",
    "SSL required",
    "not permitted to log in",
    "no pg_hba.conf entry",
    "permission denied",
];

/// Parts of messages about temporary errors.
const PASSING_REFUSALS: [&str; 8] = [
    "server_login_retry",
    "cannot connect to server",
    "connect failed",
    "query_wait_timeout",
    "pooler",
    "the database system is",
    "shutting down",
    "terminating connection",
];

/// Classifies an error by its SQLSTATE, and by its text if one SQLSTATE has several meanings.
pub(super) fn reason_of_state(state: &SqlState, words: &str) -> Reason {
    let says = |any: &[&str]| any.iter().any(|part| words.contains(part));
    let absent = Reason { kind: ErrorKind::Missing, detail: Detail::NoDatabase };
    match state.code() {
        // The server's, the database's or the role's; a pooler's own limit.
        "53300" => Reason { kind: ErrorKind::NotReady, detail: Detail::Full },
        // pgbouncer uses this SQLSTATE for nearly all of its errors, and 1.18 also for those of the server behind it.
        "08P01" if says(&["no more connections allowed", "too many connections", "too many clients", "connection slots are reserved"]) => {
            Reason { kind: ErrorKind::NotReady, detail: Detail::Full }
        }
        "08P01" if says(&["no such database", "database does not allow connections", "not currently accepting connections"]) => absent,
        "08P01" if says(&["role \"", "user \""]) && says(&["does not exist"]) => ErrorKind::Auth.into(),
        "08P01" if says(&["does not exist"]) => absent,
        "08P01" if says(&REFUSALS_OF_LOGINS) => ErrorKind::Auth.into(),
        "08P01" if says(&PASSING_REFUSALS) => ErrorKind::NotReady.into(),
        // `ALTER DATABASE … ALLOW_CONNECTIONS false`, a template: no client can connect to it.
        "55000" if says(&["not currently accepting connections"]) => absent,
        "3D000" => absent,
        _ => kind_of_state(state).into(),
    }
}

/// The class of a SQLSTATE.
fn kind_of_state(state: &SqlState) -> ErrorKind {
    match state.code() {
        // Role, password or pg_hba line, no right to connect.
        "28000" | "28P01" | "42501" => ErrorKind::Auth,
        // Unknown database.
        "3D000" => ErrorKind::Missing,
        // Too many connections, starting up, shutting down, ended by the administrator: all are temporary.
        code if code.starts_with("53") || code.starts_with("57") => ErrorKind::NotReady,
        _ => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sqlstate_of_a_pooler_means_what_its_words_say() {
        for (code, words, kind, detail) in [
            ("08P01", "SASL authentication failed", ErrorKind::Auth, Detail::Plain),
            ("08P01", "password authentication failed for user \"app\"", ErrorKind::Auth, Detail::Plain),
            ("08P01", "role \"app\" does not exist", ErrorKind::Auth, Detail::Plain),
            ("08P01", "role \"app\" is not permitted to log in", ErrorKind::Auth, Detail::Plain),
            ("08P01", "permission denied for database \"app\"", ErrorKind::Auth, Detail::Plain),
            ("08P01", "database \"app\" does not exist", ErrorKind::Missing, Detail::NoDatabase),
            ("08P01", "database \"app\" is not currently accepting connections", ErrorKind::Missing, Detail::NoDatabase),
            ("08P01", "too many connections for role \"app\"", ErrorKind::NotReady, Detail::Full),
            ("08P01", "sorry, too many clients already", ErrorKind::NotReady, Detail::Full),
            ("08P01", "the database system is starting up", ErrorKind::NotReady, Detail::Plain),
            ("08P01", "query_wait_timeout", ErrorKind::NotReady, Detail::Plain),
            ("08P01", "no such user: app", ErrorKind::Auth, Detail::Plain),
            ("08P01", "no such database: app", ErrorKind::Missing, Detail::NoDatabase),
            ("08P01", "no more connections allowed (max_client_conn)", ErrorKind::NotReady, Detail::Full),
            ("08P01", "server login has been failing, try again later (server_login_retry)", ErrorKind::NotReady, Detail::Plain),
            ("08P01", "invalid message format", ErrorKind::Protocol, Detail::Plain),
            ("55000", "database \"template0\" is not currently accepting connections", ErrorKind::Missing, Detail::NoDatabase),
            ("55000", "recovery is not in progress", ErrorKind::Protocol, Detail::Plain),
            ("53300", "too many connections for role \"app\"", ErrorKind::NotReady, Detail::Full),
        ] {
            assert_eq!(reason_of_state(&SqlState::from_code(code), words), Reason { kind, detail }, "{words}");
        }
    }

    #[test]
    fn sqlstates_have_classes() {
        for (code, kind) in [
            ("28P01", ErrorKind::Auth),
            ("28000", ErrorKind::Auth),
            ("3D000", ErrorKind::Missing),
            ("42501", ErrorKind::Auth),
            ("57P03", ErrorKind::NotReady),
            ("57P01", ErrorKind::NotReady),
            ("57P02", ErrorKind::NotReady),
            ("53300", ErrorKind::NotReady),
            ("08P01", ErrorKind::Protocol),
        ] {
            assert_eq!(kind_of_state(&SqlState::from_code(code)), kind, "{code}");
        }
    }
}
