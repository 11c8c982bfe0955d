//! The end of standard error: whose line is unfinished, and the live lines below the log.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::stream;

/// The minimum width of a terminal for live lines, in columns.
const NARROWEST: usize = 80;

/// The descriptor whose unfinished line is the last output on standard error; 0 for none. Changed only under the lock of standard error.
static OPEN_LINE: AtomicI32 = AtomicI32::new(0);

/// Sets whose unfinished line is the last output on standard error, 0 for none; the caller holds the lock of standard error.
pub fn leave_line_open(of: i32) {
    OPEN_LINE.store(of, Ordering::Relaxed);
}

/// Returns it; the caller holds the lock of standard error.
pub fn open_line() -> i32 {
    OPEN_LINE.load(Ordering::Relaxed)
}

/// Whether other code than the log writes to standard error here, which may hold its lock while it waits for a reader.
static SHARED: AtomicBool = AtomicBool::new(false);

/// Records that other code also writes to standard error from now on.
pub fn share() {
    SHARED.store(true, Ordering::Relaxed);
}

pub(super) fn is_shared() -> bool {
    SHARED.load(Ordering::Relaxed)
}

/// The live lines at the end of standard error.
#[derive(Default)]
pub(super) struct Screen {
    shown: usize,
    lines: Vec<String>,
}

impl Screen {
    pub(super) fn live(&mut self, lines: Vec<String>) {
        self.lines = lines;
        self.show(b"");
    }

    /// Writes the text after the previous log lines, and the live lines below it.
    pub(super) fn show(&mut self, text: &[u8]) {
        let mut bytes = Vec::new();
        if self.shown > 0 {
            // Moves the cursor up over what is shown and clears it (ECMA-48: CUU and ED).
            bytes.extend_from_slice(format!("\x1b[{}A\x1b[J", self.shown).as_bytes());
        }
        bytes.extend_from_slice(text);
        for line in &self.lines {
            // A line that wraps could not be erased again.
            bytes.extend(line.chars().take(NARROWEST - 1).collect::<String>().into_bytes());
            bytes.push(b'\n');
        }
        self.shown = self.lines.len();
        let stderr = io::stderr().lock();
        if !bytes.is_empty() && OPEN_LINE.swap(0, Ordering::Relaxed) != 0 {
            bytes.insert(0, b'\n');
        }
        // If the reader is gone, the queue still has to be emptied.
        let _ = stream::write_all(stderr.as_fd(), &bytes, |_| {});
    }
}
