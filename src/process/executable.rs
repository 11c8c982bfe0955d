//! The kind of a program's file, and a similar name, for the message if the kernel cannot run it.

use std::ffi::OsStr;
use std::fs::{File, FileType};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::problem::nearest;
use crate::secret::scrub;

/// The kind of a program file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A script whose first line names this interpreter.
    Script(String),
    /// A program for this machine, with its dynamic loader.
    Program {
        /// The machine's name as in `uname -m`.
        machine: &'static str,
        /// The loader's path; none for a static program.
        loader: Option<String>,
    },
    /// Not a regular file; it is never opened, because that might block.
    NoFile(&'static str),
    /// Anything else, unreadable or empty.
    Other,
}

/// How much of a file is read: a first line or an ELF header with its program headers.
const HEAD: u64 = 4096;

/// Examines the beginning of the file.
pub(super) fn kind(path: &Path) -> FileKind {
    let mut head = Vec::new();
    let Ok(found) = std::fs::metadata(path) else { return FileKind::Other };
    if !found.is_file() {
        return FileKind::NoFile(what_it_is(found.file_type()));
    }
    // Non-blocking, in case it has been replaced by something else meanwhile.
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let Ok(mut file) = opened else { return FileKind::Other };
    if file.by_ref().take(HEAD).read_to_end(&mut head).is_err() || head.is_empty() {
        return FileKind::Other;
    }
    if let Some(rest) = head.strip_prefix(b"#!") {
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        return FileKind::Script(String::from_utf8_lossy(line).split_whitespace().next().unwrap_or_default().to_owned());
    }
    if head.starts_with(b"\x7fELF") {
        return FileKind::Program { machine: machine(&head), loader: loader(&head, &mut file) };
    }
    FileKind::Other
}

fn what_it_is(kind: FileType) -> &'static str {
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

/// `e_machine` of an ELF header (elf(5)).
fn machine(head: &[u8]) -> &'static str {
    match number(head, 18, 2) {
        Some(0x03) => "i686",
        Some(0x15) => "ppc64",
        Some(0x16) => "s390x",
        Some(0x28) => "arm",
        Some(0x3e) => "x86_64",
        Some(0xb7) => "aarch64",
        Some(0xf3) => "riscv64",
        _ => "another machine",
    }
}

/// The path in the PT_INTERP segment of a 64-bit ELF file.
fn loader(head: &[u8], file: &mut File) -> Option<String> {
    const PT_INTERP: u64 = 3;
    if head.get(4) != Some(&2) {
        return None;
    }
    let (offset, size, count) = (number(head, 32, 8)?, number(head, 54, 2)?, number(head, 56, 2)?);
    (0..count).find_map(|index| {
        let at = usize::try_from(offset.checked_add(index * size)?).ok()?;
        if number(head, at, 4)? != PT_INTERP {
            return None;
        }
        file.seek(SeekFrom::Start(number(head, at.checked_add(8)?, 8)?)).ok()?;
        let mut path = Vec::new();
        file.take(HEAD.min(number(head, at.checked_add(32)?, 8)?)).read_to_end(&mut path).ok()?;
        Some(String::from_utf8_lossy(path.split(|byte| *byte == 0).next()?).into_owned())
    })
}

/// An unsigned integer of `size` bytes at `at`, in the byte order that the header names.
fn number(head: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = head.get(at..at.checked_add(size)?)?;
    let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(if head.get(5) == Some(&2) { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
}

/// The message for a program that is at none of these paths.
pub(super) fn is_nowhere(program: &str, places: &[PathBuf]) -> String {
    match near(program, places) {
        Some(near) => format!("it was not found; did you mean `{}`?", scrub(&near)),
        None => "it was not found; check the name, PATH and the image".to_owned(),
    }
}

/// The program with the most similar name in the searched directories.
pub fn near(program: &str, places: &[PathBuf]) -> Option<String> {
    let name = Path::new(program).file_name()?.to_str()?;
    let names: Vec<String> = places
        .iter()
        .filter_map(|place| std::fs::read_dir(place.parent()?).ok())
        .flatten()
        .filter_map(|entry| OsStr::from_bytes(entry.ok()?.file_name().as_bytes()).to_str().map(str::to_owned))
        .collect();
    let near = nearest(name, names.iter().map(String::as_str))?;
    Some(match program.rsplit_once('/') {
        Some((directory, _)) => format!("{directory}/{near}"),
        None => near.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("portcullis-executable-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn kinds_of_files_are_distinguished() {
        let cases: [(&str, &[u8], FileKind); 5] = [
            ("script", b"#! /bin/bash -e\nexit 3\n", FileKind::Script("/bin/bash".into())),
            ("text", b"exit 3\n", FileKind::Other),
            ("binary", b"MZ\0\0", FileKind::Other),
            ("empty", b"", FileKind::Other),
            ("truncated", b"\x7fELF\x02\x01\x01", FileKind::Program { machine: "another machine", loader: None }),
        ];
        for (name, content, expected) in cases {
            let path = file(name, content);
            assert_eq!(kind(&path), expected, "{name}");
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(kind(Path::new("/nonexistent")), FileKind::Other);
        assert_eq!(kind(&std::env::temp_dir()), FileKind::NoFile("a directory"));
        assert_eq!(kind(Path::new("/dev/null")), FileKind::NoFile("a device"));
        let fifo = file("fifo", b"");
        std::fs::remove_file(&fifo).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(kind(&fifo), FileKind::NoFile("a named pipe"));
        std::fs::remove_file(fifo).unwrap();
    }

    #[test]
    fn this_very_test_names_its_machine() {
        let FileKind::Program { machine, .. } = kind(&std::env::current_exe().unwrap()) else { panic!("a test is a program") };
        assert_eq!(machine, std::env::consts::ARCH);
    }
}
