//! A terminal like that of a person: what is typed, what is shown, and the end of the connection.

use super::portcullis::Buffer;
use super::secs;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The side of the person.
#[derive(Debug)]
pub struct Terminal {
    typing: File,
    shown: Buffer,
    hung_up: Arc<AtomicBool>,
}

/// Reads what is shown until the person hangs up.
struct Screen {
    file: File,
    hung_up: Arc<AtomicBool>,
}

impl Read for Screen {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        while !self.hung_up.load(Ordering::Relaxed) {
            let mut files = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            if poll(&mut files, PollTimeout::from(20_u8))? > 0 {
                return self.file.read(bytes);
            }
        }
        Ok(0)
    }
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
        let hung_up = Arc::new(AtomicBool::new(false));
        let screen = Screen { file: typing.try_clone().expect("duplicate the terminal"), hung_up: Arc::clone(&hung_up) };
        (Self { typing, shown: Buffer::filled_by(screen), hung_up }, ends.slave)
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

    /// Closes the connection, as a network that breaks does it.
    pub fn hang_up(self) {
        self.hung_up.store(true, Ordering::Relaxed);
        self.shown.until(secs(5), true, |_| false);
    }
}
