//! What stands at the end of standard error: whose line is open, and the live lines below the log.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::stream;

/// Columns of the narrowest terminal that live lines are made for.
const NARROWEST: usize = 80;

/// The descriptor of ours whose line stands last on standard error without its end; 0 for none. Changed under the lock of standard
/// error only.
static OPEN_LINE: AtomicI32 = AtomicI32::new(0);

/// Says whose line stands last on standard error without its end, 0 for nobody's; the caller holds the lock of standard error.
pub fn leave_line_open(of: i32) {
    OPEN_LINE.store(of, Ordering::Relaxed);
}

/// Whose line that is; the caller holds the lock of standard error.
pub fn open_line() -> i32 {
    OPEN_LINE.load(Ordering::Relaxed)
}

/// Whether anybody but the log writes to standard error here, so that its lock may be held by who waits for a reader.
static SHARED: AtomicBool = AtomicBool::new(false);

/// Says that others write to standard error from now on, too.
pub fn share() {
    SHARED.store(true, Ordering::Relaxed);
}

pub(super) fn is_shared() -> bool {
    SHARED.load(Ordering::Relaxed)
}

/// What stands at the end of standard error.
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

    /// Writes below what was said before, and the live lines below that.
    pub(super) fn show(&mut self, said: &[u8]) {
        let mut bytes = Vec::new();
        if self.shown > 0 {
            // Moves the cursor up over what is shown and clears it (ECMA-48: CUU and ED).
            bytes.extend_from_slice(format!("\x1b[{}A\x1b[J", self.shown).as_bytes());
        }
        bytes.extend_from_slice(said);
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
        // A reader that is gone is no reason to stop reading the queue, let alone to end.
        let _ = stream::write_all(stderr.as_fd(), &bytes, |_| {});
    }
}
