//! Reads TOML and JSON into the tree, with the place of every key and value, and reports syntax errors.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Entry, Node, Origin, Table, Value};
use crate::config::problem::Problem;

/// Finds line and column of a byte offset in one text.
struct Places<'a> {
    text: &'a str,
    /// The offset of each line. Counting the lines again for every value took an eighth of a whole start.
    lines: Vec<usize>,
    place: &'a dyn Fn(u32, u32) -> Origin,
}

impl<'a> Places<'a> {
    fn new(text: &'a str, place: &'a dyn Fn(u32, u32) -> Origin) -> Self {
        let lines = [0].into_iter().chain(text.match_indices('\n').map(|(end, _)| end + 1)).collect();
        Self { text, lines, place }
    }

    fn at(&self, offset: usize) -> Origin {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        let column = if before.is_ascii() { before.len() } else { before.chars().count() } + 1;
        (self.place)(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }

    /// The key, or the table header, in the line of this offset; none in any other line.
    fn key(&self, offset: usize) -> Option<&str> {
        let line = self.text.get(..offset)?.rsplit('\n').next()?.len();
        let line = self.text.get(offset.saturating_sub(line)..)?.lines().next()?.trim();
        let key = if line.starts_with('[') { line } else { line.split_once('=')?.0.trim() };
        (!key.is_empty() && key.len() <= 80).then_some(key)
    }

    /// The first place of a `key` that is repeated at `offset`: the nearest one before it, in the same table or as the same header.
    fn first(&self, key: &str, offset: usize, read: &Table) -> Option<Origin> {
        if let Some(header) = self.key(offset).filter(|header| header.starts_with('[')) {
            let before = self.text.get(..offset)?;
            let is_it = |line: &&str| line.trim_start().starts_with(header);
            let at = before.lines().find(is_it).map(|line| line.as_ptr().addr() - self.text.as_ptr().addr())?;
            return (at + header.len() < offset).then(|| self.at(at + 1));
        }
        read.places_of(key).into_iter().filter(|place| *place < self.at(offset)).max()
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let origin = self.at(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Float(f64::INFINITY), Value::Integer)
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => Value::List(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { value, origin }
    }

    /// The crate returns keys in alphabetical order; a configuration has the order of its lines.
    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let origin = self.at(key.span().start);
            let mut node = self.node(value);
            if matches!(node.value, Value::Table(_)) {
                node.origin = origin.clone();
            }
            Entry { key: std::borrow::Cow::to_string(key.get_ref()), origin, node }
        };
        entries.into_iter().map(entry).collect()
    }
}

/// Reads a whole TOML document; returns the readable parts, and a problem for every other place.
pub fn parse_document(text: &str, place: &dyn Fn(u32, u32) -> Origin) -> (Table, Vec<Problem>) {
    let places = Places::new(text, place);
    let (table, errors) = DeTable::parse_recoverable(text);
    let read = places.table(table.get_ref());
    let problem = |error: toml::de::Error| {
        let span = error.span().unwrap_or_default();
        let origin = places.at(span.start);
        let message = error.message().trim();
        let sentence = if message == "duplicate key" {
            let key = text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
            let first = places.first(key, span.start, &read).map(|first| format!("; first at {first}")).unwrap_or_default();
            format!("`{key}` is written twice{first}")
        } else {
            format!("{message}{}", places.key(span.start).map(|key| format!(", at `{key}`")).unwrap_or_default())
        };
        Problem::at(&origin, format!("not TOML: {sentence}"))
    };
    // Later errors in a line are consequences of the first.
    let mut lines = std::collections::BTreeSet::new();
    let mut first_in_line = |error: &toml::de::Error| {
        lines.insert(text.get(..error.span().map_or(0, |span| span.start)).map(|before| before.matches('\n').count()))
    };
    let problems = errors.into_iter().filter(|error| first_in_line(error)).map(problem).collect();
    (read, problems)
}

/// Reads a list or a table from a variable's value or an option, written as JSON or TOML; none if it is neither.
pub fn parse_inline(text: &str, origin: &Origin) -> Option<Node> {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(text) {
        return Some(from_json(json, origin));
    }
    let here = |_: u32, _: u32| origin.clone();
    DeValue::parse(text).ok().map(|value| Places::new(text, &here).node(&value))
}

fn from_json(json: serde_json::Value, origin: &Origin) -> Node {
    use serde_json::Value as Json;
    let value = match json {
        Json::Null => Value::String(String::new()),
        Json::Bool(flag) => Value::Boolean(flag),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Integer),
        Json::String(text) => Value::String(text),
        Json::Array(items) => Value::List(items.into_iter().map(|item| from_json(item, origin)).collect()),
        Json::Object(map) => {
            let entry = |(key, value)| Entry { key, origin: origin.clone(), node: from_json(value, origin) };
            Value::Table(map.into_iter().map(entry).collect())
        }
    };
    Node { value, origin: origin.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(line: u32, column: u32) -> Origin {
        Origin::File { path: "p.toml".into(), line, column }
    }

    #[test]
    fn every_key_and_value_knows_its_place_and_the_order_is_that_of_the_lines() {
        let (table, problems) = parse_document("z = 1\n[checks.db]\nurl = \"ü\" # c\nwait = \"1s\"\n[a]\n", &file);
        assert_eq!(problems, []);
        let keys: Vec<_> = table.iter().map(|entry| (entry.key.as_str(), entry.origin.to_string())).collect();
        assert_eq!(keys, [("z", "p.toml:1:1".into()), ("checks", "p.toml:2:2".into()), ("a", "p.toml:5:2".into())]);
        let Value::Table(checks) = &table.get("checks").unwrap().node.value else { panic!("a table") };
        let db = checks.get("db").unwrap();
        assert_eq!(db.origin, file(2, 9));
        let Value::Table(db) = &db.node.value else { panic!("a table") };
        assert_eq!(db.get("wait").unwrap().node.origin, file(4, 8));
    }

    #[test]
    fn broken_text_is_a_problem_with_its_place_and_the_rest_is_read() {
        let (table, problems) = parse_document("a = 1\nb = = 2\nc = 3\n", &file);
        assert!(table.get("a").is_some() && table.get("c").is_some());
        assert!(problems.first().unwrap().to_string().starts_with("p.toml:2:5: not TOML: "), "{problems:?}");
    }

    #[test]
    fn a_syntax_error_names_the_key_and_a_duplicate_its_first_place() {
        for (text, problem) in [
            (
                "[checks.db]\nwait = \"1s\"\nurl = \"a\"\nwait = \"2s\"\n",
                "p.toml:4:1: not TOML: `wait` is written twice; first at p.toml:2:1",
            ),
            (
                "[checks.db]\nwait = \"1s\"\n[process]\n[checks.db]\nx = 1\n",
                "p.toml:4:9: not TOML: `db` is written twice; first at p.toml:1:2",
            ),
        ] {
            let (_, problems) = parse_document(text, &file);
            assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [problem], "{text}");
        }
        let (_, problems) = parse_document("a = 1\nmode = 'x\nb = 1\n", &file);
        let sentence = problems.first().unwrap().to_string();
        assert!(sentence.starts_with("p.toml:2:") && sentence.ends_with(", at `mode`"), "{sentence}");
    }

    #[test]
    fn a_variable_may_hold_json_or_toml() {
        let origin = Origin::Variable("X".into());
        for text in [r#"["a", "b"]"#, "['a', 'b']", "[ 'a', \"b\", ]"] {
            let Some(Node { value: Value::List(items), .. }) = parse_inline(text, &origin) else { panic!("{text}") };
            assert_eq!(items.len(), 2);
        }
        for text in [r#"{"a": [1]}"#, "{ a = [1] }"] {
            let Some(Node { value: Value::Table(table), .. }) = parse_inline(text, &origin) else { panic!("{text}") };
            assert_eq!(table.get("a").unwrap().origin, origin);
        }
        assert!(parse_inline("flask db upgrade", &origin).is_none());
    }
}
