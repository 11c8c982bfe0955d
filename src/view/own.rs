//! The response while an ad-hoc command runs instead of the service, and how that response is recognized.

/// The beginning of the response.
const WORDS: &str = "an ad-hoc command runs here, not a service";

/// The response while the program of this name or path runs.
pub fn render(program: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or_default();
    if is_plain(name) { format!("{WORDS}: {name}\n") } else { format!("{WORDS}\n") }
}

/// The line to show for such a response; none for any other.
///
/// It is composed again, so that another server on this socket can only provide a plain name.
pub fn read(body: &str) -> Option<String> {
    let rest = body.strip_prefix(WORDS)?.trim_end();
    let name = rest.strip_prefix(": ").filter(|name| is_plain(name));
    (rest.is_empty() || name.is_some()).then(|| render(name.unwrap_or_default()).trim_end().to_owned())
}

fn is_plain(name: &str) -> bool {
    (1..=40).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_known_again_and_nothing_else_is_let_through() {
        for (program, line) in
            [("/bin/bash", format!("{WORDS}: bash")), ("manage.py", format!("{WORDS}: manage.py")), ("a b", WORDS.to_owned())]
        {
            assert_eq!(read(&render(program)).as_deref(), Some(line.as_str()), "{program}");
        }
        for other in ["ok", "", &format!("{WORDS}: two words"), &format!("{WORDS} and more")] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
