//! Connects to the first of several addresses that accepts, with overlapping attempts (RFC 8305).

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, socket};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::{after, shared};
use super::{kind_of_io, shown};
use crate::outcome::{ErrorKind, Failure};

/// After this time without a response the next address is tried in parallel (RFC 8305, 5).
const STAGGER: Duration = Duration::from_millis(250);

/// The minimum time between two attempts, however many addresses there are.
const CLOSEST: Duration = Duration::from_millis(10);

/// A socket whose connection was refused at once, kept for the next attempt: creating and closing one is a fifth of the cost of an attempt
/// on a local port.
#[derive(Debug, Default)]
pub struct RefusedSocket(Option<(AddressFamily, OwnedFd)>);

impl RefusedSocket {
    fn take(&mut self, family: AddressFamily) -> Option<OwnedFd> {
        self.0.take_if(|(kept, _)| *kept == family).map(|(_, file)| file)
    }

    #[cfg(test)]
    pub(super) const fn is_kept(&self) -> bool {
        self.0.is_some()
    }
}

/// An open attempt.
type Open = (SocketAddr, TcpStream);

/// Connects to one of the addresses, at least one, until `deadline`. After a failure the next one is tried at once; without a response
/// after a quarter of a second, or earlier so that all can be tried in time. If none accepts, the most informative failure is returned: a
/// refusal says more than a timeout.
pub(super) async fn connect(addresses: Vec<SocketAddr>, deadline: Instant, refused: &mut RefusedSocket) -> Result<TcpStream, Failure> {
    let began = Instant::now();
    let time = deadline.saturating_duration_since(began);
    let stagger = STAGGER.min(shared(time, addresses.len().saturating_add(1))).max(CLOSEST);
    let mut waiting: VecDeque<_> = addresses.into();
    let (mut open, mut failure): (Vec<Open>, Option<Failure>) = (Vec::new(), None);
    let mut due = began;
    loop {
        if due <= Instant::now()
            && let Some(address) = waiting.pop_front()
        {
            due = after(stagger);
            match begin(address, refused) {
                Ok(Begun::Connected(stream)) => return Ok(stream),
                Ok(Begun::Pending(stream)) => open.push((address, stream)),
                Err(error) => {
                    keep_refusal(&mut failure, address, &error);
                    due = Instant::now();
                    continue;
                }
            }
        }
        if open.is_empty() && waiting.is_empty() {
            return Err(failure.unwrap_or_else(|| Failure::new(ErrorKind::Dns, "the name has no address")));
        }
        let more = !waiting.is_empty();
        tokio::select! {
            biased;
            (address, decided) = poll_fn(|context| first_decided(&mut open, context)) => match decided {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    keep_refusal(&mut failure, address, &error);
                    due = Instant::now();
                }
            },
            () = sleep_until(due), if more => {}
            () = sleep_until(deadline) => return Err(failure.filter(|failure| failure.kind == ErrorKind::Refused).unwrap_or_else(|| silent(&open, time))),
        }
    }
}

/// The first finished attempt, removed from the open ones.
fn first_decided(open: &mut Vec<Open>, context: &mut Context<'_>) -> Poll<(SocketAddr, io::Result<TcpStream>)> {
    let decided = open.iter().enumerate().find_map(|(index, (_, stream))| match stream.poll_write_ready(context) {
        Poll::Ready(Ok(())) => Some((index, stream.take_error().and_then(|error| error.map_or(Ok(()), Err)))),
        Poll::Ready(Err(error)) => Some((index, Err(error))),
        Poll::Pending => None,
    });
    let Some((index, result)) = decided else { return Poll::Pending };
    let (address, stream) = open.swap_remove(index);
    Poll::Ready((address, result.map(|()| stream)))
}

fn keep_refusal(failure: &mut Option<Failure>, address: SocketAddr, error: &io::Error) {
    if failure.as_ref().is_none_or(|before| before.kind != ErrorKind::Refused) {
        *failure = Some(Failure::new(kind_of_io(error), &format!("connecting to {address}: {error}")));
    }
}

/// The error if no address responded.
fn silent(open: &[Open], time: Duration) -> Failure {
    let others = match open.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count.saturating_sub(1)),
    };
    let first = open.first().map(|(address, _)| address.to_string()).unwrap_or_default();
    Failure::new(ErrorKind::Timeout, &format!("connecting to {first}{others}: no answer within {}", shown(time)))
}

/// A started connection; one that is decided at once, like on this host, is not waited for.
enum Begun {
    Connected(TcpStream),
    Pending(TcpStream),
}

fn begin(address: SocketAddr, refused: &mut RefusedSocket) -> io::Result<Begun> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let mut kept = refused.take(family);
    loop {
        let (file, again) = match kept.take() {
            Some(file) => (file, true),
            None => (socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?, false),
        };
        match connect_now(&file, address) {
            Ok(pending) => {
                let stream = TcpStream::from_std(file.into())?;
                return Ok(if pending { Begun::Pending(stream) } else { Begun::Connected(stream) });
            }
            Err(Errno::ECONNREFUSED) => {
                refused.0 = Some((family, file));
                return Err(Errno::ECONNREFUSED.into());
            }
            // Linux allows a second connect on a refused socket; compatible systems may not.
            Err(_) if again => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Begins to connect; returns whether it is still undecided.
fn connect_now(file: &OwnedFd, address: SocketAddr) -> nix::Result<bool> {
    let to = SockaddrStorage::from(address);
    // A second connect returns the result, and on this host it is decided by then.
    let attempt = || nix::sys::socket::connect(file.as_raw_fd(), &to);
    match attempt().or_else(|errno| if errno == Errno::EINPROGRESS { attempt() } else { Err(errno) }) {
        Ok(()) | Err(Errno::EISCONN) => Ok(false),
        Err(Errno::EINPROGRESS | Errno::EALREADY) => Ok(true),
        Err(errno) => Err(errno),
    }
}

/// The order in which addresses are tried: those without a route last, then by RFC 6724 (global IPv6, IPv4, private IPv6), with alternating
/// families (RFC 8305, 4). Within a family the order of the name server is kept.
pub(super) fn ordered(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if addresses.len() < 2 {
        return addresses;
    }
    addresses.sort_by_key(|address| (!has_way(*address), rank(address.ip())));
    let first = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut own, mut other): (VecDeque<_>, VecDeque<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let mut turns = Vec::with_capacity(own.len().saturating_add(other.len()));
    while !own.is_empty() || !other.is_empty() {
        turns.extend(own.pop_front());
        turns.extend(other.pop_front());
    }
    turns
}

fn rank(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => 2,
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 0,
    }
}

/// Whether the kernel has a route to it; nothing is sent.
fn has_way(address: SocketAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let addresses = ["127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1", "[::1]:1", "[::1]:2"].map(|text| text.parse::<SocketAddr>().unwrap());
        let turns: Vec<_> = ordered(addresses.into()).iter().map(ToString::to_string).collect();
        assert_eq!(turns.len(), 5);
        if has_way(addresses[3]) {
            assert_eq!(turns, ["[::1]:1", "127.0.0.1:1", "[::1]:2", "127.0.0.2:1", "127.0.0.3:1"]);
        }
        let ranks = ["2001:db8::1", "10.0.0.1", "fd00::1"].map(|ip| rank(ip.parse().unwrap()));
        assert_eq!(ranks, [0, 1, 2]);
    }
}
