//! What is known from name servers: one lookup of a name at a time for all who ask, and a budget of questions for each name.

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

/// What one question costs of a name's time: 10 questions a second, retries and both families together.
const PRICE: Duration = Duration::from_millis(100);

/// So much may be asked ahead, so that a name that comes a moment late is noticed a moment later.
const AHEAD: Duration = Duration::from_secs(1);

/// Once so many names are known, those that nobody has asked for lately are forgotten.
const MANY: usize = 256;

/// What a lookup yields.
type Known = Result<Arc<[IpAddr]>, LookupError>;

/// A name that was asked for.
#[derive(Debug)]
struct Entry {
    /// The last lookup; none in it while it goes on.
    lookup: watch::Receiver<Option<Known>>,
    /// Until when the questions so far are paid for.
    paid: Instant,
    /// By which settings it was looked for.
    settings: Arc<Settings>,
}

/// All names that were asked for.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<HashMap<String, Entry>>);

impl Shared {
    /// The addresses of a name; the last answer stands until the name's budget allows to ask again.
    ///
    /// A lookup belongs to the runtime of who asked first. It goes on when that one gives up, and others look again when that runtime ends.
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
            // Its sender is gone once it is over, and gone without a result where its runtime ended.
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
