//! The endpoints of the running portcullis: a unix socket or an address of this host, never a name that has to be resolved.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use crate::plan::SocketName;
use crate::sys::peer::{Peer, Trust};

/// The default port.
const DEFAULT_PORT: u16 = 8051;

/// The endpoint as written in options, environment or file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerLocation {
    /// One address or several with commas between, each like `0.0.0.0:8051`, `[::]:8051`, `:8051` or `8051`.
    pub listen: Option<String>,
    /// A path, or `@name` in the abstract namespace; empty if the server has none.
    pub socket: Option<String>,
}

/// One endpoint of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::command) enum Endpoint {
    /// A unix socket.
    Unix(SocketName),
    /// An address.
    Tcp(SocketAddr),
}

impl ServerLocation {
    /// The endpoints of the server in the order in which they are tried.
    ///
    /// `guess` adds the defaults: the unix socket that is named after the port, and the default address.
    pub(in crate::command) fn endpoints(&self, guess: bool) -> Result<Vec<Endpoint>, String> {
        let listen = self.listen.as_deref().unwrap_or_default();
        let mut addresses = listen
            .split([',', ' '])
            .filter(|part| !part.is_empty())
            .map(|part| address(part).ok_or_else(|| format!("{part} is not an address like 127.0.0.1:8051")))
            .collect::<Result<Vec<_>, _>>()?;
        if guess && self.listen.is_none() && self.socket.is_none() {
            addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)));
        }
        let socket = match (&self.socket, addresses.first()) {
            (Some(socket), _) if socket.is_empty() => None,
            (Some(socket), _) => Some(SocketName::new(socket)),
            (None, Some(first)) if guess => Some(SocketName::Abstract(format!("portcullis/{}", first.port()))),
            (None, _) => None,
        };
        let mut endpoints: Vec<Endpoint> = socket.into_iter().map(Endpoint::Unix).collect();
        for address in addresses {
            for reached in loopback(address) {
                if !endpoints.contains(&Endpoint::Tcp(reached)) {
                    endpoints.push(Endpoint::Tcp(reached));
                }
            }
        }
        if endpoints.is_empty() { Err("no socket and no address to use".to_owned()) } else { Ok(endpoints) }
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    let port = text.strip_prefix(':').unwrap_or(text).parse().ok();
    port.map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).or_else(|| text.parse().ok())
}

/// Where a server that listens on `address` can be reached locally: the address itself, or both loopback addresses.
fn loopback(address: SocketAddr) -> Vec<SocketAddr> {
    if address.ip().is_unspecified() {
        let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        both.map(|ip| SocketAddr::new(ip, address.port())).to_vec()
    } else {
        vec![address]
    }
}

impl Endpoint {
    /// Connects within `timeout`.
    pub(in crate::command) fn connect(&self, timeout: Duration) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => TcpStream::connect_timeout(address, timeout).map(Stream::Tcp),
            Self::Unix(name) => connect_unix(name, timeout).map(Stream::Unix),
        }
    }
}

/// The socket is held by a user that is neither root nor our own user, or possibly another user.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", self.words())]
pub(in crate::command) struct Held {
    peer: Peer,
    trust: Trust,
}

impl Held {
    /// Extracts this error from a failed connection attempt.
    pub(in crate::command) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// Whether it is certainly another user.
    pub(in crate::command) fn is_certain(self) -> bool {
        self.trust == Trust::Foreign
    }

    fn words(self) -> String {
        match self.trust {
            Trust::Unproven => format!("held by user {}, which stands for every user outside of this user namespace", self.peer.uid),
            _ => format!("held by {}, which is neither root nor the user of this command", self.peer),
        }
    }
}

/// If a server has stopped accepting and its backlog is full, `connect(2)` blocks forever; the send timeout ends that.
fn connect_unix(name: &SocketName, timeout: Duration) -> io::Result<UnixStream> {
    let address = match name {
        SocketName::Abstract(name) => UnixAddr::new_abstract(name.as_bytes())?,
        SocketName::Path(path) => UnixAddr::new(path)?,
    };
    let unconnected = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = TimeVal::new(timeout.as_secs().min(86_400).cast_signed(), i64::from(timeout.subsec_micros()));
    setsockopt(&unconnected, sockopt::SendTimeout, &limit)?;
    connect(unconnected.as_raw_fd(), &address).map_err(io::Error::from).map_err(super::timed_out)?;
    // Checked before anything is sent: any process can bind the name first, the request may contain a token, and the response is trusted.
    let peer = Peer::of(&unconnected).ok_or(io::ErrorKind::PermissionDenied)?;
    match peer.trust() {
        Trust::Ours => Ok(UnixStream::from(unconnected)),
        trust => Err(io::Error::new(io::ErrorKind::PermissionDenied, Held { peer, trust })),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(name) => write!(f, "{name}"),
            Self::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// A connection to the server.
#[derive(Debug)]
pub(in crate::command) enum Stream {
    /// Over a unix socket.
    Unix(UnixStream),
    /// Over TCP.
    Tcp(TcpStream),
}

impl Stream {
    /// Limits the next read and the next write.
    pub(in crate::command) fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout))),
            Self::Tcp(stream) => stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout))),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buffer),
            Self::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
        }
    }
}
