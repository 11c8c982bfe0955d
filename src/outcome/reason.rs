//! Why a probe failed in words that are true where those of its kind alone would not be.

use super::ErrorKind;

/// What happened within a kind that covers several things. Only the log, the command line and authorized readers are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What the kind says.
    #[default]
    Plain,
    /// The peer took the connection and closed it in place of an answer.
    Closed,
    /// There is no unix socket at the path.
    NoSocket,
    /// The unix socket is there, and nobody takes connections from it.
    Deserted,
    /// The server is there, and the database is not.
    NoDatabase,
    /// The file system has less room than is wanted.
    NoRoom,
    /// Fewer instances are ready than are wanted.
    TooFew,
    /// The status is right, but the body is not.
    Body,
    /// The server, or the role, has all the connections that it may have.
    Full,
    /// It is not asked, because nothing was configured for it.
    NotConfigured,
    /// It is not asked, because what it would be asked for is not there.
    Skipped,
}

/// A kind and what happened within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The kind.
    pub kind: ErrorKind,
    /// What happened within it.
    pub detail: Detail,
}

impl From<ErrorKind> for Reason {
    /// Nothing but the kind is known.
    fn from(kind: ErrorKind) -> Self {
        Self { kind, detail: Detail::Plain }
    }
}

impl Reason {
    /// Whether the peer is there and refuses who asks or what is asked for, so that waiting alone will not help.
    pub const fn is_refusal(self) -> bool {
        matches!(self.kind, ErrorKind::Auth) || matches!(self.detail, Detail::NoDatabase)
    }

    /// What happened, in 22 characters at most: a column of `wait` is as wide.
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

    /// What a person should look at.
    pub const fn advice(self) -> &'static str {
        match self.detail {
            Detail::Plain => self.kind.advice(),
            Detail::Closed => "check that the server behind this port is up and speaks the expected protocol",
            Detail::NoSocket => "check the path and that the server is running",
            Detail::Deserted => "check that the server is running and listens on this socket",
            Detail::NoDatabase => "check its name and create it, or let the migration do so (`missing_database = \"ready\"`)",
            Detail::NoRoom => "free some space, or ask for less",
            Detail::TooFew => "check that its instances run and write their heartbeat to this Redis",
            Detail::Body => "check the url and what is expected of the answer",
            Detail::NotConfigured => "write the key or the account that it is asked with",
            Detail::Skipped => "nothing: there is nothing yet that it could be asked for",
            Detail::Full => "close some connections, or raise the limit of the server, the database or the role",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_fit_their_column_and_say_what_the_kind_says_unless_more_is_known() {
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
