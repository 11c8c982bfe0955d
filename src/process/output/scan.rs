//! Looks for a text in what a process writes, in as much memory as the text has, and says once that it was there.
#![warn(clippy::arithmetic_side_effects)]

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Where is said that the text was seen: a pipe of that one start of the process, which is closed then.
#[derive(Debug)]
pub struct Seen(Mutex<Option<OwnedFd>>);

impl Seen {
    /// Whoever reads from this pipe gets a line.
    pub fn new(writing: OwnedFd) -> Self {
        Self(Mutex::new(Some(writing)))
    }

    fn is_reported(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn say(&self) {
        let writing = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The pipe is empty, so this does not wait; where nobody reads, that start is over.
        let _ = writing.map(|writing| nix::unistd::write(writing, b"\n"));
    }
}

/// The search in one stream. It has no limit to the length of a line, because the text has no line end in it: found anywhere, it is
/// within one line.
#[derive(Clone, Debug)]
pub struct Scan {
    text: Arc<[u8]>,
    /// For each length of a matched beginning: the length of the next shorter beginning that it ends with (Knuth, Morris and Pratt).
    shorter: Arc<[usize]>,
    matched: usize,
    seen: Arc<Seen>,
}

impl Scan {
    /// A search for this text.
    pub fn new(text: &[u8], seen: Arc<Seen>) -> Self {
        let mut shorter: Vec<usize> = Vec::with_capacity(text.len());
        for (index, byte) in text.iter().enumerate() {
            let before = index.checked_sub(1).and_then(|last| shorter.get(last)).copied();
            shorter.push(before.map_or(0, |matched| step(text, &shorter, matched, *byte)));
        }
        Self { text: text.into(), shorter: shorter.into(), matched: 0, seen }
    }

    /// Takes in what was written next. Whether there is nothing more to look for: it was seen, in this stream or in the other one.
    pub(super) fn is_over(&mut self, bytes: &[u8]) -> bool {
        if self.seen.is_reported() {
            return true;
        }
        for byte in bytes {
            self.matched = step(&self.text, &self.shorter, self.matched, *byte);
            if self.matched == self.text.len() {
                self.seen.say();
                return true;
            }
        }
        false
    }
}

/// How much of the text's beginning is matched once `byte` has come after a match of this length.
fn step(text: &[u8], shorter: &[usize], mut matched: usize, byte: u8) -> usize {
    while text.get(matched) != Some(&byte) {
        match matched.checked_sub(1).and_then(|last| shorter.get(last)) {
            Some(next) => matched = *next,
            None => return 0,
        }
    }
    matched.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn scan(text: &[u8]) -> (std::io::PipeReader, Scan) {
        let (reading, writing) = std::io::pipe().unwrap();
        (reading, Scan::new(text, Arc::new(Seen::new(writing.into()))))
    }

    #[test]
    fn what_one_stream_has_seen_ends_the_search_in_both_and_is_said_once() {
        let (mut reading, mut one) = scan(b"aab");
        let mut other = one.clone();
        assert!(!one.is_over(b"aa") && !other.is_over(b"b"), "each stream is for itself");
        assert!(one.is_over(b"ab and more"));
        assert!(other.is_over(b"aab"));
        let mut bytes = Vec::new();
        reading.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\n");
    }

    #[test]
    fn nobody_who_listens_any_more_is_no_fault() {
        let (reading, mut scan) = scan(b"x");
        drop(reading);
        assert!(scan.is_over(b"x"));
    }

    proptest! {
        #[test]
        fn it_is_found_wherever_the_pieces_are_cut(text in "[ab]{1,6}", bytes in "[ab\n]{0,60}", cut in 1_usize..7) {
            let (_reading, mut scan) = scan(text.as_bytes());
            let found = bytes.as_bytes().chunks(cut).any(|piece| scan.is_over(piece));
            prop_assert_eq!(found, bytes.contains(&text));
        }
    }
}
