//! Probes without a server protocol: a unix socket, a file, a name, free disk space.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use super::dial::{dial_unix, resolve};
use crate::outcome::{Detail, ErrorKind, Failure, Volume};
use crate::plan::target::{Address, ByteSize, DiskTarget};

/// Passes if the unix socket accepts a connection, which is closed at once.
pub(super) async fn probe_unix(path: &Path) -> Result<(), Failure> {
    dial_unix(path).await.map(drop)
}

/// Passes if the path exists, whatever it is.
pub(super) fn probe_file(path: &Path) -> Result<(), Failure> {
    let found = std::fs::metadata(path).map(drop);
    found.map_err(|error| Failure::new(ErrorKind::Missing, &format!("looking for {}: {error}", path.display())))
}

/// Passes if the name has an address.
pub(super) async fn probe_name(name: &str, within: Duration) -> Result<(), Failure> {
    resolve(&Address { host: name.to_owned(), port: 0 }, within).await.map(drop)
}

/// Passes if the file system has enough free space for users other than root.
pub(super) fn probe_disk(disk: &DiskTarget) -> (Result<(), Failure>, Volume) {
    let mut volume = Volume { total: 0, free: 0, threshold: disk.free, exists: false };
    let status = match statvfs(&disk.path) {
        Ok(status) => status,
        Err(errno) => {
            volume.exists = errno != Errno::ENOENT;
            let words = format!("reading the free space on {}: {errno}", disk.path.display());
            return (Err(Failure::new(ErrorKind::Missing, &words)), volume);
        }
    };
    let bytes = |blocks: u64| blocks.saturating_mul(status.fragment_size());
    volume = Volume { total: bytes(status.blocks()), free: bytes(status.blocks_available()), exists: true, ..volume };
    let words = || format!("{} free on {}, {} required", ByteSize(volume.free), disk.path.display(), ByteSize(disk.free));
    let short = volume.free < disk.free;
    (if short { Err(Failure::new(ErrorKind::Status, &words()).because(Detail::NoRoom)) } else { Ok(()) }, volume)
}
