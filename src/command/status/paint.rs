//! Colours for a terminal: the state, the mark of each line and the strips; the colours repeat what words and shapes show.

/// The text with its first line, marks and strips in colour; everything else is unchanged.
pub(super) fn paint(text: &str) -> String {
    let mut painted = String::with_capacity(text.len() * 2);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let words = line.trim_start();
        let indent = line.len() - words.len();
        let mark = words.chars().next().and_then(|mark| Some((mark.len_utf8(), colour(mark)?)));
        match mark {
            // `--watch` puts its terminal sequence before the text, never into it.
            _ if is_strip(words) => strip(&mut painted, line),
            Some((length, colour)) => {
                let length = if number == 0 { words.find("  ").unwrap_or(words.len()) } else { length };
                let (mark, rest) = words.split_at(length);
                let bold = if number == 0 { "\x1b[1m" } else { "" };
                painted.extend([&line[..indent], bold, colour, mark, RESET, rest]);
            }
            None => painted.push_str(line),
        }
        painted.push_str(end);
    }
    painted
}

const RESET: &str = "\x1b[0m";

/// The colour of a mark: green is good, yellow needs attention, red is bad.
const fn colour(mark: char) -> Option<&'static str> {
    match mark {
        '\u{25cf}' | '\u{2582}' => Some("\x1b[32m"),
        '\u{25b2}' | '\u{25d1}' | '\u{2585}' => Some("\x1b[33m"),
        '\u{2715}' | '\u{2588}' => Some("\x1b[31m"),
        '\u{25cc}' => Some("\x1b[36m"),
        _ => None,
    }
}

/// Whether a line contains only buckets and a word after them.
fn is_strip(words: &str) -> bool {
    let (strip, rest) = words.split_once("  ").unwrap_or((words, ""));
    let is_bucket = |c| matches!(c, '\u{b7}' | '\u{2582}' | '\u{2585}' | '\u{2588}');
    strip.chars().count() > 1 && strip.chars().all(is_bucket) && matches!(rest, "" | "ends")
}

fn strip(painted: &mut String, line: &str) {
    let mut last = None;
    for c in line.chars() {
        let next = colour(c);
        if next != last {
            painted.push_str(if last.is_some() { RESET } else { "" });
            painted.push_str(next.unwrap_or_default());
            last = next;
        }
        painted.push(c);
    }
    painted.push_str(if last.is_some() { RESET } else { "" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_strips_are_coloured_and_words_are_not() {
        let text = "\u{25b2} SERVING, degraded: db  api\n  \u{2715} db: refused\n\nChecks\n\u{25cf} redis  up \u{25cf}\n   \u{b7}\u{2582}\u{2582}\u{2588}\n  wait  \u{2588}\u{2588}\n";
        let painted = paint(text);
        assert_eq!(
            painted,
            "\x1b[1m\x1b[33m\u{25b2} SERVING, degraded: db\x1b[0m  api\n  \x1b[31m\u{2715}\x1b[0m db: refused\n\nChecks\n\x1b[32m\u{25cf}\x1b[0m redis  up \u{25cf}\n   \u{b7}\x1b[32m\u{2582}\u{2582}\x1b[0m\x1b[31m\u{2588}\x1b[0m\n  wait  \u{2588}\u{2588}\n"
        );
    }
}
