//! The metrics of the server itself, which are not in a snapshot: response times, and the resources of its process.

use std::time::Duration;

/// The limits of the histogram's buckets in seconds: responses are composed from memory, so most are in the first.
pub const LIMITS: [f64; 8] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5];

/// The labels of a request. Routes and methods are fixed words, so that clients cannot make the histogram grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// [`super::route_of`] the path.
    pub route: &'static str,
    /// `GET`, `HEAD`, `OPTIONS` or `other`.
    pub method: &'static str,
    /// The status code.
    pub status: u16,
}

/// The requests of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Observed {
    /// Requests by the first of the [`LIMITS`] that is not exceeded.
    pub counts: [u64; LIMITS.len()],
    /// All requests.
    pub count: u64,
    /// Their total time.
    pub sum: Duration,
}

/// How long requests took.
#[derive(Clone, Debug, Default)]
pub struct RequestCounts(Vec<(Key, Observed)>);

impl RequestCounts {
    /// Counts one request.
    pub fn observe(&mut self, route: &'static str, method: &str, status: u16, took: Duration) {
        let method = ["GET", "HEAD", "OPTIONS"].into_iter().find(|known| *known == method).unwrap_or("other");
        let key = Key { route, method, status };
        // There are few keys, so inserting one in the middle is cheap.
        let index = self.0.binary_search_by(|(known, _)| known.cmp(&key)).unwrap_or_else(|index| {
            self.0.insert(index, (key, Observed::default()));
            index
        });
        let Some((_, observed)) = self.0.get_mut(index) else { return };
        if let Some(count) = LIMITS.iter().position(|limit| took.as_secs_f64() <= *limit).and_then(|index| observed.counts.get_mut(index)) {
            *count += 1;
        }
        observed.count += 1;
        observed.sum += took;
    }

    /// All labels in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Observed)> {
        self.0.iter().map(|(key, observed)| (key, observed))
    }
}

/// The resources of portcullis' own process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessFigures {
    /// Processor time, user and system.
    pub cpu: Duration,
    /// Open file descriptors.
    pub open_files: u64,
    /// How many may be open.
    pub most_files: u64,
    /// Virtual memory in bytes.
    pub virtual_memory: u64,
    /// Resident memory in bytes.
    pub resident_memory: u64,
    /// Its start, since the epoch.
    pub started: Duration,
}

/// All metrics.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// How long requests took.
    pub requests: RequestCounts,
    /// The process; none if unknown.
    pub process: Option<ProcessFigures>,
    /// Processor time of the longest turn of the loop that owns the signals.
    pub longest_turn: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_into_the_first_bucket_that_holds_them() {
        let mut requests = RequestCounts::default();
        for (method, micros) in [("GET", 100), ("GET", 101), ("GET", 900_000), ("QUERY", 1), ("PURGE", 1)] {
            requests.observe("/livez", method, 200, Duration::from_micros(micros));
        }
        let all: Vec<_> = requests.iter().collect();
        assert_eq!(all.iter().map(|(key, _)| key.method).collect::<Vec<_>>(), ["GET", "other"]);
        assert_eq!(all[0].1.counts, [1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!((all[0].1.count, all[0].1.sum), (3, Duration::from_micros(900_201)));
        assert_eq!(all[1].1.count, 2);
    }
}
