//! A terminal as a person has one: what is typed, and what is shown.

use super::portcullis::Buffer;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The side of the person.
#[derive(Debug)]
pub struct Terminal {
    typing: File,
    shown: Buffer,
}

impl Terminal {
    /// The person's side, and the side of the programs.
    pub fn new() -> (Self, OwnedFd) {
        let ends = nix::pty::openpty(None, None).expect("open a terminal");
        for end in [&ends.master, &ends.slave] {
            let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
            nix::fcntl::fcntl(end, flags).expect("keep the terminal to its own test");
        }
        let typing = File::from(ends.master);
        let shown = Buffer::filled_by(typing.try_clone().expect("duplicate the terminal"));
        (Self { typing, shown }, ends.slave)
    }

    /// Types; `\x03` is ctrl-C and `\x1a` ctrl-Z.
    pub fn type_in(&mut self, keys: &str) {
        self.typing.write_all(keys.as_bytes()).expect("type");
    }

    #[track_caller]
    pub fn until(&self, what: &str, deadline: Duration) {
        let found = self.shown.until(deadline, false, |text| text.contains(what));
        assert!(found, "{what:?} not shown within {deadline:?}:\n{}", self.shown.text());
    }

    pub fn shown(&self) -> String {
        self.shown.text()
    }
}
