//! Fits the page into a terminal: the state and its causes completely, the rest cut, with a count of the omitted lines.

use crate::visible::cut;

/// The text in this many columns and rows; the last row is left for the cursor. The part before the first empty line is wrapped, the rest
/// is cut, because each line of it is useful on its own.
pub(super) fn fit(text: &str, columns: usize, rows: usize) -> String {
    let head = text.lines().take_while(|line| !line.is_empty()).count();
    let wrapped = |(number, line): (usize, &str)| if number < head { wrap(line, columns) } else { vec![cut(line, columns)] };
    let lines: Vec<String> = text.lines().enumerate().flat_map(wrapped).collect();
    let room = rows.saturating_sub(1).max(1);
    if lines.len() <= room {
        return lines.iter().flat_map(|line| [line, "\n"]).collect();
    }
    let shown = room - 1;
    let more = lines.iter().skip(shown).filter(|line| !line.is_empty()).count();
    let shown: String = lines.iter().take(shown).flat_map(|line| [line, "\n"]).collect();
    shown + &cut(&format!("\u{2026} {more} more lines; portcullis status shows all"), columns) + "\n"
}

/// The line, wrapped; further lines are indented more.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    if line.chars().count() <= columns {
        return vec![line.to_owned()];
    }
    let indent = line.chars().take_while(|c| *c == ' ').count();
    let mut lines = vec![" ".repeat(indent)];
    let mut is_first_word = true;
    for word in line.split(' ').filter(|word| !word.is_empty()) {
        let Some(last) = lines.last_mut() else { break };
        let blank = usize::from(!is_first_word);
        if !is_first_word && last.chars().count() + blank + word.chars().count() > columns {
            lines.push(cut(&format!("{}{word}", " ".repeat(indent + 2)), columns));
        } else {
            last.extend(std::iter::repeat_n(' ', blank));
            last.push_str(word);
            *last = cut(last, columns);
        }
        is_first_word = false;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(causes: usize, checks: usize) -> String {
        let cause =
            "  \u{2715} db: connection refused at db.example.internal:5432 (os error 111); check the port and that the server is running\n";
        let check =
            "\u{2715} a check with a rather long name, down for 12 min: connection refused; the last half hour: \u{2582}\u{2582}\u{2582}\n";
        format!("\u{25bc} DOWN  api\n{}\nChecks\n{}", cause.repeat(causes), check.repeat(checks))
    }

    #[test]
    fn a_page_fits_its_terminal_and_counts_what_is_left_out() {
        for (columns, rows) in [(80, 24), (100, 12), (20, 5), (1, 1)] {
            for text in [page(1, 3), page(2, 50), page(20, 0), String::new()] {
                let fitted = fit(&text, columns, rows);
                assert!(fitted.lines().count() < rows.max(2), "{columns}x{rows}: {fitted}");
                assert!(fitted.lines().all(|line| line.chars().count() <= columns), "{columns}x{rows}: {fitted}");
            }
        }
        let fitted = fit(&page(2, 50), 100, 12);
        let words: String = fitted.lines().take(5).map(str::trim).collect::<Vec<_>>().join(" ");
        assert_eq!(words.matches("check the port and that the server is running").count(), 2, "causes are whole: {fitted}");
        assert!(fitted.ends_with("\u{2026} 47 more lines; portcullis status shows all\n"), "{fitted}");
    }

    #[test]
    fn a_text_that_fits_is_unchanged() {
        let text = "UP\n  running\n\nChecks\n  a\n";
        assert_eq!(fit(text, 80, 24), text);
    }
}
