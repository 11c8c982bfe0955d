//! Asks what needs no server's words: a unix socket, a file, a name, the room on a file system.

use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::dial::{dial_unix, resolve};
use crate::outcome::{Cause, Class, Failure};
use crate::plan::target::{Address, DiskTarget, Room};

/// Passes when the unix socket accepts a connection; it is closed at once.
pub(super) async fn ask_unix(path: &Path) -> Result<(), Failure> {
    dial_unix(path).await.map(drop)
}

/// Passes when something of that name exists, whatever it is.
pub(super) fn ask_file(path: &Path) -> Result<(), Failure> {
    let found = std::fs::metadata(path).map(drop);
    found.map_err(|error| Failure::new(Class::Missing, &format!("looking for {}: {error}", path.display())))
}

/// Passes when the name has an address.
pub(super) async fn ask_name(name: &str, within: Duration) -> Result<(), Failure> {
    resolve(&Address { host: name.to_owned(), port: 0 }, within).await.map(drop)
}

/// Passes when the file system has room for those who are not root.
pub(super) fn ask_disk(disk: &DiskTarget) -> Result<(), Failure> {
    let status = statvfs(&disk.path)
        .map_err(|errno| Failure::new(Class::Missing, &format!("asking for the room on {}: {errno}", disk.path.display())))?;
    let free = status.blocks_available().saturating_mul(status.fragment_size());
    if free >= disk.free {
        return Ok(());
    }
    let words = format!("{} free on {}, {} wanted", Room(free), disk.path.display(), Room(disk.free));
    Err(Failure::new(Class::Status, &words).because(Cause::NoRoom))
}
