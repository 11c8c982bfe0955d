//! Searches the output of a process for a text, with memory of the size of the text, and reports the first match.
#![warn(clippy::arithmetic_side_effects)]

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the match is reported: a pipe of this start of the process, which is then closed.
#[derive(Debug)]
pub struct Seen(Mutex<Option<OwnedFd>>);

impl Seen {
    /// The reader of this pipe gets a line.
    pub fn new(writing: OwnedFd) -> Self {
        Self(Mutex::new(Some(writing)))
    }

    fn is_reported(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn say(&self) {
        let writing = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The pipe is empty, so this does not block; without a reader, that start is over.
        let _ = writing.map(|writing| nix::unistd::write(writing, b"\n"));
    }
}

/// The search in one stream. Lines may have any length: the text contains no line end, so a match is always within one line.
#[derive(Clone, Debug)]
pub struct Scan {
    text: Arc<[u8]>,
    /// For each length of a matched prefix: the length of its longest proper suffix that is also a prefix (Knuth, Morris and Pratt).
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

    /// Adds the next output. Returns whether the search is over: the text was found in this stream or in the other one.
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

/// The length of the matched prefix after `byte` follows a match of this length.
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
    fn a_match_in_one_stream_ends_the_search_in_both_and_is_reported_once() {
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
    fn a_listener_that_is_gone_is_no_error() {
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
