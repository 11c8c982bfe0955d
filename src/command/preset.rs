//! `portcullis preset`: lists or prints the built-in configurations.

use crate::config::preset;

/// One line per preset: its name, and the first line of its text, which describes it.
pub fn list() -> String {
    let widest = preset::names().map(str::len).max().unwrap_or_default();
    let line = |name| {
        let about = preset::find(name).ok().and_then(|(_, text)| text.lines().next()).unwrap_or_default();
        format!("{name:<widest$}  {}\n", about.trim_start_matches(['#', ' ']).trim_end_matches('.'))
    };
    preset::names().map(line).collect()
}

/// The TOML text of a preset, or an error message.
pub fn print(name: &str) -> Result<&'static str, String> {
    preset::find(name).map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_listed_and_printed_and_a_wrong_name_is_answered_with_the_right_one() {
        assert!(list().contains("\ngunicorn     A Python API under gunicorn, with PostgreSQL (DB_*) and Redis (REDIS_*)\n"), "{}", list());
        assert!(print("gunicorn").unwrap().contains("[modes.api]"));
        assert_eq!(print("gunicon").unwrap_err(), "unknown preset `gunicon`; did you mean `gunicorn`?");
    }
}
