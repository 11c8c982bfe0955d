//! The sockets that health questions come in on, bound before anything else begins.

use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::{Mode, fchmod};

use crate::plan::{HealthPlan, SocketName};
use crate::sys::peer::Peer;

/// A health listener that could not be bound, in one sentence that names every address that was tried.
#[derive(Debug, thiserror::Error)]
#[error("listening for health questions failed: {0}")]
pub struct BindError(String);

/// The bound sockets of one run.
#[derive(Debug)]
pub struct Listeners {
    tcp: Option<TcpListener>,
    unix: Option<UnixListener>,
}

impl Listeners {
    /// Binds the first of the addresses that can be bound, and the unix socket.
    ///
    /// A path gets mode 0600; a socket that lies there already and that nobody listens on is replaced.
    pub fn bind(plan: &HealthPlan) -> Result<Self, BindError> {
        let tcp = bind_tcp(&plan.listen)?;
        let unix = plan.socket.as_ref().map(bind_unix).transpose()?;
        Ok(Self { tcp, unix })
    }

    /// The same sockets once more, to serve again from after a panic.
    pub fn try_clone(&self) -> io::Result<Self> {
        let tcp = self.tcp.as_ref().map(TcpListener::try_clone).transpose()?;
        let unix = self.unix.as_ref().map(UnixListener::try_clone).transpose()?;
        Ok(Self { tcp, unix })
    }

    /// The address that was bound; none without TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().and_then(|tcp| tcp.local_addr().ok())
    }

    /// Hands the sockets to the runtime in whose context this is called.
    pub(super) fn into_tokio(self) -> io::Result<(Option<tokio::net::TcpListener>, Option<tokio::net::UnixListener>)> {
        let tcp = self.tcp.map(|tcp| tcp.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(tcp)));
        let unix = self.unix.map(|unix| unix.set_nonblocking(true).and_then(|()| tokio::net::UnixListener::from_std(unix)));
        Ok((tcp.transpose()?, unix.transpose()?))
    }
}

fn bind_tcp(addresses: &[SocketAddr]) -> Result<Option<TcpListener>, BindError> {
    let mut failures = String::new();
    for address in addresses {
        // The standard library sets SO_REUSEADDR, so that connections in TIME_WAIT do not keep a successor out.
        match TcpListener::bind(address) {
            Ok(listener) => {
                widen(&listener);
                return Ok(Some(listener));
            }
            Err(error) => {
                let _ = write!(failures, "{address}: {}, ", error.kind());
            }
        }
    }
    if addresses.is_empty() {
        return Ok(None);
    }
    Err(BindError(format!(
        "{failures}check that the address is this host's and that no other process has the port, or set another with PORTCULLIS_HEALTH__LISTEN"
    )))
}

/// Lets the queue be as long as the kernel allows in place of the standard library's 128: in a flood the kernel drops what does
/// not fit, and who asks then waits a second for its next try.
fn widen(listener: &impl AsFd) {
    // It listens already; a failure leaves it with the shorter queue.
    let _ = listen(listener, Backlog::MAXALLOWABLE);
}

fn bind_unix(name: &SocketName) -> Result<UnixListener, BindError> {
    let bound = match name {
        SocketName::Abstract(name) => {
            UnixSocketAddr::from_abstract_name(name).and_then(|address| UnixListener::bind_addr(&address)).inspect(widen)
        }
        SocketName::Path(path) => remove_stale(path).and_then(|()| bind_path(path)),
    };
    bound.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse
            && let Some(holder) = holder(name)
        {
            return BindError(format!(
                "{name}: {holder} listens there already, check whether that is another portcullis, or set another with PORTCULLIS_HEALTH__SOCKET"
            ));
        }
        let is_file = matches!(name, SocketName::Path(path) if !is_socket(path));
        let advice = advice(error.kind(), is_file);
        BindError(format!("{name}: {}, {advice}, or set another with PORTCULLIS_HEALTH__SOCKET", error.kind()))
    })
}

/// Who listens on a name that is taken; none where nobody does, or does not accept.
fn holder(name: &SocketName) -> Option<Peer> {
    let address = match name {
        SocketName::Abstract(name) => UnixAddr::new_abstract(name.as_bytes()),
        SocketName::Path(path) => UnixAddr::new(path),
    };
    // Without blocking: one whose queue is full is told without its name.
    let asking = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None).ok()?;
    connect(asking.as_raw_fd(), &address.ok()?).ok()?;
    Peer::of(&asking)
}

/// What to look at when a unix socket could not be bound; `is_file` where something else may have its path.
const fn advice(kind: io::ErrorKind, is_file: bool) -> &'static str {
    match kind {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "check that its directory is there",
        io::ErrorKind::PermissionDenied => "check that this user may write to its directory",
        io::ErrorKind::ReadOnlyFilesystem => "its directory is on a read-only file system",
        // ENAMETOOLONG: the kernel's sockaddr_un has room for so many, and the zero at the end.
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => "at most 107 bytes are wanted",
        _ if is_file => "check that no other file has this name",
        _ => "check that no other portcullis has this name",
    }
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket())
}

/// Removes a socket that nobody listens on; anything else stays, and the bind fails over it.
fn remove_stale(path: &Path) -> io::Result<()> {
    let refused = || UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_socket(path) && refused() { std::fs::remove_file(path) } else { Ok(()) }
}

/// Binds with mode 0600 from the first moment: Linux gives the file the mode that the unbound socket has.
fn bind_path(path: &Path) -> io::Result<UnixListener> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let unbound = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    fchmod(&unbound, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(unbound.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&unbound, Backlog::MAXALLOWABLE)?;
    Ok(UnixListener::from(unbound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_cannot_be_bound_is_told_with_what_to_check() {
        let dir = std::env::temp_dir().join(format!("portcullis-listeners-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let name = |path: &str| SocketName::Path(dir.join(path));
        let taken = SocketName::Abstract(format!("portcullis-listeners-{}", std::process::id()));
        std::fs::write(dir.join("file"), "").unwrap();
        let _held = (bind_unix(&name("held")).unwrap(), bind_unix(&taken).unwrap());
        let own = format!("user {} (process {}) listens there already", nix::unistd::geteuid(), std::process::id());
        for (name, advice) in [
            (name("missing/x.sock"), "check that its directory is there"),
            (name("file/x.sock"), "check that its directory is there"),
            (name(&"long".repeat(50)), "at most 107 bytes are wanted"),
            (name("file"), "check that no other file has this name"),
            (name("held"), own.as_str()),
            (taken, own.as_str()),
        ] {
            let told = bind_unix(&name).unwrap_err().to_string();
            assert!(told.contains(advice), "{told}");
        }
        assert_eq!(advice(io::ErrorKind::PermissionDenied, false), "check that this user may write to its directory");
        assert_eq!(advice(io::ErrorKind::ReadOnlyFilesystem, false), "its directory is on a read-only file system");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
