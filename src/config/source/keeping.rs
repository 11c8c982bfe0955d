//! Values that are generated once and kept in a file: written once nothing prevents the start any more.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::Environment;

impl Environment {
    /// Records that this value has to be kept in `path`.
    pub fn keep(&self, path: PathBuf, value: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(path, value.to_owned());
    }

    /// The value to keep in `path`, if one was recorded.
    pub fn to_be_kept(&self, path: &Path) -> Option<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Writes all recorded values, each file completely or not at all; returns whether all of them are ours. If another replica was faster,
    /// its value has to be read.
    ///
    /// # Errors
    /// The file that cannot be created, and why.
    pub fn keep_all(&self) -> Result<bool, String> {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        kept.iter().try_fold(true, |ours, (path, value)| Ok(make(path, value)? && ours))
    }
}

fn make(path: &Path, value: &str) -> Result<bool, String> {
    let failed = |error: &std::io::Error| {
        format!("{}, which is to keep what was generated, cannot be made: {error}; its directory has to be there", path.display())
    };
    let name = path.file_name().ok_or_else(|| format!("{} is not the path of a file", path.display()))?.to_string_lossy().into_owned();
    let draft = path.with_file_name(format!(".{name}.{:016x}", fastrand::u64(..)));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(value.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    let linked = write().and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        result => result.map(|()| true),
    });
    let _ = fs::remove_file(&draft);
    linked.map_err(|error| failed(&error))
}
