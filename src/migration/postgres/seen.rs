//! What a waiting replica knows about the holders before it: who holds the lock, whether the last one ended cleanly, and which sessions
//! certainly belong to a migration.

use std::collections::BTreeSet;

/// One session of the server: its pid, and its start in seconds since 1970, because pids are reused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(pub(super) String);

impl SessionId {
    pub(super) fn new(pid: &str, began: &str) -> Self {
        Self(format!("{pid}@{began}"))
    }
}

/// The maximum number of remembered sessions, so that a replica that waits for weeks does not run out of memory.
const MOST_PROVEN: usize = 1000;

/// The known holders before this replica.
#[derive(Debug, Default)]
pub(super) struct Seen {
    last: Last,
    /// The transaction that is the lock of the last holder, behind a pooler.
    transaction: Option<String>,
    /// Sessions that their holder confirmed as sockets of its own migration's processes.
    proven: BTreeSet<SessionId>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nobody,
    /// Its name.
    Holding(String),
    /// It announced that it was done.
    Done(String),
}

impl Seen {
    /// Records a holder that was seen; one that has just released the lock may still be visible.
    pub(super) fn meet(&mut self, name: &str, transaction: Option<&str>) {
        if !matches!(&self.last, Last::Done(done) if done == name) {
            self.last = Last::Holding(name.to_owned());
        }
        self.transaction = transaction.map(str::to_owned);
    }

    /// Records a notification of a holder; returns whether it announces the release.
    pub(super) fn hear(&mut self, word: &str) -> bool {
        match word.split_once(' ') {
            Some(("begin", name)) => {
                self.last = Last::Holding(name.to_owned());
                self.transaction = None;
            }
            Some(("done", name)) if !matches!(&self.last, Last::Holding(other) if other != name) => {
                self.last = Last::Done(name.to_owned());
                return true;
            }
            Some(("direct", session)) if self.proven.len() < MOST_PROVEN => {
                self.proven.insert(SessionId(session.to_owned()));
            }
            _ => {}
        }
        false
    }

    /// Whether the last holder released the lock properly, or there was none.
    pub(super) fn ended_cleanly(&self) -> bool {
        !matches!(self.last, Last::Holding(_))
    }

    /// The transaction whose end shows how the last holder ended.
    pub(super) fn transaction(&self) -> Option<&str> {
        self.transaction.as_deref()
    }

    /// Whether its holder confirmed that this session is a socket of its own migration, so that no pooler shares it.
    pub(super) fn is_proven(&self, session: &SessionId) -> bool {
        self.proven.contains(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_that_took_leave_has_left_until_another_begins() {
        let mut seen = Seen::default();
        assert!(seen.ended_cleanly());
        seen.meet("one", None);
        assert_eq!(seen.last, Last::Holding("one".to_owned()));
        assert!(!seen.hear("done two"), "the leave of another holder");
        assert!(seen.hear("done one"));
        seen.meet("one", None);
        assert_eq!(seen.last, Last::Done("one".to_owned()), "seen once more on its way out");
        assert!(!seen.hear("begin two"));
        assert_eq!(seen.last, Last::Holding("two".to_owned()));
        assert!(!seen.hear("nonsense"));
        assert!(!seen.ended_cleanly());
    }

    #[test]
    fn only_a_session_that_its_holder_recorded_is_proven() {
        let mut seen = Seen::default();
        assert!(!seen.hear("direct 12@1700000000.5"));
        assert!(seen.is_proven(&SessionId::new("12", "1700000000.5")));
        assert!(!seen.is_proven(&SessionId::new("12", "1700000001.5")), "the same pid, later");
        assert!(seen.ended_cleanly(), "it is no news of the lock");
    }

    #[test]
    fn the_transaction_is_that_of_the_holder_seen_last() {
        let mut seen = Seen::default();
        seen.meet("one", Some("700"));
        assert_eq!(seen.transaction(), Some("700"));
        seen.meet("two", None);
        assert_eq!(seen.transaction(), None);
    }
}
