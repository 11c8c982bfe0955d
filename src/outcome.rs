//! The result of one probe: the kind of its error, its duration, and details for authorized readers.

mod reason;

use std::time::Duration;

use crate::secret::scrub;
use crate::visible;
pub use reason::{Detail, Reason};

/// Why a probe passed or failed; a fixed vocabulary, because each word has a fixed public text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorKind {
    /// The peer gave the expected answer.
    Ok,
    /// The host's name has no address.
    Dns,
    /// The host refused the connection.
    Refused,
    /// The network has no route to the host.
    Unreachable,
    /// No answer within the check's timeout.
    Timeout,
    /// The peer refused the credentials or the role.
    Auth,
    /// No TLS session could be agreed upon.
    Tls,
    /// The answer does not follow the expected protocol.
    Protocol,
    /// The peer reports that it is not ready yet.
    NotReady,
    /// The path does not exist, or is not accessible; or the server has no such database.
    Missing,
    /// The peer answered with an unexpected status or body.
    Status,
    /// A command exited with a status other than 0.
    Exit,
    /// The last result is too old.
    Stale,
    /// There is no result yet.
    Never,
    /// The process is not running.
    Exited,
    /// An internal error of portcullis.
    Internal,
}

impl ErrorKind {
    /// All kinds, in the order of this file.
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

    /// The name in logs, metrics and JSON.
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

    /// The only text that unauthorized readers may see.
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

    /// What to check when this kind is reported.
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
            Self::Missing => "check the path, its permissions, and the program that creates it",
            Self::Status => "check the url and the expected response",
            Self::Exit => "check the command",
            Self::Stale | Self::Never | Self::Internal => "check portcullis' own log",
            Self::Exited => "check the process' own log",
        }
    }
}

/// Details of a failure for authorized readers and for the log, without secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Private(Box<str>);

impl Private {
    /// Long enough for any driver's message, short enough for a log line.
    const LONGEST: usize = 300;

    /// Longer texts are cut here before they are processed.
    const LONGEST_HEARD: usize = 64 * 1024;

    /// Takes the text of a dependency, masks possible secrets, joins it to one line without control characters and limits its length.
    pub fn new(text: &str) -> Self {
        let mut end = text.len().min(Self::LONGEST_HEARD);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = scrub(&text[..end]).split_whitespace().collect::<Vec<_>>().join(" ");
        Self(visible::line(&line).chars().take(Self::LONGEST).collect::<String>().into_boxed_str())
    }

    /// The scrubbed text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a probe failed: the kind for all readers, the details for authorized readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind; never [`ErrorKind::Ok`].
    pub kind: ErrorKind,
    /// The detail within the kind.
    pub detail: Detail,
    /// The details.
    pub private: Private,
    /// The status of the unexpected HTTP response.
    pub status: Option<u16>,
}

impl Failure {
    /// A failure of `kind` with the text of a dependency.
    pub fn new(kind: ErrorKind, words: &str) -> Self {
        Self { kind, detail: Detail::Plain, private: Private::new(words), status: None }
    }

    /// An HTTP response with an unexpected status.
    pub fn answered(status: u16) -> Self {
        Self { status: Some(status), ..Self::new(ErrorKind::Status, &format!("the answer's status is {status}")) }
    }

    /// The same, with the name of the peer, if there are several.
    #[must_use]
    pub fn of(self, whom: &str) -> Self {
        Self { private: Private::new(&format!("{whom}: {}", self.private.as_str())), ..self }
    }

    /// The same, with the detail within its kind.
    #[must_use]
    pub fn because(self, detail: Detail) -> Self {
        Self { detail, ..self }
    }

    /// The same on an open connection: a refusal then means that the connection has ended.
    #[must_use]
    pub fn once_connected(self) -> Self {
        if self.kind == ErrorKind::Refused { self.because(Detail::Closed) } else { self }
    }

    /// Why, for the log and the command line.
    pub const fn reason(&self) -> Reason {
        Reason { kind: self.kind, detail: self.detail }
    }
}

/// One of several clients whose endpoints a check probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointClient {
    /// Its name, which several may share.
    pub name: &'static str,
    /// Its number among the clients of this name.
    pub number: usize,
}

/// The result of one of several endpoints of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointResult {
    /// The endpoint's name, unique within its client.
    pub name: String,
    /// Its address, without secrets: a detail.
    pub target: String,
    /// Its client, if the endpoints of a check belong to several clients.
    pub client: Option<EndpointClient>,
    /// `Ok` or why not.
    pub result: Result<(), Failure>,
    /// The status of its HTTP response; none if there was no response.
    pub status: Option<u16>,
    /// How long it took, without the wait for its turn.
    pub elapsed: Duration,
}

/// The state of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its size in bytes; 0 if it does not exist.
    pub total: u64,
    /// The bytes that are free for users other than root.
    pub free: u64,
    /// The bytes that have to be free.
    pub threshold: u64,
    /// Whether its path exists.
    pub exists: bool,
}

/// The result of one run of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `Ok` or why not.
    pub result: Result<(), Failure>,
    /// How long the probe took, at most its timeout.
    pub elapsed: Duration,
    /// The result of each of several endpoints; empty for a single one.
    pub parts: Vec<EndpointResult>,
    /// The examined file system, if it was one.
    pub volume: Option<Volume>,
}

impl Outcome {
    /// A success that took `elapsed`.
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
