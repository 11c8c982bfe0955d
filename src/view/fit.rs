//! Limits the length of responses: writes what fits and counts the rest.

/// The number of pieces that did not fit after which the rest is only counted, so that omitted ones cost almost nothing.
const TRIES: usize = 16;

/// Writes every item that keeps `text` within `longest` bytes, and counts the others. One that is too long leaves its space to shorter ones
/// after it.
pub(super) fn append<T>(text: &mut String, longest: usize, items: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) -> usize {
    let mut left_out = 0;
    for item in items {
        let before = text.len();
        if left_out < TRIES {
            write(text, item);
        }
        if text.len() > longest {
            text.truncate(before);
        }
        left_out += usize::from(text.len() == before);
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_piece_leaves_its_room_to_short_ones_behind_it() {
        let mut text = "0".to_owned();
        let left_out = append(&mut text, 6, ["ab", "much too long", "c", "d", "efg", "h"], String::push_str);
        assert_eq!((text.as_str(), left_out), ("0abcdh", 2));
    }

    #[test]
    fn a_blocked_write_ends_in_time() {
        let written = std::cell::Cell::new(0);
        let left_out = append(&mut String::new(), 4, 0..1000, |text, _| {
            written.set(written.get() + 1);
            text.push_str("long");
        });
        assert_eq!((left_out, written.get()), (999, 1 + TRIES));
    }
}
