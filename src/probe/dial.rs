//! Opens one connection to a host and a port or to a unix socket, and classifies failures.

mod race;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use crate::names::{self, LookupError};
use crate::outcome::{Detail, ErrorKind, Failure};
use crate::plan::target::Address;
pub use race::RefusedSocket;
use race::ordered;

/// The common interface of TCP, unix and TLS streams.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static> Duplex for T {}

/// The addresses of a host, in the order in which they are tried; a name without any is [`ErrorKind::Dns`], and so is no response of the
/// name servers `within` that time.
pub async fn resolve(address: &Address, within: Duration) -> Result<Vec<SocketAddr>, Failure> {
    match timeout(within, names::resolve(&address.host, address.port)).await {
        Ok(Ok(addresses)) => Ok(ordered(addresses)),
        Ok(Err(trouble)) => {
            let kind = if matches!(trouble, LookupError::Internal(_)) { ErrorKind::Internal } else { ErrorKind::Dns };
            Err(Failure::new(kind, &format!("{}: {trouble}", address.host)))
        }
        Err(_) => Err(Failure::new(ErrorKind::Dns, &format!("{}: no name server answered within {}", address.host, shown(within)))),
    }
}

/// A unique number of a session within this process, to distinguish it from its replacement.
pub(super) fn session_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Like [`dial_again`], for callers that do not retry every few milliseconds.
pub async fn dial(address: &Address, within: Duration) -> Result<TcpStream, Failure> {
    dial_again(address, within, &mut RefusedSocket::default()).await
}

/// Connects to the first address of the host that accepts, `within` that total time.
pub async fn dial_again(address: &Address, within: Duration, refused: &mut RefusedSocket) -> Result<TcpStream, Failure> {
    let deadline = after(within);
    let addresses = resolve(address, within).await?;
    let stream = race::connect(addresses, deadline, refused).await?;
    // Otherwise every small request may wait for the response to the previous one.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// The moment after this time; now if the clock cannot represent it.
pub(super) fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or(now)
}

/// The share of one of several in a time.
pub(super) fn shared(time: Duration, count: usize) -> Duration {
    time.checked_div(u32::try_from(count).unwrap_or(u32::MAX)).unwrap_or(time)
}

/// Connects to a unix socket; a missing file counts as a refusal, because its server is not running.
pub async fn dial_unix(path: &Path) -> Result<UnixStream, Failure> {
    UnixStream::connect(path).await.map_err(|error| {
        let failure = Failure::new(kind_of_io(&error), &format!("connecting to {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::NotFound => failure.because(Detail::NoSocket),
            io::ErrorKind::ConnectionRefused => failure.because(Detail::Deserted),
            _ => failure,
        }
    })
}

/// Makes the kernel drop a connection if data stays unacknowledged for `after`, and enables keepalives for silent peers.
///
/// If the kernel refuses an option, the connection is still usable, but notices a lost peer later.
pub fn notice_loss(stream: &TcpStream, after: Duration) {
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &(after.as_millis() as u32));
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &10);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &5);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &3);
}

/// Connects to an address, or to a unix socket if the host is a path.
pub async fn dial_either(address: &Address, within: Duration) -> Result<Box<dyn Duplex>, Failure> {
    if address.host.starts_with('/') {
        return Ok(Box::new(dial_unix(Path::new(&address.host)).await?));
    }
    Ok(Box::new(dial(address, within).await?))
}

/// The class of an error of the socket layer.
///
/// A connection that is closed before a response counts as refused: Docker's proxy in front of a container that does not listen yet, and a
/// server at its limit of clients, behave in this way.
pub fn kind_of_io(error: &io::Error) -> ErrorKind {
    use io::ErrorKind as IoErrorKind;
    match error.kind() {
        IoErrorKind::ConnectionRefused
        | IoErrorKind::ConnectionReset
        | IoErrorKind::ConnectionAborted
        | IoErrorKind::BrokenPipe
        | IoErrorKind::NotConnected
        | IoErrorKind::UnexpectedEof
        | IoErrorKind::NotFound => ErrorKind::Refused,
        IoErrorKind::HostUnreachable | IoErrorKind::NetworkUnreachable | IoErrorKind::NetworkDown | IoErrorKind::AddrNotAvailable => {
            ErrorKind::Unreachable
        }
        IoErrorKind::TimedOut | IoErrorKind::WouldBlock => ErrorKind::Timeout,
        IoErrorKind::InvalidData | IoErrorKind::InvalidInput => ErrorKind::Protocol,
        // Out of descriptors or memory, or a policy that forbids the call: a local problem, not the peer's.
        _ => ErrorKind::Internal,
    }
}

/// The class of the first error of the socket layer in a chain of causes, if any.
pub fn kind_of_chain(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return Some(ErrorKind::Tls);
        }
        // The redis driver keeps its causes in this way.
        if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            return kind_of_chain(&**shared);
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            // hyper and redis wrap one error of the socket layer in another.
            let inner = io.get_ref().and_then(|inner| kind_of_chain(inner));
            return Some(inner.unwrap_or_else(|| kind_of_io(io)));
        }
        cause = error.source();
    }
    None
}

/// An error with all its causes, because drivers put the reason into the last one.
pub fn words_of_chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words.push_str(": ");
            words.push_str(&more);
        }
        cause = error.source();
    }
    words
}

/// A duration in readable form, in milliseconds.
pub fn shown(duration: Duration) -> String {
    humantime::format_duration(Duration::from_millis(duration.as_millis() as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_socket_layer_have_classes() {
        for (number, kind) in [
            (libc::ECONNREFUSED, ErrorKind::Refused),
            (libc::ECONNRESET, ErrorKind::Refused),
            (libc::ENOENT, ErrorKind::Refused),
            (libc::EHOSTUNREACH, ErrorKind::Unreachable),
            (libc::ENETUNREACH, ErrorKind::Unreachable),
            (libc::ETIMEDOUT, ErrorKind::Timeout),
            (libc::EMFILE, ErrorKind::Internal),
        ] {
            assert_eq!(kind_of_io(&io::Error::from_raw_os_error(number)), kind, "{number}");
        }
    }

    #[tokio::test]
    async fn a_refused_socket_is_tried_again_and_connects_once_there_is_a_listener() {
        let reserved = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let place = reserved.local_addr().unwrap();
        drop(reserved);
        let address = Address { host: place.ip().to_string(), port: place.port() };
        let mut refused = RefusedSocket::default();
        for _ in 0..3 {
            let failure = dial_again(&address, Duration::from_secs(5), &mut refused).await.unwrap_err();
            assert_eq!((failure.kind, refused.is_kept()), (ErrorKind::Refused, true));
        }
        let listener = std::net::TcpListener::bind(place).unwrap();
        let stream = dial_again(&address, Duration::from_secs(5), &mut refused).await.unwrap();
        assert_eq!(stream.local_addr().unwrap(), listener.accept().unwrap().1);
        assert!(!refused.is_kept());
    }

    #[test]
    fn the_reason_is_found_under_its_wrappers() {
        let wrapped = io::Error::other(io::Error::other(io::Error::from_raw_os_error(libc::ECONNREFUSED)));
        assert_eq!(kind_of_chain(&wrapped), Some(ErrorKind::Refused));
        assert_eq!(kind_of_chain(&std::fmt::Error), None);
    }
}
