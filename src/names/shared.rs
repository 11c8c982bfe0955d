//! Shared lookups: one lookup of a name at a time for all callers, and a budget of queries for each name.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::LookupError;
use super::resolv::Settings;
use super::search::look;

/// The cost of one query: 10 queries per second and name, including retries and both families.
const PRICE: Duration = Duration::from_millis(100);

/// How much of the budget may be used in advance, so that a name that appears a little late is found quickly.
const AHEAD: Duration = Duration::from_secs(1);

/// The number of names after which those that were not used recently are forgotten.
const MANY: usize = 256;

/// The result of a lookup.
type Known = Result<Arc<[IpAddr]>, LookupError>;

/// A name that was looked up.
#[derive(Debug)]
struct Entry {
    /// The last lookup; its value is none while it runs.
    lookup: watch::Receiver<Option<Known>>,
    /// Until when the queries so far use up the budget.
    paid: Instant,
    /// The settings of that lookup.
    settings: Arc<Settings>,
}

/// All names that were looked up.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<HashMap<String, Entry>>);

impl Shared {
    /// The addresses of a name; the last result is used until the name's budget allows another lookup.
    ///
    /// A lookup runs on the runtime of its first caller. It continues if that caller gives up; if that runtime ends, other callers start it
    /// again.
    pub(super) async fn addresses(self: &Arc<Self>, name: &str, settings: &Arc<Settings>) -> Known {
        for _ in 0..3 {
            let mut lookup = self.lookup(name, settings);
            if let Ok(known) = lookup.wait_for(Option::is_some).await
                && let Some(known) = known.as_ref()
            {
                return known.clone();
            }
        }
        Err(LookupError::Internal("the lookup ended without a result".to_owned()))
    }

    fn lookup(self: &Arc<Self>, name: &str, settings: &Arc<Settings>) -> watch::Receiver<Option<Known>> {
        let now = Instant::now();
        let mut names = self.locked();
        let known = names.get(name);
        if let Some(entry) = known.filter(|entry| entry.settings == *settings) {
            let over = entry.lookup.borrow().is_some();
            // The sender is dropped at the end of the lookup, and without a result if its runtime ended.
            let goes_on = !over && entry.lookup.has_changed().is_ok();
            if goes_on || (over && entry.paid > now + AHEAD) {
                return entry.lookup.clone();
            }
        }
        let paid = known.map_or(now, |entry| entry.paid);
        if names.len() >= MANY {
            names.retain(|_, entry| entry.lookup.borrow().is_none() || entry.paid > now);
        }
        let (sender, lookup) = watch::channel(None);
        names.insert(name.to_owned(), Entry { lookup: lookup.clone(), paid, settings: Arc::clone(settings) });
        drop(names);
        let (shared, name, settings) = (Arc::clone(self), name.to_owned(), Arc::clone(settings));
        tokio::spawn(async move {
            let queries_sent = AtomicU32::new(0);
            let found = look(&name, &settings, &queries_sent).await.map(Arc::from);
            let now = Instant::now();
            if let Some(entry) = shared.locked().get_mut(&name) {
                entry.paid = entry.paid.max(now) + PRICE.saturating_mul(queries_sent.load(Ordering::Relaxed));
            }
            sender.send_replace(Some(found));
        });
        lookup
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
