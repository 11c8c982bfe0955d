//! A file that is read again when it has changed.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The maximum size that is read: no hosts file of a container is longer.
const LONGEST: u64 = 4 * 1024 * 1024;

/// What identifies the state of a file.
type Stamp = [i64; 7];

/// A file and its parsed contents; a missing file counts as empty.
pub(super) struct Kept<T> {
    path: PathBuf,
    parse: Box<dyn Fn(&str) -> T + Send + Sync>,
    read: Mutex<Option<(Option<Stamp>, Arc<T>)>>,
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<T> Kept<T> {
    pub(super) fn new(path: PathBuf, parse: impl Fn(&str) -> T + Send + Sync + 'static) -> Self {
        Self { path, parse: Box::new(parse), read: Mutex::new(None) }
    }

    /// The current contents.
    pub(super) fn get(&self) -> Arc<T> {
        let stamp = self.stamp();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kept)) = read.as_ref().filter(|(known, _)| *known == stamp) {
            return Arc::clone(kept);
        }
        let fresh = Arc::new((self.parse)(&self.text()));
        *read = Some((stamp, Arc::clone(&fresh)));
        fresh
    }

    fn stamp(&self) -> Option<Stamp> {
        let data = std::fs::metadata(&self.path).ok()?;
        Some([data.dev() as i64, data.ino() as i64, data.size() as i64, data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()])
    }

    fn text(&self) -> String {
        let mut bytes = Vec::new();
        // A FIFO or a device instead of the file could block forever.
        let file = std::fs::metadata(&self.path).ok().filter(std::fs::Metadata::is_file).and_then(|_| File::open(&self.path).ok());
        if let Some(file) = file {
            let _ = file.take(LONGEST).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_or_goes_is_read_again() {
        let path = std::env::temp_dir().join(format!("portcullis-kept-{}", std::process::id()));
        let kept = Kept::new(path.clone(), str::to_owned);
        assert_eq!(*kept.get(), "");
        std::fs::write(&path, "one").unwrap();
        let one = kept.get();
        assert_eq!(*one, "one");
        assert!(Arc::ptr_eq(&one, &kept.get()), "it was read again without a change");
        std::fs::write(&path, "another").unwrap();
        assert_eq!(*kept.get(), "another");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(*kept.get(), "");
    }
}
