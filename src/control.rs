//! Orders for modules and the reload of the configuration: taken in words, sent as events, answered once the snapshot shows the end.
//!
//! Nothing is decided here: what an order means is the reducer's. Whoever waits here waits for a published snapshot and for a
//! bounded time, and one who does not wait any more takes nothing back.
#![warn(clippy::arithmetic_side_effects)]

mod orders;
mod reload;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Moment;
use crate::clock::patience::within;
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::mailbox::Mailbox;
use crate::plan::resolve::RunOptions;
use crate::published::Published;
use crate::state::snapshot::{Module, Snapshot};
use crate::view::control::ControlAnswer;
use orders::Verb;

/// How long an answer is waited for where nothing else is asked for.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// The longest that an answer is waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the reducer may need to take an order: it takes every one at once.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// Where the running configuration came from: what a reload reads again.
#[derive(Clone)]
pub struct Sources {
    /// What the command line asked for.
    pub request: RunOptions,
    /// The environment at the start.
    pub environment: Environment,
}

/// Takes orders for one run.
pub struct Control {
    sources: Arc<Sources>,
    mailbox: Mailbox,
    published: Arc<Published>,
    /// Held while a reload is under way, so that there is one at a time.
    reload: Mutex<reload::Sent>,
    /// Held while an order is on its way to the reducer, so that what the snapshot then shows is this order's.
    taking: Mutex<()>,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OrderResult {
    /// What the command that gave it ends with.
    exit: Exit,
    /// One sentence for a person.
    sentence: String,
    /// More, a line each.
    lines: Vec<String>,
}

impl OrderResult {
    fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into(), lines: Vec::new() }
    }

    fn with(self, lines: Vec<String>) -> Self {
        Self { lines, ..self }
    }

    /// The HTTP status that says the same.
    const fn status(&self) -> u16 {
        match self.exit {
            Exit::Success => 200,
            Exit::Usage => 404,
            Exit::NeedsRestart => 409,
            Exit::Config => 422,
            Exit::Unavailable => 503,
            _ => 500,
        }
    }
}

/// An order that was taken: what is left is to wait for its end, and whoever does not want to, lets it be.
pub struct AcceptedOrder {
    until: Moment,
    rest: Rest,
}

/// What is left of an order that was taken.
enum Rest {
    /// Nothing: this became of it.
    Answer(OrderResult),
    /// These modules, as they were before, have to get where they should be.
    Modules(Verb, Vec<Module>),
    /// Those that the reload concerns, likewise.
    Reload(reload::Applied),
}

impl Control {
    /// Control over the run whose snapshots are `published`.
    pub fn new(sources: Sources, mailbox: Mailbox, published: Arc<Published>) -> Self {
        Self { sources: Arc::new(sources), mailbox, published, reload: Mutex::default(), taking: Mutex::default() }
    }

    /// Begins what `POST /control/target` asks for. To be brought to its end: half an order is none.
    pub async fn take(&self, target: &str) -> AcceptedOrder {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let until = Moment::now().after(wait(query));
        let segments: Vec<&str> = path.split('/').collect();
        let rest = match segments.as_slice() {
            ["reload"] => self.reload().await.map_or_else(Rest::Answer, Rest::Reload),
            ["modules", name, verb] => match Verb::new(verb) {
                Some(verb) => self.order(name, verb).await.map_or_else(Rest::Answer, |before| Rest::Modules(verb, before)),
                None => Rest::Answer(OrderResult::new(Exit::Usage, "known orders are start, stop and restart")),
            },
            _ => {
                let known = "known are /control/reload and /control/modules/NAME/start, …/stop and …/restart";
                Rest::Answer(OrderResult::new(Exit::Usage, known))
            }
        };
        AcceptedOrder { until, rest }
    }

    /// Waits for the end of an order: an HTTP status and a JSON document with `exit`, `sentence` and `lines`. Safe to cancel.
    pub async fn answer(&self, taken: AcceptedOrder) -> (u16, String) {
        let answer = match taken.rest {
            Rest::Answer(answer) => answer,
            Rest::Modules(verb, before) => self.ordered(verb, &before, taken.until).await,
            Rest::Reload(applied) => self.reloaded(&applied, taken.until).await,
        };
        let status = answer.status();
        let document = ControlAnswer { exit: Some(answer.exit.code()), sentence: Some(answer.sentence), lines: Some(answer.lines) };
        (status, document.to_text())
    }

    /// Why nothing can be ordered any more; none while something can.
    fn over(&self) -> Option<OrderResult> {
        let phase = self.published.look().0.phase;
        let sentence = || format!("nothing is started any more: the phase is {}", phase.word());
        phase.is_leaving().then(|| OrderResult::new(Exit::Unavailable, sentence()))
    }

    /// Looks at every new snapshot until `found` yields something; none when the time is over.
    async fn until<T>(&self, until: Moment, found: impl Fn(&Snapshot) -> Option<T>) -> Option<T> {
        within(until.since(Moment::now()), self.published.until(found)).await
    }
}

/// How long the asker waits, `wait_ms` of the query.
fn wait(query: &str) -> Duration {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("wait_ms="));
    value.and_then(|value| value.parse().ok()).map_or(DEFAULT_WAIT, Duration::from_millis).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_bounded_whatever_is_asked() {
        assert_eq!(wait(""), DEFAULT_WAIT);
        assert_eq!(wait("x=1&wait_ms=250"), Duration::from_millis(250));
        assert_eq!(wait("wait_ms=18446744073709551615"), LONGEST_WAIT);
        for nonsense in ["wait_ms=", "wait_ms=-1", "wait_ms=1e9", "wait_ms=99999999999999999999999"] {
            assert_eq!(wait(nonsense), DEFAULT_WAIT, "{nonsense}");
        }
    }
}
