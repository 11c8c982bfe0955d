//! The sockets of the health endpoint, bound before anything else begins.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::{Mode, fchmod};

use super::own;
use crate::plan::{HealthPlan, SocketName};
use crate::sys::peer::Peer;

/// How often the lock of a directory is tried, and the pause between two attempts.
const TRIES: u32 = 25;
const PAUSE: Duration = Duration::from_millis(20);
/// How often a requested name is tried, and the pause between two attempts.
const YIELD_TRIES: u32 = 50;
const YIELD_PAUSE: Duration = Duration::from_millis(5);

/// A health listener that could not be bound; the sentence names all tried addresses.
#[derive(Debug, thiserror::Error)]
#[error("listening for health requests failed: {0}")]
pub struct BindError(String);

/// The bound sockets of one run.
#[derive(Debug)]
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
    file: Option<Lying>,
    /// The listeners that could not be bound, if the run continues without them.
    missing: Vec<BindError>,
}

/// The file of a unix socket with a path: removed on drop, unless another file has replaced it.
#[derive(Debug)]
pub struct SocketFile(Lying);

#[derive(Clone, Debug)]
struct Lying {
    path: PathBuf,
    /// Device, inode and creation time, because inode numbers are reused.
    number: (u64, u64, i64, i64),
}

impl Lying {
    fn at(path: &Path) -> Option<Self> {
        Some(Self { path: path.to_owned(), number: number(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if number(&self.0.path) == Some(self.0.number) {
            let _ = std::fs::remove_file(&self.0.path);
        }
    }
}

fn number(path: &Path) -> Option<(u64, u64, i64, i64)> {
    path.symlink_metadata().ok().map(|meta| (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()))
}

impl Listeners {
    /// Binds all listeners of the plan; if they are not required, [as many as possible](Self::missing).
    ///
    /// A path gets mode 0600; an existing socket without a listener is replaced. The file stays until the owner of [it](Self::file) drops
    /// it.
    pub fn bind(plan: &HealthPlan) -> Result<Self, BindError> {
        let (mut tcp, mut unix, mut missing) = (Vec::new(), None, Vec::new());
        let mut lacking = |failure| {
            if plan.required {
                return Err(failure);
            }
            missing.push(failure);
            Ok(())
        };
        for listen in &plan.listen {
            match bind_tcp(&listen.0) {
                Ok(listener) => tcp.push(listener),
                Err(failure) => lacking(failure)?,
            }
        }
        match plan.socket.as_ref().map(bind_unix).transpose() {
            Ok(listener) => unix = listener,
            Err(failure) => lacking(failure)?,
        }
        if tcp.is_empty() && unix.is_none() && !missing.is_empty() {
            return Err(missing.swap_remove(0));
        }
        let file = if let (Some(SocketName::Path(path)), Some(_)) = (&plan.socket, &unix) { Lying::at(path) } else { None };
        Ok(Self { tcp, unix, file, missing })
    }

    /// The listeners that could not be bound.
    pub fn missing(&self) -> &[BindError] {
        &self.missing
    }

    /// Duplicates the sockets, to serve again after a panic.
    pub fn try_clone(&self) -> io::Result<Self> {
        let tcp = self.tcp.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        let unix = self.unix.as_ref().map(UnixListener::try_clone).transpose()?;
        Ok(Self { tcp, unix, file: self.file.clone(), missing: Vec::new() })
    }

    /// The unix socket's file, for the end of the run; none without a path.
    pub fn file(&self) -> Option<SocketFile> {
        self.file.clone().map(SocketFile)
    }

    /// The unix socket alone.
    pub fn into_unix(self) -> Option<UnixListener> {
        self.unix
    }

    /// The addresses that were bound; none without TCP.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|tcp| tcp.local_addr().ok()).collect()
    }

    /// Passes the sockets to the current runtime.
    pub(super) fn into_tokio(self) -> io::Result<(Vec<tokio::net::TcpListener>, Option<tokio::net::UnixListener>)> {
        let tcp = self.tcp.into_iter().map(|tcp| tcp.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(tcp)));
        let tcp = tcp.collect::<io::Result<_>>()?;
        let unix = self.unix.map(|unix| unix.set_nonblocking(true).and_then(|()| tokio::net::UnixListener::from_std(unix)));
        Ok((tcp, unix.transpose()?))
    }
}

/// One listener at the first of these addresses that can be bound.
fn bind_tcp(addresses: &[SocketAddr]) -> Result<TcpListener, BindError> {
    let mut failures = String::new();
    for address in addresses {
        // The standard library sets SO_REUSEADDR, so that connections in TIME_WAIT do not block the next start.
        match TcpListener::bind(address) {
            Ok(listener) => {
                widen(&listener);
                return Ok(listener);
            }
            Err(error) => {
                let _ = write!(failures, "{address}: {}, ", error.kind());
            }
        }
    }
    Err(BindError(format!(
        "{failures}check that the address belongs to this host and that no other process uses the port, or set another with PORTCULLIS_HEALTH__LISTEN"
    )))
}

/// Makes the accept queue as long as the kernel allows, instead of the standard library's 128: in a flood the kernel drops connections that
/// do not fit, and their clients wait a second before the next attempt.
fn widen(listener: &impl AsFd) {
    // It already listens; after a failure it keeps the shorter queue.
    let _ = listen(listener, Backlog::MAXALLOWABLE);
}

fn bind_unix(name: &SocketName) -> Result<UnixListener, BindError> {
    let bound = match name {
        SocketName::Abstract(name) => bind_abstract(name).inspect(widen),
        SocketName::Path(path) => {
            let _turn = turn(path);
            remove_stale(path).and_then(|()| bind_path(path))
        }
    };
    bound.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse
            && let Some(holder) = holder(name)
        {
            return BindError(format!(
                "{name}: {holder} already listens there, check whether that is another portcullis, or set another with PORTCULLIS_HEALTH__SOCKET"
            ));
        }
        let is_file = matches!(name, SocketName::Path(path) if !is_socket(path));
        let advice = advice(error.kind(), is_file);
        BindError(format!("{name}: {}, {advice}, or set another with PORTCULLIS_HEALTH__SOCKET", error.kind()))
    })
}

/// The holder of a name in use; none if no process listens, or it does not accept.
fn holder(name: &SocketName) -> Option<Peer> {
    let address = match name {
        SocketName::Abstract(name) => UnixAddr::new_abstract(name.as_bytes()),
        SocketName::Path(path) => UnixAddr::new(path),
    };
    // Non-blocking: a holder with a full queue stays unknown.
    let asking = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None).ok()?;
    connect(asking.as_raw_fd(), &address.ok()?).ok()?;
    Peer::of(&asking)
}

/// Requests a name that an ad-hoc command holds: a shell must not prevent a service from starting.
fn bind_abstract(name: &str) -> io::Result<UnixListener> {
    let bind = || UnixSocketAddr::from_abstract_name(name).and_then(|address| UnixListener::bind_addr(&address));
    let mut bound = bind();
    let in_use = |bound: &io::Result<UnixListener>| bound.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    if in_use(&bound) && own::request_yield(name) {
        for _ in 0..YIELD_TRIES {
            bound = bind();
            if !in_use(&bound) {
                break;
            }
            std::thread::park_timeout(YIELD_PAUSE);
        }
    }
    bound
}

/// What to check if a unix socket could not be bound; `is_file` if another file may have its path.
const fn advice(kind: io::ErrorKind, is_file: bool) -> &'static str {
    match kind {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "check that its directory exists",
        io::ErrorKind::PermissionDenied => "check that this user may write to its directory",
        io::ErrorKind::ReadOnlyFilesystem => "its directory is on a read-only file system",
        // ENAMETOOLONG: the limit of the kernel's sockaddr_un, without the final NUL.
        io::ErrorKind::InvalidFilename | io::ErrorKind::InvalidInput => "at most 107 bytes are allowed",
        _ if is_file => "check that no other file has this name",
        _ => "check that no other portcullis has this name",
    }
}

fn is_socket(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket())
}

/// Locks the directory while a stale socket is examined and replaced: otherwise two starts that find the same stale one could remove each
/// other's socket. Without the lock after a moment it continues, because any process may hold such a lock.
fn turn(path: &Path) -> Option<Flock<File>> {
    let mut directory = File::open(path.parent()?).ok()?;
    for _ in 0..TRIES {
        match Flock::lock(directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((file, _)) => directory = file,
        }
        std::thread::park_timeout(PAUSE);
    }
    None
}

/// Removes a socket without a listener; anything else stays, and the bind fails.
fn remove_stale(path: &Path) -> io::Result<()> {
    if is_socket(path) && is_refused(path)? { std::fs::remove_file(path) } else { Ok(()) }
}

/// Whether a socket has no listener. It does not block: a listener that never accepts would block `connect(2)` forever.
fn is_refused(path: &Path) -> io::Result<bool> {
    let asking = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    Ok(connect(asking.as_raw_fd(), &UnixAddr::new(path)?) == Err(Errno::ECONNREFUSED))
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
    fn the_file_goes_with_its_keeper_unless_another_one_lies_there() {
        let path = std::env::temp_dir().join(format!("portcullis-file-{}", std::process::id()));
        let bound = bind_unix(&SocketName::Path(path.clone())).unwrap();
        let [first, second] = [(); 2].map(|()| SocketFile(Lying::at(&path).unwrap()));
        assert!(is_socket(&path));
        drop(first);
        assert!(!path.exists());
        std::fs::write(&path, "of another").unwrap();
        drop(second);
        drop(bound);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "of another");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn of_many_that_find_the_same_stale_socket_one_gets_it() {
        let path = std::env::temp_dir().join(format!("portcullis-stale-{}", std::process::id()));
        for _ in 0..10 {
            drop(bind_unix(&SocketName::Path(path.clone())).unwrap());
            let name = SocketName::Path(path.clone());
            let all: Vec<_> = std::thread::scope(|scope| {
                let starting: Vec<_> = (0..4).map(|_| scope.spawn(|| bind_unix(&name).ok())).collect();
                starting.into_iter().filter_map(|one| one.join().unwrap()).collect()
            });
            assert_eq!(all.len(), 1);
            assert!(!is_refused(&path).unwrap(), "the one that listens is the one that is found");
            drop(all);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_socket_that_cannot_be_bound_is_reported_with_advice() {
        let dir = std::env::temp_dir().join(format!("portcullis-listeners-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let name = |path: &str| SocketName::Path(dir.join(path));
        let taken = SocketName::Abstract(format!("portcullis-listeners-{}", std::process::id()));
        std::fs::write(dir.join("file"), "").unwrap();
        let _held = (bind_unix(&name("held")).unwrap(), bind_unix(&taken).unwrap());
        let own = format!("user {} (process {}) already listens there", nix::unistd::geteuid(), std::process::id());
        for (name, advice) in [
            (name("missing/x.sock"), "check that its directory exists"),
            (name("file/x.sock"), "check that its directory exists"),
            (name(&"long".repeat(50)), "at most 107 bytes are allowed"),
            (name("file"), "check that no other file has this name"),
            (name("held"), own.as_str()),
            (taken, own.as_str()),
        ] {
            let sentence = bind_unix(&name).unwrap_err().to_string();
            assert!(sentence.contains(advice), "{sentence}");
        }
        assert_eq!(advice(io::ErrorKind::PermissionDenied, false), "check that this user may write to its directory");
        assert_eq!(advice(io::ErrorKind::ReadOnlyFilesystem, false), "its directory is on a read-only file system");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
