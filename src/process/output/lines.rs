//! Turns a child's bytes into lines with its name, or passes them on unchanged, with bounded memory and without loss.
#![warn(clippy::arithmetic_side_effects)]

/// The longest line that is kept until it is complete; a longer one is passed on in pieces.
const LONGEST_HELD: usize = 64 * 1024;

/// A key that no stream has.
const SOMEBODY_ELSE: u64 = 0;

/// One child's stream: its name and the beginning of an incomplete line.
#[derive(Debug)]
pub(super) struct Lines {
    /// Identifies a stream within the buffer.
    key: u64,
    /// None: its bytes are passed on unchanged.
    label: Option<Vec<u8>>,
    held: Vec<u8>,
}

/// The output buffer of several children, and which of them has an unfinished line in it.
#[derive(Debug, Default)]
pub(super) struct OutputBuffer {
    open: Option<u64>,
    out: Vec<u8>,
}

impl Lines {
    /// An empty stream. `key` is unique in its buffer, and not 0.
    pub(super) fn new(key: u64, label: Option<&str>) -> Self {
        Self { key, label: label.map(|label| format!("{label} | ").into_bytes()), held: Vec::new() }
    }
}

impl OutputBuffer {
    /// Adds a child's output: complete lines are written, the rest is kept until it is a line or too long.
    pub(super) fn add(&mut self, lines: &mut Lines, bytes: &[u8]) {
        if lines.label.is_none() {
            self.write(lines, &[bytes], true);
            return;
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last.saturating_add(1));
        let (whole, rest) = bytes.split_at(whole);
        for line in whole.split_inclusive(|byte| *byte == b'\n') {
            let held = std::mem::take(&mut lines.held);
            self.write(lines, &[&held, line], true);
        }
        lines.held.extend_from_slice(rest);
        // A line that was already begun need not be kept: another line in between would end it first.
        if lines.held.len() > LONGEST_HELD || (self.open == Some(lines.key) && !lines.held.is_empty()) {
            let held = std::mem::take(&mut lines.held);
            self.write(lines, &[&held], false);
        }
    }

    /// Ends an unfinished line of an ended child.
    pub(super) fn complete(&mut self, lines: &mut Lines) {
        if !lines.held.is_empty() || self.open == Some(lines.key) {
            let held = std::mem::take(&mut lines.held);
            self.write(lines, &[&held, b"\n"], true);
        }
    }

    fn write(&mut self, lines: &Lines, parts: &[&[u8]], whole: bool) {
        if self.open != Some(lines.key) {
            if self.open.is_some() {
                self.out.push(b'\n');
            }
            self.out.extend(lines.label.iter().flatten());
        }
        for part in parts {
            self.out.extend_from_slice(part);
        }
        self.open = (!whole).then_some(lines.key);
    }

    /// The data to write now.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Whether the last line is unfinished.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Marks our unfinished line, if any, as ended, because another writer has written since; returns whether that writer left an
    /// unfinished line.
    pub(super) const fn was_ended(&mut self, by_open_line: bool) {
        self.open = if by_open_line { Some(SOMEBODY_ELSE) } else { None };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(page: &mut OutputBuffer) -> String {
        String::from_utf8(page.take()).unwrap()
    }

    #[test]
    fn lines_are_labelled_and_a_partial_one_waits_for_its_end() {
        let (mut page, mut a, mut b) = (OutputBuffer::default(), Lines::new(1, Some("a")), Lines::new(2, Some("b")));
        page.add(&mut a, b"one\ntwo\nthr");
        page.add(&mut b, b"\n");
        page.add(&mut a, b"ee\nfour");
        assert_eq!(taken(&mut page), "a | one\na | two\nb | \na | three\n");
        page.complete(&mut a);
        page.complete(&mut b);
        assert_eq!(taken(&mut page), "a | four\n");
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line_unless_another_process_writes() {
        let (mut page, mut a, mut b) = (OutputBuffer::default(), Lines::new(1, Some("a")), Lines::new(2, Some("b")));
        let long = vec![b'x'; LONGEST_HELD + 1];
        page.add(&mut a, &long);
        page.add(&mut a, b"yy");
        page.add(&mut a, b"z\n");
        let text = taken(&mut page);
        assert_eq!(text, format!("a | {}yyz\n", "x".repeat(LONGEST_HELD + 1)));
        page.add(&mut a, &long);
        page.add(&mut b, b"here\n");
        page.add(&mut a, b"more\n");
        assert_eq!(taken(&mut page), format!("a | {}\nb | here\na | more\n", "x".repeat(LONGEST_HELD + 1)));
        page.add(&mut a, &long);
        page.complete(&mut a);
        assert!(taken(&mut page).ends_with("xx\n"));
    }

    #[test]
    fn without_a_label_nothing_is_held_back_or_added() {
        let (mut page, mut a, mut b) = (OutputBuffer::default(), Lines::new(1, Some("a")), Lines::new(2, None));
        page.add(&mut b, b"..");
        assert_eq!(taken(&mut page), "..");
        page.add(&mut b, b".\n\nx");
        page.add(&mut a, b"one\n");
        page.add(&mut b, b"y");
        page.complete(&mut b);
        assert_eq!(taken(&mut page), ".\n\nxa | one\ny");
        page.add(&mut a, &vec![b'x'; LONGEST_HELD + 1]);
        page.add(&mut b, b"z");
        page.add(&mut a, b"more\n");
        assert!(taken(&mut page).ends_with("x\nza | more\n"), "an open line of another is ended");
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_wherever_the_pieces_are_cut(bytes in prop::collection::vec(any::<u8>(), 0..2000), cuts in prop::collection::vec(1usize..300, 1..20)) {
            let (mut page, mut lines, mut rest, mut cuts) = (OutputBuffer::default(), Lines::new(1, Some("n")), bytes.as_slice(), cuts.iter().cycle());
            let mut out = Vec::new();
            while !rest.is_empty() {
                let (piece, left) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                page.add(&mut lines, piece);
                out.extend(page.take());
                rest = left;
            }
            page.complete(&mut lines);
            out.extend(page.take());
            let back: Vec<u8> = out.split_inclusive(|byte| *byte == b'\n').flat_map(|line| line.strip_prefix(b"n | ").unwrap().to_vec()).collect();
            let mut whole = bytes.clone();
            if whole.last().is_some_and(|last| *last != b'\n') {
                whole.push(b'\n');
            }
            prop_assert_eq!(back, whole);
        }
    }
}
