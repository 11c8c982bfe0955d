//! The standard input of a child beside the process: a text of the configuration, or empty.

use std::fs::File;
use std::io::{self, Seek, Write};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::plan::command::ProcessAttributes;

/// The file for its standard input; none if it inherits ours. A text is in a memory file, so that writing it never blocks.
pub(super) fn of(attributes: &ProcessAttributes) -> io::Result<Option<File>> {
    let Some(text) = &attributes.input else {
        return Ok(attributes.aside.then(|| File::open("/dev/null").ok()).flatten());
    };
    let mut memory = File::from(memfd_create(c"input", MFdFlags::MFD_CLOEXEC)?);
    memory.write_all(text.value().as_bytes())?;
    memory.rewind()?;
    Ok(Some(memory))
}
