//! Control requests for modules and the reload: parsed, sent as events, and answered once the snapshot shows the result.
//!
//! The reducer makes all decisions. A request waits for a published snapshot, for a limited time; a client that no longer waits does not
//! cancel the request.
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

/// The default time to wait for a result.
const DEFAULT_WAIT: Duration = Duration::from_secs(60);

/// The longest time to wait for a result.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the reducer may need to accept a request; it normally does so at once.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// The source of the running configuration, which a reload reads again.
#[derive(Clone)]
pub struct Sources {
    /// The options of the command line.
    pub request: RunOptions,
    /// The environment at the start.
    pub environment: Environment,
}

/// Accepts control requests for one run.
pub struct Control {
    sources: Arc<Sources>,
    mailbox: Mailbox,
    published: Arc<Published>,
    /// Held during a reload, so that there is only one at a time.
    reload: Mutex<reload::Sent>,
    /// Held while a request is sent to the reducer, so that the next change of the snapshot belongs to this request.
    taking: Mutex<()>,
}

/// The result of a control request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OrderResult {
    /// The exit code of the command.
    exit: Exit,
    /// One sentence for a person.
    sentence: String,
    /// Further lines.
    lines: Vec<String>,
}

impl OrderResult {
    fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into(), lines: Vec::new() }
    }

    fn with(self, lines: Vec<String>) -> Self {
        Self { lines, ..self }
    }

    /// The corresponding HTTP status.
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

/// An accepted request; waiting for its result is optional.
pub struct AcceptedOrder {
    until: Moment,
    rest: Rest,
}

/// The rest of an accepted request.
enum Rest {
    /// Nothing: this is the result.
    Answer(OrderResult),
    /// These modules (with their previous state) have to reach the requested state.
    Modules(Verb, Vec<Module>),
    /// The modules of a reload have to reach their state.
    Reload(reload::Applied),
}

impl Control {
    /// Control over the run whose snapshots are `published`.
    pub fn new(sources: Sources, mailbox: Mailbox, published: Arc<Published>) -> Self {
        Self { sources: Arc::new(sources), mailbox, published, reload: Mutex::default(), taking: Mutex::default() }
    }

    /// Begins the request `POST /control/target`. Do not cancel it in the middle.
    pub async fn take(&self, target: &str) -> AcceptedOrder {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let until = Moment::now().after(wait(query));
        let segments: Vec<&str> = path.split('/').collect();
        let rest = match segments.as_slice() {
            ["reload"] => self.reload().await.map_or_else(Rest::Answer, Rest::Reload),
            ["modules", name, verb] => match Verb::new(verb) {
                Some(verb) => self.order(name, verb).await.map_or_else(Rest::Answer, |before| Rest::Modules(verb, before)),
                None => Rest::Answer(OrderResult::new(Exit::Usage, "the known verbs are start, stop and restart")),
            },
            _ => {
                let known = "the known paths are /control/reload and /control/modules/NAME/start, …/stop and …/restart";
                Rest::Answer(OrderResult::new(Exit::Usage, known))
            }
        };
        AcceptedOrder { until, rest }
    }

    /// Waits for the result of a request: an HTTP status and a JSON document with `exit`, `sentence` and `lines`. Safe to cancel.
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

    /// Why no requests are accepted any more; none while they are.
    fn over(&self) -> Option<OrderResult> {
        let phase = self.published.look().0.phase;
        let sentence = || format!("nothing can be started any more: the phase is {}", phase.word());
        phase.is_leaving().then(|| OrderResult::new(Exit::Unavailable, sentence()))
    }

    /// Calls `found` for every new snapshot until it returns something; none if the time is over.
    async fn until<T>(&self, until: Moment, found: impl Fn(&Snapshot) -> Option<T>) -> Option<T> {
        within(until.since(Moment::now()), self.published.until(found)).await
    }
}

/// How long the client waits: `wait_ms` of the query.
fn wait(query: &str) -> Duration {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("wait_ms="));
    value.and_then(|value| value.parse().ok()).map_or(DEFAULT_WAIT, Duration::from_millis).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_limited_whatever_is_requested() {
        assert_eq!(wait(""), DEFAULT_WAIT);
        assert_eq!(wait("x=1&wait_ms=250"), Duration::from_millis(250));
        assert_eq!(wait("wait_ms=18446744073709551615"), LONGEST_WAIT);
        for nonsense in ["wait_ms=", "wait_ms=-1", "wait_ms=1e9", "wait_ms=99999999999999999999999"] {
            assert_eq!(wait(nonsense), DEFAULT_WAIT, "{nonsense}");
        }
    }
}
