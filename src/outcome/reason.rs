//! More exact texts for a failed probe where the text of its kind would be misleading.

use super::ErrorKind;

/// The detail within a kind that covers several. It is shown only in the log, on the command line and to authorized readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// The text of the kind.
    #[default]
    Plain,
    /// The peer accepted the connection and closed it without an answer.
    Closed,
    /// There is no unix socket at the path.
    NoSocket,
    /// The unix socket exists, but no process accepts connections on it.
    Deserted,
    /// The server is reachable, but the database does not exist.
    NoDatabase,
    /// The file system has less free space than required.
    NoRoom,
    /// Fewer instances are ready than required.
    TooFew,
    /// The status is right, but the body is not.
    Body,
    /// The server, or the role, has reached its limit of connections.
    Full,
    /// It is not called, because it has no key or account.
    NotConfigured,
    /// It is not called, because the data that it needs does not exist.
    Skipped,
}

/// A kind and the detail within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The kind.
    pub kind: ErrorKind,
    /// The detail within it.
    pub detail: Detail,
}

impl From<ErrorKind> for Reason {
    /// Only the kind is known.
    fn from(kind: ErrorKind) -> Self {
        Self { kind, detail: Detail::Plain }
    }
}

impl Reason {
    /// Whether the peer is reachable and refuses the login or the request, so that waiting does not help.
    pub const fn is_refusal(self) -> bool {
        matches!(self.kind, ErrorKind::Auth) || matches!(self.detail, Detail::NoDatabase)
    }

    /// The detail in at most 22 characters, the width of a column of `wait`.
    pub const fn words(self) -> &'static str {
        match self.detail {
            Detail::Plain | Detail::Deserted => self.kind.public(),
            Detail::Closed => "connection closed",
            Detail::NoSocket => "no such socket",
            Detail::NoDatabase => "no such database",
            Detail::NoRoom => "too little free space",
            Detail::TooFew => "too few are ready",
            Detail::Body => "unexpected answer",
            Detail::Full => "too many connections",
            Detail::NotConfigured => "not configured",
            Detail::Skipped => "skipped",
        }
    }

    /// The detail and what to check, when a limit is over: an attempt that had begun then has no result yet.
    pub fn at_the_limit(self) -> String {
        match self.kind {
            ErrorKind::Never => format!("the first attempt had not ended; {}", ErrorKind::Timeout.advice()),
            _ => format!("{}; {}", self.words(), self.advice()),
        }
    }

    /// What to check.
    pub const fn advice(self) -> &'static str {
        match self.detail {
            Detail::Plain => self.kind.advice(),
            Detail::Closed => "check that the server behind this port is up and speaks the expected protocol",
            Detail::NoSocket => "check the path and that the server is running",
            Detail::Deserted => "check that the server is running and listens on this socket",
            Detail::NoDatabase => "check its name, create it, or let the migration create it (`missing_database = \"ready\"`)",
            Detail::NoRoom => "free some space, or require less",
            Detail::TooFew => "check that its instances run and write their heartbeat to this Redis",
            Detail::Body => "check the url and the expected response",
            Detail::NotConfigured => "configure its API key or account",
            Detail::Skipped => "nothing to do: it has no data yet",
            Detail::Full => "close some connections, or raise the limit of the server, the database or the role",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_fit_their_column_and_are_those_of_the_class_unless_more_is_known() {
        for kind in ErrorKind::ALL {
            assert_eq!((Reason::from(kind).words(), Reason::from(kind).advice()), (kind.public(), kind.advice()));
        }
        for detail in [
            Detail::Closed,
            Detail::NoSocket,
            Detail::Deserted,
            Detail::NoDatabase,
            Detail::NoRoom,
            Detail::TooFew,
            Detail::Body,
            Detail::Full,
            Detail::NotConfigured,
            Detail::Skipped,
        ] {
            let reason = Reason { kind: ErrorKind::Refused, detail };
            assert!(reason.words().len() <= 22 && reason.advice() != ErrorKind::Refused.advice(), "{reason:?}");
        }
    }
}
