//! The result of a subcommand on standard output; one that cannot be written fails the subcommand.

use std::io::{ErrorKind, Write};

use nix::errno::Errno;

use crate::exit::Exit;
use crate::log::stream;

/// Writes a result to standard output.
///
/// # Errors
/// What the subcommand ends with: success if the reader is gone, because it may stop reading early, else a failure that was reported.
pub fn print(text: &str) -> Result<(), Exit> {
    stream::stdout().write_all(text.as_bytes()).map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            return Exit::Success;
        }
        let why = error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().to_owned());
        let _ = writeln!(stream::stderr(), "portcullis: cannot write to standard output: {why}; check the file or device behind it");
        Exit::Output
    })
}

/// The same as the last act of a subcommand that otherwise ends with `exit`.
pub fn print_last(text: &str, exit: Exit) -> u8 {
    let printed = print(text).err().filter(|_| exit == Exit::Success);
    printed.unwrap_or(exit).code()
}
