//! What one probe found: the kind of its error, the time it took, and words for those who may read them.

mod reason;

use std::time::Duration;

use crate::secret::scrub;
use crate::visible;
pub use reason::{Detail, Reason};

/// Why a probe passed or failed; a fixed vocabulary, because each word has a fixed public text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The peer answered as it should.
    Ok,
    /// The host's name has no address.
    Dns,
    /// The host refused the connection.
    Refused,
    /// The network has no way to the host.
    Unreachable,
    /// No answer within the check's timeout.
    Timeout,
    /// The peer refused the credentials or the role.
    Auth,
    /// No TLS session could be agreed upon.
    Tls,
    /// The answer is not one of the expected protocol.
    Protocol,
    /// The peer says itself that it is not ready yet.
    NotReady,
    /// The path is not there, or not for us to see; the server has no such database.
    Missing,
    /// The peer answered with a status or a body that was not expected.
    Status,
    /// A command ended with another status than 0.
    Exit,
    /// The last result is too old to be believed.
    Stale,
    /// There is no result yet.
    Never,
    /// The process is not running.
    Exited,
    /// A fault of portcullis itself.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of this page.
    pub const ALL: [Self; 16] = [
        Self::Ok,
        Self::Dns,
        Self::Refused,
        Self::Unreachable,
        Self::Timeout,
        Self::Auth,
        Self::Tls,
        Self::Protocol,
        Self::NotReady,
        Self::Missing,
        Self::Status,
        Self::Exit,
        Self::Stale,
        Self::Never,
        Self::Exited,
        Self::Internal,
    ];

    /// The word for logs, metrics and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Auth => "auth",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::NotReady => "not_ready",
            Self::Missing => "missing",
            Self::Status => "status",
            Self::Exit => "exit",
            Self::Stale => "stale",
            Self::Never => "never",
            Self::Exited => "exited",
            Self::Internal => "internal",
        }
    }

    /// The only text that an unauthorized reader may see.
    pub const fn public(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Dns => "name resolution failed",
            Self::Refused => "connection refused",
            Self::Unreachable => "host unreachable",
            Self::Timeout => "timed out",
            Self::Auth => "authentication failed",
            Self::Tls => "tls handshake failed",
            Self::Protocol => "unexpected reply",
            Self::NotReady => "peer not ready",
            Self::Missing => "not there",
            Self::Status => "unexpected status",
            Self::Exit => "command failed",
            Self::Stale => "result is stale",
            Self::Never => "not checked yet",
            Self::Exited => "process not running",
            Self::Internal => "internal error",
        }
    }

    /// What a person should look at when this kind is reported.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Ok => "nothing",
            Self::Dns => "check the host's name and that its service exists",
            Self::Refused => "check the port and that the server is running",
            Self::Unreachable => "check the network and the address",
            Self::Timeout => "check that the server answers and that no firewall drops the packets",
            Self::Auth => "check user, password and database",
            Self::Tls => "check certificates and the TLS mode",
            Self::Protocol => "check that this port speaks the expected protocol",
            Self::NotReady => "the server is starting or recovering",
            Self::Missing => "check the path, its permissions, and what makes it",
            Self::Status => "check the url and what is expected of it",
            Self::Exit => "check the command",
            Self::Stale | Self::Never | Self::Internal => "check portcullis' own log",
            Self::Exited => "check the process' own log",
        }
    }
}

/// Words about a failure for authorized readers and for the log; scrubbed at birth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Private(Box<str>);

impl Private {
    /// Long enough for any driver's message, short enough for a log line.
    const LONGEST: usize = 300;

    /// More words than this are not even looked at.
    const LONGEST_HEARD: usize = 64 * 1024;

    /// Takes a dependency's words, masks what may be a secret, folds them to one line without control
    /// characters and cuts them to length.
    pub fn new(text: &str) -> Self {
        let mut end = text.len().min(Self::LONGEST_HEARD);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = scrub(&text[..end]).split_whitespace().collect::<Vec<_>>().join(" ");
        Self(visible::line(&line).chars().take(Self::LONGEST).collect::<String>().into_boxed_str())
    }

    /// The scrubbed words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a probe failed: the kind for everyone, the words for authorized readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind; never [`ErrorKind::Ok`].
    pub kind: ErrorKind,
    /// What happened within the kind.
    pub detail: Detail,
    /// The details.
    pub private: Private,
    /// The status of the HTTP answer that was not the expected one.
    pub status: Option<u16>,
}

impl Failure {
    /// A failure of `kind` in a dependency's own words.
    pub fn new(kind: ErrorKind, words: &str) -> Self {
        Self { kind, detail: Detail::Plain, private: Private::new(words), status: None }
    }

    /// An HTTP answer with a status that was not expected.
    pub fn answered(status: u16) -> Self {
        Self { status: Some(status), ..Self::new(ErrorKind::Status, &format!("the answer's status is {status}")) }
    }

    /// The same, with who of several it is.
    #[must_use]
    pub fn of(self, whom: &str) -> Self {
        Self { private: Private::new(&format!("{whom}: {}", self.private.as_str())), ..self }
    }

    /// The same, with what happened within its kind.
    #[must_use]
    pub fn because(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }

    /// The same on a connection that was open already: what counts as a refusal is then its end.
    #[must_use]
    pub fn once_connected(self) -> Self {
        if self.kind == ErrorKind::Refused { self.because(Detail::Closed) } else { self }
    }

    /// Why, for the log and the command line.
    pub const fn reason(&self) -> Reason {
        Reason { kind: self.kind, detail: self.detail }
    }
}

/// One of several clients whose endpoints a check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointClient {
    /// Its name, which several may share.
    pub name: &'static str,
    /// Which of those of this name it is.
    pub number: usize,
}

/// What one of several endpoints of a check yielded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointResult {
    /// The endpoint's name, unique within its client.
    pub name: String,
    /// Where it is, without secrets: a detail.
    pub target: String,
    /// Whose it is, where the endpoints of a check are those of several clients.
    pub client: Option<EndpointClient>,
    /// `Ok` or why not.
    pub result: Result<(), Failure>,
    /// The status of its HTTP answer; none where there was no answer.
    pub status: Option<u16>,
    /// How long it took, waiting for its turn left out.
    pub elapsed: Duration,
}

/// A file system as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its bytes; 0 where it is not there.
    pub total: u64,
    /// Bytes that are free for users who are not root.
    pub free: u64,
    /// Bytes that have to be.
    pub threshold: u64,
    /// Whether its path is there.
    pub exists: bool,
}

/// What one run of a probe yielded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `Ok` or why not.
    pub result: Result<(), Failure>,
    /// How long the probe took, its timeout at most.
    pub elapsed: Duration,
    /// What each of several endpoints yielded; empty for a check of one.
    pub parts: Vec<EndpointResult>,
    /// The file system that was looked at, where it was one.
    pub volume: Option<Volume>,
}

impl Outcome {
    /// A pass that took `elapsed`.
    pub fn passed(elapsed: Duration) -> Self {
        Self { result: Ok(()), elapsed, parts: Vec::new(), volume: None }
    }

    /// A failure that took `elapsed`.
    pub fn failed(kind: ErrorKind, words: &str, elapsed: Duration) -> Self {
        Self { result: Err(Failure::new(kind, words)), elapsed, parts: Vec::new(), volume: None }
    }

    /// The kind of the result.
    pub fn kind(&self) -> ErrorKind {
        self.reason().kind
    }

    /// Why, for the log and the command line.
    pub fn reason(&self) -> Reason {
        self.result.as_ref().map_or_else(Failure::reason, |()| ErrorKind::Ok.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_words_are_one_short_scrubbed_line() {
        let private = Private::new(&format!("FATAL:\n password=hunter2 {}", "x".repeat(1000)));
        assert!(private.as_str().starts_with("FATAL: password=*** x"));
        assert_eq!(private.as_str().chars().count(), Private::LONGEST);
    }

    #[test]
    fn every_kind_has_its_own_word() {
        let mut words: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), ErrorKind::ALL.len());
    }
}
