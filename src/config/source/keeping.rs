//! What is generated once and kept in a file: written when nothing stands in the way of the start any more.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::Environment;

impl Environment {
    /// Notes that `path` is to keep this value.
    pub fn keep(&self, path: PathBuf, value: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(path, value.to_owned());
    }

    /// The value that `path` is to keep; none where nothing was noted of it.
    pub fn to_be_kept(&self, path: &Path) -> Option<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// Writes every value that was noted, each file whole or not at all; whether each of them is ours. Where another replica was faster its
    /// value is the one, and has to be read.
    ///
    /// # Errors
    /// Which file cannot be made, and why.
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
