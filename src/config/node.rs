//! What an operator wrote, as a tree in which every value knows where it was written.

use std::fmt;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::preset;
use crate::config::problem::Problem;

/// Where something was written; ordered as problems are shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A built-in preset.
    Preset {
        /// The preset's name.
        name: Arc<str>,
        /// From 1.
        line: u32,
        /// From 1, in characters.
        column: u32,
    },
    /// The configuration file.
    File {
        /// The path as it was given.
        path: Arc<str>,
        /// From 1.
        line: u32,
        /// From 1, in characters.
        column: u32,
    },
    /// An environment variable, by its name; or several, with commas between.
    Variable(Arc<str>),
    /// An option of the command line, as `--mode`.
    Flag(Arc<str>),
}

impl Origin {
    /// Whether text from there is taken as it is: nobody expects `$` to mean something in a variable's value or an option.
    pub const fn verbatim(&self) -> bool {
        matches!(self, Self::Variable(_) | Self::Flag(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset { name, .. } if **name == *preset::ENVIRONMENT => f.write_str("the environment"),
            Self::Preset { name, line, .. } => write!(f, "line {line} of `portcullis preset {name}`"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Variable(names) if names.contains(',') => write!(f, "environment variables {names}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and where it was written. It may hold a secret, so it cannot be printed.
#[derive(Clone)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where.
    pub origin: Origin,
}

/// What was written.
#[derive(Clone)]
pub enum Value {
    /// A string, not yet interpolated.
    String(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// A date or a time, which no key wants.
    Datetime,
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Table),
}

impl Value {
    /// The word for messages, with its article.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Datetime => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys and values in the order in which they were written.
#[derive(Clone, Default)]
pub struct Table(Vec<Entry>);

/// One key of a table.
#[derive(Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key was written.
    pub origin: Origin,
    /// Its value.
    pub node: Node,
}

impl Table {
    /// The entry of `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }

    /// The entry of `key`, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.key == key)
    }

    /// Adds `entry`, in the place of one with the same key.
    pub fn insert(&mut self, entry: Entry) {
        match self.get_mut(&entry.key) {
            Some(present) => *present = entry,
            None => self.0.push(entry),
        }
    }

    /// Drops the entries that `keep` refuses.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.0.retain(keep);
    }

    /// Every entry, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Table {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Finds line and column of a byte offset in one text.
struct Places<'a> {
    text: &'a str,
    /// Where each line begins: to count them anew for every value took an eighth of a whole start.
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
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        (self.place)(u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
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

    /// The crate yields keys in alphabetical order; the order of a configuration is that of its lines.
    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let origin = self.at(key.span().start);
            let mut node = self.node(value);
            if matches!(node.value, Value::Table(_)) {
                node.origin = origin.clone();
            }
            Entry { key: std::borrow::Cow::to_string(key.get_ref()), origin, node }
        };
        Table(entries.into_iter().map(entry).collect())
    }
}

/// Reads a whole TOML document; what could be read, and a problem for each place that could not.
pub fn parse_document(text: &str, place: &dyn Fn(u32, u32) -> Origin) -> (Table, Vec<Problem>) {
    let places = Places::new(text, place);
    let (table, errors) = DeTable::parse_recoverable(text);
    let problem = |error: toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        Problem::at(&places.at(offset), format!("not TOML: {}", error.message().trim()))
    };
    (places.table(table.get_ref()), errors.into_iter().map(problem).collect())
}

/// Reads a list or a table from a variable's value or an option, written as JSON or TOML; none when it is neither.
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
            Value::Table(Table(map.into_iter().map(entry).collect()))
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
