//! Copies a file or a tree: identical files are not written, links are copied as links.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use super::attributes::Attributes;
use super::existing::Existing;
use super::overlap::{Id, id};
use super::watch::Watch;
use super::{Fault, overlap, remove, text, tree, write};
use crate::config::substitute::matches;
use crate::pinned::{Last, PinnedPath, is_directory, is_file, is_link, stat};
use crate::plan::file::Replacement;

/// How much is copied between two checks for cancellation.
const BLOCK: usize = 1 << 20;

/// How a copy is made.
pub(super) struct Wanted<'a> {
    pub(super) delete: bool,
    pub(super) exclude: &'a [String],
    pub(super) replace: &'a [Replacement],
    pub(super) keep: bool,
    pub(super) attributes: &'a Attributes,
}

/// Copies `from` to `to`; returns whether anything was changed.
pub(super) fn copy(from: &Path, to: &Path, wanted: &Wanted<'_>, watch: &Watch<'_>) -> Result<bool, Fault> {
    let source = PinnedPath::existing(from, Last::Followed)?;
    let found = source.stat()?.ok_or_else(|| Fault::kernel("copy", from, Errno::ENOENT))?;
    let ids = if is_directory(&found) { Some(overlap::refuse(&source, to, wanted.delete)?) } else { None };
    let place = PinnedPath::make(to, Last::Followed)?;
    let Some(source_ids) = ids else {
        if wanted.keep && place.exists() {
            return Ok(false);
        }
        return one(&source, &place, wanted, watch);
    };
    if !wanted.replace.is_empty() {
        return Err(Fault::of("copy", from, "it is a directory, and `replace` applies to a single file"));
    }
    let made = super::directory(&place)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let open = |place: &PinnedPath| openat(place.dir(), place.name(), flags, Mode::empty());
    let [inside, there] =
        [(&source, from), (&place, to)].map(|(place, shown)| open(place).map_err(|error| Fault::kernel("go into", shown, error)));
    let (inside, there) = (inside?, there?);
    let target = id(&fstat(&there).map_err(|error| Fault::kernel("look at", to, error))?);
    let pass = Pass { wanted, watch, to, source_ids, target };
    let changed = pass.directory((inside.as_fd(), from), (there.as_fd(), to), 0)?;
    let own = if made || !wanted.keep { wanted.attributes.of_entry(place.dir(), place.name(), place.shown())? } else { false };
    Ok(made || changed || own)
}

/// Copies one file.
fn one(source: &PinnedPath, place: &PinnedPath, wanted: &Wanted<'_>, watch: &Watch<'_>) -> Result<bool, Fault> {
    let (mut file, found) = source.open()?;
    let there = Existing::of(place)?;
    let usual = found.st_mode & 0o777;
    if !wanted.replace.is_empty() {
        let (bytes, has_secret) = write::replace_in(text::whole(&file, source.shown())?, wanted.replace, source.shown())?;
        let present = there.as_ref().and_then(|there| there.text(place).ok());
        return write::put(
            place,
            there.as_ref(),
            present.as_deref(),
            &bytes,
            wanted.attributes.for_text(place, there.as_ref(), usual, has_secret),
        );
    }
    let target = wanted.attributes.for_text(place, there.as_ref(), usual, false);
    if let Some(there) = there.as_ref()
        && there.found.st_size == found.st_size
        && target.may_be_set(there)
        && is_same(&mut file, there, place, watch)?
    {
        return target.set(there, place);
    }
    let mut cancelled = false;
    let result = write::replace_by(place, there.as_ref(), target, |into| transfer(&mut file, into, &found, watch, &mut cancelled));
    if cancelled { Err(Fault::Cancelled) } else { result.map(|()| true) }
}

/// Copies the bytes and the time of the last change.
fn transfer(file: &mut File, into: &mut File, found: &FileStat, watch: &Watch<'_>, cancelled: &mut bool) -> std::io::Result<()> {
    file.rewind()?;
    let mut block = vec![0; block(found)];
    loop {
        if watch.look().is_err() {
            *cancelled = true;
            return Err(std::io::ErrorKind::Other.into());
        }
        let count = file.read(&mut block)?;
        let Some(read) = block.get(..count).filter(|read| !read.is_empty()) else { break };
        into.write_all(read)?;
    }
    let time = TimeSpec::new(found.st_mtime, found.st_mtime_nsec);
    // Where the time cannot be set, the next start compares the bytes.
    let _ = futimens(into.as_fd(), &time, &time);
    Ok(())
}

/// Whether the existing file has the same bytes.
fn is_same(file: &mut File, there: &Existing, place: &PinnedPath, watch: &Watch<'_>) -> Result<bool, Fault> {
    let Ok(mut there) = there.file.as_ref() else { return Ok(false) };
    let fail = |error: std::io::Error| Fault::kernel("read", place.shown(), write::errno(&error));
    let length = block(&fstat(&*file).map_err(|error| Fault::kernel("read", place.shown(), error))?);
    let [mut one, mut other] = [vec![0; length], vec![0; length]];
    loop {
        watch.look()?;
        let [count, other_count] = [full(file, &mut one).map_err(fail)?, full(&mut there, &mut other).map_err(fail)?];
        if one.get(..count) != other.get(..other_count) {
            return Ok(false);
        }
        if count < length {
            return Ok(true);
        }
    }
}

/// The block size for this file: its size plus one byte, to detect the end.
fn block(found: &FileStat) -> usize {
    usize::try_from(found.st_size).unwrap_or(BLOCK).saturating_add(1).min(BLOCK)
}

/// Reads until the block is full or the file ends.
fn full(file: &mut impl Read, block: &mut [u8]) -> std::io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = block.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => count += read,
        }
    }
    Ok(count)
}

/// Copies a link; returns whether it was changed.
fn link(from: (BorrowedFd<'_>, &Path), to: (BorrowedFd<'_>, &Path), name: &OsStr, is_there: bool) -> Result<bool, Fault> {
    let fail = |error| Fault::kernel("create the link", to.1, error);
    let target = readlinkat(from.0, name).map_err(|error| Fault::kernel("read", from.1, error))?;
    if readlinkat(to.0, name).is_ok_and(|now| now == target) {
        return Ok(false);
    }
    if !is_there {
        return symlinkat(target.as_os_str(), to.0, name).map(|()| true).map_err(fail);
    }
    let temporary = write::temporary();
    symlinkat(target.as_os_str(), to.0, temporary.as_str()).map_err(fail)?;
    renameat(to.0, temporary.as_str(), to.0, name).map(|()| true).map_err(fail)
}

struct Pass<'a> {
    wanted: &'a Wanted<'a>,
    watch: &'a Watch<'a>,
    to: &'a Path,
    /// The source and the directories that it lies in, from the inside to the outside.
    source_ids: Vec<Id>,
    target: Id,
}

impl Pass<'_> {
    /// Copies the entries of one directory.
    fn directory(&self, from: (BorrowedFd<'_>, &Path), to: (BorrowedFd<'_>, &Path), depth: usize) -> Result<bool, Fault> {
        let mut changed = false;
        let mut listing = tree::list(from.0, from.1, depth)?;
        for name in listing.iter() {
            let name = name.map_err(|error| Fault::kernel("list", from.1, error))?.file_name().to_owned();
            let name = OsStr::from_bytes(name.to_bytes());
            let shown = to.1.join(name);
            if name != "." && name != ".." && !self.is_excluded(&shown) {
                self.watch.entry()?;
                changed |= self.entry((from.0, &from.1.join(name)), (to.0, &shown), name, depth)?;
            }
        }
        Ok(if self.wanted.delete { self.delete(from.0, to, depth)? || changed } else { changed })
    }

    fn entry(&self, from: (BorrowedFd<'_>, &Path), to: (BorrowedFd<'_>, &Path), name: &OsStr, depth: usize) -> Result<bool, Fault> {
        let Some(found) = stat(from.0, name, from.1)? else { return Ok(false) };
        let there = stat(to.0, name, to.1)?;
        let of_owner = || self.wanted.attributes.owner_only().of_entry(to.0, name, to.1);
        if is_directory(&found) {
            if id(&found) == self.target {
                return Err(Fault::of("copy", from.1, format!("it is {}, the target of the copy", self.to.display())));
            }
            let made = self.make(to, name, there.as_ref(), &found)?;
            if !made && there.as_ref().is_some_and(|there| !is_directory(there)) {
                return Ok(false);
            }
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let open = |dir, shown| -> Result<OwnedFd, Fault> {
                openat(dir, name, flags, Mode::empty()).map_err(|error| Fault::kernel("go into", shown, error))
            };
            let [inside, into] = [open(from.0, from.1)?, open(to.0, to.1)?];
            let below = self.directory((inside.as_fd(), from.1), (into.as_fd(), to.1), depth + 1)?;
            let own = if made || !self.wanted.keep { of_owner()? } else { false };
            return Ok(below || self.watch.counted(made || own));
        }
        if there.is_some() && self.wanted.keep {
            return Ok(false);
        }
        if there.as_ref().is_some_and(is_directory) {
            return Err(Fault::of("copy to", to.1, "there is a directory instead of a file; remove it, or list it in `exclude`"));
        }
        if is_link(&found) {
            let made = link(from, to, name, there.is_some())?;
            return Ok(self.watch.counted(of_owner()? || made));
        }
        if !is_file(&found) {
            return Err(Fault::of("copy", from.1, "it is neither a file, a directory nor a link; list it in `exclude`"));
        }
        let is_same = |there: &FileStat| {
            is_file(there) && (there.st_size, there.st_mtime, there.st_mtime_nsec) == (found.st_size, found.st_mtime, found.st_mtime_nsec)
        };
        if there.as_ref().is_some_and(is_same) {
            return Ok(self.watch.counted(of_owner()?));
        }
        if there.as_ref().is_some_and(|there| !is_file(there)) {
            unlinkat(to.0, name, UnlinkatFlags::NoRemoveDir).map_err(|error| Fault::kernel("replace", to.1, error))?;
        }
        let [source, place] = [(from, "read"), (to, "write")].map(|((dir, shown), what)| PinnedPath::at(dir, name, shown, what));
        let owner = self.wanted.attributes.owner_only();
        one(&source?, &place?, &Wanted { attributes: &owner, ..*self.wanted }, self.watch).map(|changed| self.watch.counted(changed))
    }

    /// Creates a directory if it is missing; returns whether it did. Its mode is that of its source, limited by the umask.
    fn make(&self, to: (BorrowedFd<'_>, &Path), name: &OsStr, there: Option<&FileStat>, found: &FileStat) -> Result<bool, Fault> {
        match there {
            Some(there) if is_directory(there) || self.wanted.keep => Ok(false),
            Some(_) => Err(Fault::of(
                "copy to",
                to.1,
                "the source has a directory there, and the target does not; remove it, or list it in `exclude`",
            )),
            None => {
                let made = mkdirat(to.0, name, Mode::from_bits_truncate(found.st_mode & 0o777));
                made.map(|()| true).map_err(|error| Fault::kernel("create the directory", to.1, error))
            }
        }
    }

    /// Removes entries that the source does not have.
    fn delete(&self, from: BorrowedFd<'_>, to: (BorrowedFd<'_>, &Path), depth: usize) -> Result<bool, Fault> {
        let mut surplus = Vec::new();
        for name in tree::list(to.0, to.1, depth)?.iter() {
            let name = name.map_err(|error| Fault::kernel("list", to.1, error))?.file_name().to_owned();
            let name = OsStr::from_bytes(name.to_bytes()).to_owned();
            if name == "." || name == ".." || self.is_excluded(&to.1.join(&name)) || stat(from, &name, to.1)?.is_some() {
                continue;
            }
            if stat(to.0, &name, to.1)?.is_some_and(|found| is_directory(&found) && self.source_ids.contains(&id(&found))) {
                return Err(Fault::of("delete", &to.1.join(&name), "it is the source of the copy, or contains it"));
            }
            surplus.push(name);
        }
        let mut changed = false;
        for name in surplus {
            changed |= remove::below(to.0, &name, &to.1.join(&name), (self.watch, self.source_ids.first().copied()))?;
        }
        Ok(changed)
    }

    /// Whether an entry, by its target path, is excluded.
    fn is_excluded(&self, shown: &Path) -> bool {
        let below: PathBuf = Path::new("/").join(shown.strip_prefix(self.to).unwrap_or(shown));
        let (path, name) = (below.to_string_lossy(), below.file_name().unwrap_or_default().to_string_lossy());
        self.wanted.exclude.iter().map(|pattern| pattern.trim_end_matches('/')).any(|pattern| match pattern.strip_prefix('/') {
            Some(_) => matches(pattern, &path),
            None if pattern.contains('/') => matches(&format!("*/{pattern}"), &path),
            None => matches(pattern, &name),
        })
    }
}
