//! A precise pause that wakes the process only once.
//!
//! The runtime's timer rounds up to whole milliseconds and advances its wheel every 64: a pause of 30 ms is half a millisecond late and
//! often wakes the processor twice, after the runtime has first woken itself to shorten its sleep.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;

/// How many kernel timers there are at most. Each needs two descriptors, which a container with few of them has for its clients.
const MOST: usize = 4;

/// How many there are.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A kernel timer that is kept between pauses; none if there are enough or no descriptor is available, and then the runtime's timer is used.
#[derive(Debug)]
pub struct Alarm(Option<Timer>);

/// The timer, and a second handle to read it through the runtime without `unsafe`.
#[derive(Debug)]
struct Timer {
    file: TimerFd,
    expiry: Receiver,
    _counted: Counted,
}

/// One of [`MOST`].
#[derive(Debug)]
struct Counted;

impl Counted {
    fn new() -> Option<Self> {
        let one_more = |open: usize| (open < MOST).then(|| open + 1);
        OPEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok().then(|| Self)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Alarm {
    /// Call it within a runtime.
    #[allow(clippy::new_without_default, reason = "it depends on the runtime, and on how many there are")]
    pub fn new() -> Self {
        Self(Counted::new().and_then(|counted| Timer::new(counted).ok()))
    }

    /// One that uses the runtime's timer, whose clock tests advance.
    #[cfg(test)]
    pub(super) const fn of_runtime() -> Self {
        Self(None)
    }

    /// Returns after `length`.
    pub async fn sleep(&mut self, length: Duration) {
        let slept = match &mut self.0 {
            Some(timer) => timer.sleep(length).await,
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        if slept.is_err() {
            sleep(length).await;
        }
    }
}

impl Timer {
    fn new(counted: Counted) -> io::Result<Self> {
        let file = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        let expiry = Receiver::from_owned_fd_unchecked(file.as_fd().try_clone_to_owned()?)?;
        Ok(Self { file, expiry, _counted: counted })
    }

    async fn sleep(&mut self, length: Duration) -> io::Result<()> {
        // Zero would disarm the timer.
        let after = Expiration::OneShot(TimeSpec::from_duration(length.max(Duration::from_nanos(1))));
        self.file.set(after, TimerSetTimeFlags::empty())?;
        // The number of expirations, 8 bytes; setting the timer again cleared that of a dropped pause.
        self.expiry.read(&mut [0; 16]).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn many_alarms_leave_descriptors_to_others_and_all_of_them_ring() {
        let mut alarms: Vec<Alarm> = (0..3 * MOST).map(|_| Alarm::new()).collect();
        let timers = |alarms: &[Alarm]| alarms.iter().filter(|alarm| alarm.0.is_some()).count();
        assert!((1..=MOST).contains(&timers(&alarms)), "{}", timers(&alarms));
        for alarm in &mut alarms {
            alarm.sleep(Duration::from_millis(1)).await;
        }
        drop(alarms);
        assert_eq!(timers(&[Alarm::new()]), 1, "a timer that is no longer used makes room");
    }

    #[tokio::test]
    async fn every_pause_is_as_long_as_requested() {
        let mut alarm = Alarm::new();
        for length in [3, 0, 20, 7, 0, 30].map(Duration::from_millis) {
            let began = Instant::now();
            alarm.sleep(length).await;
            assert!(began.elapsed() >= length, "{:?} for {length:?}", began.elapsed());
        }
    }
}
