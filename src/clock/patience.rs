//! Deadlines for other processes: time in which this program could not run does not count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// A delay up to this is a busy machine; more is a freezer, SIGSTOP or a paused machine.
pub const SLACK: Duration = Duration::from_millis(500);

/// The longest single sleep: a gap shortens a deadline by at most this.
const SLICE: Duration = Duration::from_secs(5);

/// A deadline that is extended by every gap that [`passed`](Self::passed) detects.
#[derive(Clone, Debug)]
pub struct Deadline {
    began: Instant,
    /// Microseconds from the beginning.
    at: Arc<AtomicU64>,
    /// When the clock is read next, in the same unit: if it is read later, this program did not run.
    look: Arc<AtomicU64>,
}

impl Deadline {
    /// A deadline after `limit`, on the runtime's clock.
    pub fn after(limit: Duration) -> Self {
        let [at, look] = [micros(limit), u64::MAX].map(|micros| Arc::new(AtomicU64::new(micros)));
        Self { began: Instant::now(), at, look }
    }

    /// The remaining time. A gap that was not detected yet is not included.
    pub fn left(&self) -> Duration {
        let [at, look] = [&self.at, &self.look].map(|micros| Duration::from_micros(micros.load(Ordering::Relaxed)));
        at.saturating_sub(self.began.elapsed().min(look.saturating_add(SLACK)))
    }

    /// Returns once it has passed. It wakes often enough that a gap shortens the remaining time by at most a quarter.
    pub async fn passed(&self) {
        loop {
            let left = self.left();
            if left.is_zero() {
                return;
            }
            let until = Instant::now() + (left / 4).clamp(SLACK / 2, SLICE).min(left);
            self.look.store(micros(until.duration_since(self.began)), Ordering::Relaxed);
            sleep_until(until).await;
            let late = until.elapsed();
            if late > SLACK {
                // Only this function writes it.
                self.at.store(self.at.load(Ordering::Relaxed).saturating_add(micros(late)), Ordering::Relaxed);
            }
        }
    }
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

/// The future's output; none if it is not ready within `limit`. As with the runtime's own timeout, a finished future counts.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let deadline = Deadline::after(limit);
    tokio::select! {
        biased;
        output = future => Some(output),
        () = deadline.passed() => None,
    }
}

/// Sleeps; returns whether it woke in time, without a gap.
pub async fn pause(length: Duration) -> bool {
    let began = Instant::now();
    sleep(length).await;
    began.elapsed() <= length.saturating_add(SLACK)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn without_a_gap_a_deadline_passes_on_time() {
        for limit in [Duration::ZERO, Duration::from_millis(3), Duration::from_secs(7), MINUTE * 30] {
            let began = Instant::now();
            assert_eq!(within(limit, std::future::pending::<()>()).await, None);
            let late = began.elapsed().saturating_sub(limit);
            assert!(late < Duration::from_millis(10), "{limit:?}: {late:?} late");
        }
        assert_eq!(within(Duration::ZERO, async { 1 }).await, Some(1), "what is there counts");
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_moves_a_deadline() {
        let began = Instant::now();
        let deadline = Deadline::after(Duration::from_secs(8));
        let follower = deadline.clone();
        let passed = tokio::spawn(async move { follower.passed().await });
        sleep(Duration::from_secs(1)).await;
        advance(MINUTE).await;
        assert!(deadline.left() >= Duration::from_secs(5), "{:?} before its follower has looked", deadline.left());
        tokio::task::yield_now().await;
        assert!(!passed.is_finished());
        assert!(deadline.left() >= Duration::from_secs(5), "{:?}", deadline.left());
        passed.await.unwrap();
        let took = began.elapsed();
        assert!(took >= MINUTE + Duration::from_secs(6) && took <= MINUTE + Duration::from_secs(8), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn endless_gaps_do_not_delay_a_deadline_without_limit() {
        let deadline = Deadline::after(Duration::from_secs(8));
        let follower = deadline.clone();
        let passed = tokio::spawn(async move { follower.passed().await });
        let mut gaps = 0;
        while !passed.is_finished() {
            advance(MINUTE).await;
            tokio::task::yield_now().await;
            gaps += 1;
            assert!(gaps < 100);
        }
    }
}
