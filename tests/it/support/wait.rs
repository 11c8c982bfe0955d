//! The only place where tests wait: for a condition, never for a time.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

/// Whole seconds; deadlines are generous because the machine may be busy.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Asks until the answer is there; fails with `what` when the deadline has passed.
pub fn eventually<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let watch = Stopwatch::start();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(watch.elapsed() < deadline, "not within {deadline:?}: {what}");
        pause();
    }
}

/// Holds that nothing of the kind happens for the time given: the only way to see an absence.
pub fn never(what: &str, during: Duration, mut happens: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while watch.elapsed() < during {
        assert!(!happens(), "after {:?}: {what}", watch.elapsed());
        pause();
    }
}

/// Lets a moment pass that is itself the input of the test, such as the delay before a signal.
pub fn moment(length: Duration) {
    let watch = Stopwatch::start();
    while watch.elapsed() < length {
        std::hint::spin_loop();
    }
}

fn pause() {
    std::thread::park_timeout(Duration::from_millis(5));
}

/// Time since its start.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
