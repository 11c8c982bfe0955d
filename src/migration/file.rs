//! A lock on a file, for a database that is a file: it ends with the process that holds it, and works only on one host.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::lock::{Lock, Try};
use super::name::{Name, instance_in};
use super::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::state::event::LockHolder;

/// The lock file; its contents name the holder, or say that the last one has released it.
#[derive(Debug)]
pub(super) struct FileLock {
    path: PathBuf,
    name: Name,
    /// The contents of the file when the lock was taken.
    found: String,
}

impl FileLock {
    pub(super) const fn new(path: PathBuf, name: Name) -> Self {
        Self { path, name, found: String::new() }
    }

    fn open(&self) -> std::io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)
    }

    fn write(held: &mut Flock<File>, text: &str) -> std::io::Result<()> {
        held.set_len(0)?;
        held.rewind()?;
        held.write_all(text.as_bytes())
    }
}

impl Lock for FileLock {
    type Held = Flock<File>;

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    async fn attempt(&mut self) -> Result<Try<Flock<File>>, Failure> {
        let unusable = |why: &dyn std::fmt::Display| {
            Ok(Try::Unusable(format!(
                "the migration lock {} cannot be used: {why}; check the path and its permissions",
                self.path.display()
            )))
        };
        let file = match self.open() {
            Ok(file) => file,
            Err(error) => return unusable(&error),
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                let mut text = String::new();
                let written =
                    held.read_to_string(&mut text).and_then(|_| Self::write(&mut held, &format!("held {}\n", self.name.of_lock())));
                if let Err(error) = written {
                    return unusable(&error);
                }
                self.found = text;
                Ok(Try::Held(held))
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let name = text.trim().trim_start_matches("held ");
                let words = if name.is_empty() { "another process".to_owned() } else { name.to_owned() };
                Ok(Try::Taken(LockHolder { words, instance: instance_in(name).map(str::to_owned), ..LockHolder::default() }))
            }
            Err((_, errno)) => unusable(&errno),
        }
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        holder.words == self.name.of_lock()
    }

    async fn succeeds_cleanly(&mut self, _held: &mut Flock<File>) -> bool {
        !self.found.starts_with("held ")
    }

    /// A lock on a replaced file no longer excludes other processes.
    async fn holds(&self, held: &mut Flock<File>) -> Result<bool, Failure> {
        let failed = |error: std::io::Error| Failure::new(ErrorKind::Internal, &error.to_string());
        let ours = held.metadata().map_err(failed)?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok(there.ino() == ours.ino() && there.dev() == ours.dev()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    async fn ended(&self, _held: &mut Flock<File>) {
        std::future::pending().await
    }

    async fn give_back(&mut self, mut held: Flock<File>) {
        let _ = Self::write(&mut held, &format!("done {}\n", self.name.of_lock()));
    }

    fn schema_query(&self) -> SchemaQuery {
        SchemaQuery::without_database()
    }
}
