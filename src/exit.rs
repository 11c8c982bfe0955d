//! Every exit code that portcullis itself uses.

/// Exit codes of portcullis itself; the exit code of the supervised process is passed through unchanged.
///
/// 64 to 78 are those of `sysexits.h`; 124, 126 and 127 those of coreutils' `timeout` and `env`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The run did what was requested.
    Success = 0,
    /// The command line is wrong.
    Usage = 64,
    /// A dependency, or the startup check, was not ready in time.
    Unavailable = 69,
    /// An internal error of portcullis.
    Internal = 70,
    /// Standard output cannot be written.
    Output = 74,
    /// The migration lock was not available in time.
    LockTimeout = 75,
    /// The migration lock was lost while the migration ran.
    LockLost = 76,
    /// The running portcullis refuses control requests from this user.
    NotAllowed = 77,
    /// The configuration is wrong.
    Config = 78,
    /// A changed key of the configuration cannot take effect while the service runs.
    NeedsRestart = 79,
    /// The migration ran past its own limit.
    MigrationTimeout = 124,
    /// The command was found but cannot be executed.
    NotExecutable = 126,
    /// The command was not found.
    NotFound = 127,
}

impl Exit {
    /// Every code with what it means to the person who reads it, in the order of `docs/exit-codes.md`.
    pub const TABLE: [(Self, &'static str); 13] = [
        (Self::Success, "the run did what was requested"),
        (Self::Usage, "wrong usage of the command line"),
        (Self::Unavailable, "a dependency did not get ready in time, or the startup check did not pass within its limit"),
        (Self::Internal, "an internal error of portcullis"),
        (Self::Output, "the output of a subcommand could not be written, for example to a full disk"),
        (Self::LockTimeout, "the migration lock was not available in time"),
        (Self::LockLost, "the migration lock was lost while the migration ran, and the migration was stopped"),
        (Self::NotAllowed, "the running portcullis refuses control requests from this user"),
        (
            Self::Config,
            "wrong configuration, an entry of `[[files]]` that could not be applied, or an address of `[health]` that is in use",
        ),
        (Self::NeedsRestart, "`reload`: a changed key cannot take effect while the service runs"),
        (Self::MigrationTimeout, "the migration or a step ran past its own limit"),
        (Self::NotExecutable, "the command is not executable"),
        (Self::NotFound, "the command was not found"),
    ];

    /// The number that is passed to the kernel.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// How a process ended, as `waitpid(2)` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Code(u8),
    /// This signal ended it.
    Signal(u8),
}

impl Ended {
    /// The code that a shell would show: the status itself, or 128 plus the signal's number.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => signal_code(number),
        }
    }
}

/// 128 plus the number of a signal (1 to 64), as shells report death by a signal.
pub const fn signal_code(number: u8) -> u8 {
    128u8.saturating_add(number)
}

/// The signal's name as people know it, `signal 40` for those without one.
pub fn signal_name(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.as_str().to_owned())
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "status {code}"),
            Self::Signal(number) => f.write_str(&signal_name(i32::from(*number))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_kept_and_a_signal_gets_128_added() {
        for code in 0..=255 {
            assert_eq!(Ended::Code(code).exit_code(), code);
        }
        for number in 1..=64 {
            assert_eq!(u16::from(Ended::Signal(number).exit_code()), 128 + u16::from(number));
        }
    }

    #[test]
    fn the_table_names_each_code_once() {
        let mut codes: Vec<u8> = Exit::TABLE.iter().map(|(exit, _)| exit.code()).collect();
        codes.dedup();
        assert_eq!(codes, [0, 64, 69, 70, 74, 75, 76, 77, 78, 79, 124, 126, 127]);
    }
}
