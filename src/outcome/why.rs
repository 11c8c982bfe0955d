//! Why a probe failed in words that are true where those of its class alone would not be.

use super::Class;

/// What happened within a class that covers several things. Only the log, the command line and those with authority are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// What the class says.
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

/// A class and what happened within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Why {
    /// The class.
    pub class: Class,
    /// What happened within it.
    pub cause: Cause,
}

impl From<Class> for Why {
    /// Nothing but the class is known.
    fn from(class: Class) -> Self {
        Self { class, cause: Cause::Plain }
    }
}

impl Why {
    /// Whether the peer is there and refuses who asks or what is asked for, so that waiting alone will not help.
    pub const fn is_refusal(self) -> bool {
        matches!(self.class, Class::Auth) || matches!(self.cause, Cause::NoDatabase)
    }

    /// What happened, in 22 characters at most: a column of `wait` is as wide.
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

    /// What a person should look at.
    pub const fn advice(self) -> &'static str {
        match self.cause {
            Cause::Plain => self.class.advice(),
            Cause::Closed => "check that the server behind this port is up and speaks the expected protocol",
            Cause::NoSocket => "check the path and that the server is running",
            Cause::Deserted => "check that the server is running and listens on this socket",
            Cause::NoDatabase => "check its name and create it, or let the migration do so (`missing_database = \"ready\"`)",
            Cause::NoRoom => "free some space, or ask for less",
            Cause::TooFew => "check that its instances run and write their heartbeat to this Redis",
            Cause::Body => "check the url and what is expected of the answer",
            Cause::NotConfigured => "write the key or the account that it is asked with",
            Cause::Skipped => "nothing: there is nothing yet that it could be asked for",
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
