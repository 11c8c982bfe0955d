//! What a waiting replica saw and heard of the holders before it: who holds the lock, whether the last one ended cleanly, and which of a
//! migration's sessions were proven to be its own.

use std::collections::BTreeSet;

/// One session of the server: its pid, and when it began in seconds since 1970, because pids return.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId(pub(super) String);

impl SessionId {
    pub(super) fn new(pid: &str, began: &str) -> Self {
        Self(format!("{pid}@{began}"))
    }
}

/// The most sessions that are remembered: a fleet that migrates for weeks must not fill the memory of one that queues.
const MOST_PROVEN: usize = 1000;

/// The holders before us, as far as they were seen or heard.
#[derive(Debug, Default)]
pub(super) struct Seen {
    last: Last,
    /// The transaction that is the lock of the last holder, where it is one of a transaction.
    transaction: Option<String>,
    /// Sessions whose holder saw that they are sockets of its own migration's processes.
    proven: BTreeSet<SessionId>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Nobody,
    /// Its name.
    Holding(String),
    /// It said that it was done.
    Done(String),
}

impl Seen {
    /// A holder is met; one that took leave a moment ago may still be seen.
    pub(super) fn meet(&mut self, name: &str, transaction: Option<&str>) {
        if !matches!(&self.last, Last::Done(done) if done == name) {
            self.last = Last::Holding(name.to_owned());
        }
        self.transaction = transaction.map(str::to_owned);
    }

    /// A word of a holder; whether it is a leave.
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

    /// Whether the last holder took leave, or there was none.
    pub(super) fn ended_cleanly(&self) -> bool {
        !matches!(self.last, Last::Holding(_))
    }

    /// The transaction whose end tells how the last holder ended.
    pub(super) fn transaction(&self) -> Option<&str> {
        self.transaction.as_deref()
    }

    /// Whether its holder saw that this session is a socket of its own migration, so that no pooler can have lent it to anybody.
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
        assert!(!seen.hear("done two"), "somebody else's leave");
        assert!(seen.hear("done one"));
        seen.meet("one", None);
        assert_eq!(seen.last, Last::Done("one".to_owned()), "seen once more on its way out");
        assert!(!seen.hear("begin two"));
        assert_eq!(seen.last, Last::Holding("two".to_owned()));
        assert!(!seen.hear("nonsense"));
        assert!(!seen.ended_cleanly());
    }

    #[test]
    fn only_a_session_whose_holder_said_so_is_proven() {
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
