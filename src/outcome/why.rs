//! More exact texts for a failed probe where the text of its class would be misleading.

use super::Class;

/// The cause within a class that covers several. It is shown only in the log, on the command line and to authorized readers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// The text of the class.
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

/// A class and the cause within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    /// The class.
    pub class: Class,
    /// The cause within it.
    pub cause: Cause,
}

impl From<Class> for Why {
    /// Only the class is known.
    fn from(class: Class) -> Self {
        Self { class, cause: Cause::Plain }
    }
}

impl Why {
    /// Whether the peer is reachable and refuses the login or the request, so that waiting does not help.
    pub const fn is_refusal(self) -> bool {
        matches!(self.class, Class::Auth) || matches!(self.cause, Cause::NoDatabase)
    }

    /// The cause in at most 22 characters, the width of a column of `wait`.
    pub const fn words(self) -> &'static str {
        match self.cause {
            Cause::Plain | Cause::Deserted => self.class.public(),
            Cause::Closed => "connection closed",
            Cause::NoSocket => "no such socket",
            Cause::NoDatabase => "no such database",
            Cause::NoRoom => "too little free space",
            Cause::TooFew => "too few are ready",
            Cause::Body => "unexpected answer",
            Cause::Full => "too many connections",
            Cause::NotConfigured => "not configured",
            Cause::Skipped => "skipped",
        }
    }

    /// What to check.
    pub const fn advice(self) -> &'static str {
        match self.cause {
            Cause::Plain => self.class.advice(),
            Cause::Closed => "check that the server behind this port is up and speaks the expected protocol",
            Cause::NoSocket => "check the path and that the server is running",
            Cause::Deserted => "check that the server is running and listens on this socket",
            Cause::NoDatabase => "check its name, create it, or let the migration create it (`missing_database = \"ready\"`)",
            Cause::NoRoom => "free some space, or require less",
            Cause::TooFew => "check that its instances run and write their heartbeat to this Redis",
            Cause::Body => "check the url and the expected response",
            Cause::NotConfigured => "configure its API key or account",
            Cause::Skipped => "nothing to do: it has no data yet",
            Cause::Full => "close some connections, or raise the limit of the server, the database or the role",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_fit_their_column_and_say_what_the_class_says_unless_more_is_known() {
        for class in Class::ALL {
            assert_eq!((Why::from(class).words(), Why::from(class).advice()), (class.public(), class.advice()));
        }
        for cause in [
            Cause::Closed,
            Cause::NoSocket,
            Cause::Deserted,
            Cause::NoDatabase,
            Cause::NoRoom,
            Cause::TooFew,
            Cause::Body,
            Cause::Full,
            Cause::NotConfigured,
            Cause::Skipped,
        ] {
            let why = Why { class: Class::Refused, cause };
            assert!(why.words().len() <= 22 && why.advice() != Class::Refused.advice(), "{why:?}");
        }
    }
}
