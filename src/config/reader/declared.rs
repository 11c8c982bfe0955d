//! Reads a section into the struct that declares it. A wrong value is reported and removed, and the section is read again, until nothing is
//! wrong.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::engine::{Fault, FaultKind, PathSegment, Reader, SHOWN};
use super::{Context, Depth, Section, keys_of};
use crate::config::node::{Entry, Node, Table, Value, dotted, parse_inline};
use crate::config::origin::Origin;
use crate::config::problem::{Problem, suggest};

/// Reading of a section stops after this many errors, so that no configuration can keep a start busy.
const MOST_FAULTS: usize = 200;

impl Section<'_> {
    /// Reads the whole section as `T` and refuses keys that `T` does not have. A wrong value is reported at its place and removed. Returns
    /// the default of `T` if nothing can be read.
    pub fn declared<T: DeserializeOwned + Default>(&mut self) -> T {
        self.read(false).unwrap_or_default()
    }

    /// Records the effective values of this section for `plan`; nothing if only the form of the section is checked.
    pub fn note(&self, declared: &impl Serialize) {
        self.note_with(declared, declared);
    }

    /// The same, but records only the defaults of some keys: a target has many keys, of which its kind uses few.
    pub fn note_with(&self, declared: &impl Serialize, defaults: &impl Serialize) {
        if let Some(effective) = self.context.effective.as_ref().filter(|_| self.depth == Depth::Whole) {
            effective.borrow_mut().add(&self.path, (declared, defaults), &self.table, self.context.environment);
        }
    }

    /// Reads the keys of `T` and ignores all others.
    pub fn part<T: DeserializeOwned + Default>(&mut self) -> T {
        self.read(true).unwrap_or_default()
    }

    /// The keys of `T` that were written in this section.
    pub fn written<T: DeserializeOwned>(&self) -> Vec<&'static str> {
        keys_of::<T>().iter().copied().filter(|key| self.has(key)).collect()
    }

    fn read<T: DeserializeOwned>(&mut self, part: bool) -> Option<T> {
        let origin = self.origin.clone().unwrap_or_else(|| Origin::Variable("".into()));
        let mut node = Node { value: Value::Table(std::mem::take(&mut self.table)), origin };
        let mut open = Vec::new();
        let value = self.until_right(&mut node, part, &mut open);
        self.take_back(node, open);
        value
    }

    fn take_back(&mut self, mut node: Node, open: Vec<(Vec<PathSegment>, Node)>) {
        for (path, closed) in open {
            if let Some(place) = at_mut(&mut node, &path) {
                *place = closed;
            }
        }
        if let Value::Table(table) = node.value {
            self.table = table;
        }
    }

    /// Values that were skipped because of their variable are returned in `open`, to be put back into the table afterwards.
    fn until_right<T: DeserializeOwned>(&self, node: &mut Node, part: bool, open: &mut Vec<(Vec<PathSegment>, Node)>) -> Option<T> {
        for _ in 0..MOST_FAULTS {
            let keys = RefCell::default();
            let reader = Reader { node, context: self.context, depth: self.depth, group: part.then_some(&keys) };
            match T::deserialize(reader) {
                Ok(value) => return Some(value),
                Err(fault) => self.mend(node, fault, open)?,
            }
        }
        None
    }

    /// Reports an error and removes the value; none if nothing is left to read. Separate from the loop, so that it is compiled once for all
    /// types.
    fn mend(&self, node: &mut Node, fault: Fault, open: &mut Vec<(Vec<PathSegment>, Node)>) -> Option<()> {
        let (path, kind) = fault.into_parts();
        let culprit = at_mut(node, &path)?;
        match kind {
            FaultKind::Open => open.push((path.clone(), culprit.clone())),
            FaultKind::Unfold(sentence) => {
                let Value::String(text) = &culprit.value else { return None };
                match parse_inline(text, &culprit.origin) {
                    Some(whole @ Node { value: Value::List(_) | Value::Table(_), .. }) => {
                        *culprit = whole;
                        return Some(());
                    }
                    _ => self.report(culprit, &path, &sentence),
                }
            }
            FaultKind::Missing(key) => {
                let text = format!("[{}] lacks `{key}`", self.path_of(&path));
                self.context.problem(Problem::at(&culprit.origin, text));
            }
            FaultKind::Messages(sentences) => sentences.iter().for_each(|sentence| self.report(culprit, &path, sentence)),
            FaultKind::Unknown(known) => {
                let Value::Table(table) = &mut culprit.value else { return None };
                self.context.refuse_unknown(table, &self.path_of(&path), &known);
                table.retain(|entry| known.contains(&entry.key.as_str()));
                return Some(());
            }
        }
        if path.is_empty() {
            return None;
        }
        culprit.value = Value::Hole;
        Some(())
    }

    /// Reports what is wrong with the value at `path`.
    fn report(&self, culprit: &Node, path: &[PathSegment], sentence: &str) {
        let shown = match &culprit.value {
            Value::String(text) => self.context.shown(text, &culprit.origin),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            _ => String::new(),
        };
        let sentence = sentence.replace(SHOWN, &shown);
        let (space, from) = if sentence.starts_with(':') { ("", String::new()) } else { (" ", self.context.variables_in(culprit)) };
        self.context.problem(Problem::at(&culprit.origin, format!("{}{from}{space}{sentence}", self.named(path))));
    }

    /// The name of a value in messages: `key` and its section, or the section itself.
    fn named(&self, path: &[PathSegment]) -> String {
        match path.iter().rposition(|step| matches!(step, PathSegment::Key(_))) {
            None => format!("[{}]", self.path),
            Some(last) => {
                let item = if last + 1 < path.len() { "an item of " } else { "" };
                let Some(PathSegment::Key(key)) = path.get(last) else { return String::new() };
                let section = self.path_of(path.get(..last).unwrap_or_default());
                if section.is_empty() { format!("{item}`{key}`") } else { format!("{item}`{key}` in [{section}]") }
            }
        }
    }

    /// The dotted name of a section below this one.
    fn path_of(&self, path: &[PathSegment]) -> String {
        let keys = path.iter().filter_map(|step| if let PathSegment::Key(key) = step { Some(key) } else { None });
        keys.fold(self.path.clone(), |path, key| dotted(&path, key))
    }
}

impl Context<'_> {
    /// Records one entry of the section `path` for `plan`; each of its entries is read in its own environment.
    pub fn note_entry(&self, path: &str, entry: &Entry, depth: Depth) {
        // A variant is an item of a list, which is not a section.
        if let Some(effective) = self.effective.as_ref().filter(|_| depth == Depth::Whole && !path.contains(".variants")) {
            effective.borrow_mut().add_entry(path, entry, self.environment);
        }
    }

    /// Reports each key of a table that is not in `known`. After a TOML syntax error keys may be in the wrong table.
    pub(super) fn refuse_unknown(&self, table: &Table, path: &str, known: &[&'static str]) {
        if self.is_garbled() {
            return;
        }
        let place = if path.is_empty() { String::new() } else { format!(" in [{path}]") };
        for Entry { key, origin, .. } in table.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            self.problem(Problem::at(origin, format!("unknown key `{key}`{place}{}", suggest(key, known.iter().copied()))));
        }
    }

    /// The printable form of a text.
    fn shown(&self, text: &str, origin: &Origin) -> String {
        let quiet = Context::new(self.environment);
        let node = Node { value: Value::String(text.to_owned()), origin: origin.clone() };
        quiet.text(&node, &"", Depth::Whole).map(|text| text.shown()).unwrap_or_default()
    }
}

fn at_mut<'n>(node: &'n mut Node, path: &[PathSegment]) -> Option<&'n mut Node> {
    path.iter().try_fold(node, |node, step| match (&mut node.value, step) {
        (Value::Table(table), PathSegment::Key(key)) => table.get_mut(key).map(|entry| &mut entry.node),
        (Value::List(items), PathSegment::Item(index)) => items.get_mut(*index),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::config::interpolate::Text;
    use crate::config::node::parse_document;
    use crate::config::source::Environment;
    use crate::config::values::{Deferred, Maybe, Named, Number, OneOrMore, Port, Scalar, Span};

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        #[default]
        Able,
        B,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Inner {
        deep: Option<Number<0, 9>>,
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Sample {
        wait: Option<Span<0, 3_600_000>>,
        count: Option<Number<1, 9>>,
        flag: bool,
        word: Word,
        list: Vec<Text>,
        port: Maybe<Port>,
        text: Maybe<Text>,
        scalar: Scalar,
        one: OneOrMore<Text>,
        inner: Inner,
        named: Named<Number<0, 9>>,
        part: Deferred<Inner>,
    }

    #[derive(Debug, Default, Serialize)]
    struct Both {
        inner: Inner,
        other: Other,
    }
    crate::union!(Both { inner: Inner, other: Other });

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Other {
        text: Maybe<Text>,
    }

    fn read<T: DeserializeOwned + Serialize + Default>(toml: &str, depth: Depth, also: impl Fn(&T, &Section<'_>)) -> Vec<String> {
        let environment = Environment::new([("SECRET_WAIT", "not-a-duration"), ("API_PORT", "tcp://10.0.0.1:80"), ("MY_FLAG", "maybe\r")]);
        let (tree, broken) = parse_document(toml, &|line, column| Origin::File { path: "p.toml".into(), line, column });
        assert_eq!(broken, []);
        let context = Context::new(&environment);
        let mut section = context.open(&tree.get("s").unwrap().node, "s", depth).unwrap();
        let value = section.declared();
        also(&value, &section);
        context.finish().err().map(|problems| problems.iter().map(Problem::to_string).collect()).unwrap_or_default()
    }

    #[test]
    fn every_problem_names_its_place_and_what_is_expected() {
        for (line, problem) in [
            ("waits = '1s'", "p.toml:2:1: unknown key `waits` in [s]; did you mean `wait`?"),
            ("wait = 5", "p.toml:2:8: `wait` in [s] is a bare number; write it with its unit, such as `60s` or `500ms`"),
            ("wait = '5'", "p.toml:2:8: `wait` in [s] is the bare number `5`; write it with its unit, such as `60s` or `500ms`"),
            ("wait = '2h'", "p.toml:2:8: `wait` in [s] is `2h`; from 0s to 1h is possible"),
            ("wait = 'soon'", "p.toml:2:8: `wait` in [s] is `soon`, not a duration such as `60s`, `500ms` or `30m`"),
            (
                "wait = '${SECRET_WAIT}'",
                "p.toml:2:8: `wait` in [s], from SECRET_WAIT, is `***`, not a duration such as `60s`, `500ms` or `30m`",
            ),
            ("wait = '${UNSET}'", "p.toml:2:8: `wait` in [s]: UNSET is not set; set it, or give a default: `${UNSET:-…}`"),
            ("wait = []", "p.toml:2:8: `wait` in [s] is a list; expected a string"),
            ("count = 0", "p.toml:2:9: `count` in [s] is `0`; expected a whole number from 1 to 9"),
            ("count = 'x'", "p.toml:2:9: `count` in [s] is `x`; expected a whole number from 1 to 9"),
            ("count = 1.5", "p.toml:2:9: `count` in [s] is `1.5`; expected a whole number from 1 to 9"),
            ("count = true", "p.toml:2:9: `count` in [s] is a boolean; expected a number"),
            ("flag = 'tru'", "p.toml:2:8: `flag` in [s] is `tru`; expected `true` or `false` (or 1, yes, on, 0, no, off)"),
            (
                "flag = '${MY_FLAG}'",
                "p.toml:2:8: `flag` in [s], from MY_FLAG, is `maybe\\r`; expected `true` or `false` (or 1, yes, on, 0, no, off)",
            ),
            ("flag = 1", "p.toml:2:8: `flag` in [s] is a number; expected `true` or `false`"),
            ("word = 'c'", "p.toml:2:8: `word` in [s] is `c`; expected one of `able`, `b`"),
            ("word = 'Abel'", "p.toml:2:8: `word` in [s] is `Abel` (did you mean `able`?); expected one of `able`, `b`"),
            ("word = 1", "p.toml:2:8: `word` in [s] is a number; expected one of `able`, `b`"),
            ("list = 'a b'", "p.toml:2:8: `list` in [s] is a string; expected a list such as `[\"a\", \"b\"]`"),
            ("list = ['a', 1]", "p.toml:2:14: an item of `list` in [s] is a number; expected a string"),
            ("one = 1", "p.toml:2:7: `one` in [s] is a number; expected a string"),
            ("port = 70000", "p.toml:2:8: `port` in [s] is `70000`; expected a whole number from 1 to 65535"),
            ("text = 1979-05-27", "p.toml:2:8: `text` in [s] is a date; expected a string"),
            ("text = '${UNSET'", "p.toml:2:8: `text` in [s]: a `${` without its `}`"),
            ("scalar = []", "p.toml:2:10: `scalar` in [s] is a list; expected a string"),
            ("inner = 1", "p.toml:2:9: `inner` in [s] is a number; expected a table such as `{ key = \"value\" }`"),
            ("inner = { dep = 1 }", "p.toml:2:11: unknown key `dep` in [s.inner]; did you mean `deep`?"),
            ("inner = { deep = 10 }", "p.toml:2:18: `deep` in [s.inner] is `10`; expected a whole number from 0 to 9"),
            ("named = { a = 10 }", "p.toml:2:15: `a` in [s.named] is `10`; expected a whole number from 0 to 9"),
        ] {
            assert_eq!(read::<Sample>(&format!("[s]\n{line}\n"), Depth::Whole, |_, _| ()), [problem], "{line}");
        }
    }

    #[test]
    fn right_values_are_read_in_each_way_of_writing_them() {
        let toml = "[s]\nwait = '1m 30s'\ncount = '3'\nflag = 'on'\nword = 'b'\nlist = ['x', '${API_PORT}']\nport = '${API_PORT}'\ntext = ''\nscalar = 2\none = 'a'\nnamed = { z = 1, a = 2 }\npart = { anything = '${UNSET}' }\n";
        let found = read::<Sample>(toml, Depth::Whole, |some, _| {
            assert_eq!(some.wait.unwrap().0, Duration::from_secs(90));
            assert_eq!((some.count.unwrap().get(), some.flag, some.port.0.unwrap().to::<u16>()), (3, true, Some(80)));
            assert!(matches!(some.word, Word::B) && some.text.0.is_none());
            assert_eq!(format!("{:?} {:?} {:?}", some.list, some.scalar.0, some.one.0), "[\"x\", \"80\"] \"2\" [\"a\"]");
            assert_eq!(some.named.0.iter().map(|(name, _)| name.as_str()).collect::<String>(), "za");
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn faults_are_reported_together_and_each_leaves_a_hole() {
        let toml = "[s]\nwait = 5\nwaits = 1\ncount = '${UNSET}${OTHER}'\nlist = [1, 'a', 2]\n";
        let found = read::<Sample>(toml, Depth::Whole, |some, section| {
            assert_eq!(some.list.len(), 1);
            assert!(section.is_broken("wait") && section.has("wait") && section.node("wait").is_none() && !section.has("waits"));
            section.problem("wait", "says no more");
        });
        assert_eq!(
            found.iter().filter_map(|line| line.split(": ").next()).collect::<Vec<_>>(),
            ["p.toml:2:8", "p.toml:3:1", "p.toml:4:9", "p.toml:4:9", "p.toml:5:9", "p.toml:5:17"]
        );
    }

    #[test]
    fn the_form_alone_needs_no_variable_and_leaves_everything_where_it_was() {
        let toml = "[s]\nwait = '${UNSET}'\ncount = 0\nlist = ['${UNSET}', 5]\n";
        let found = read::<Sample>(toml, Depth::Syntax, |some, section| {
            assert!(some.wait.is_none() && section.node("wait").is_some() && section.is_broken("count"));
        });
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_groups_of_a_union_share_a_table_and_refuse_what_is_of_neither() {
        let found = read::<Both>("[s]\ndeep = 4\ntext = 'x'\ndeeep = 1\n", Depth::Whole, |both, _| {
            assert_eq!((both.inner.deep.unwrap().get(), both.other.text.0.is_some()), (4, true));
        });
        assert_eq!(found, ["p.toml:4:1: unknown key `deeep` in [s]; did you mean `deep`?"]);
    }

    #[test]
    fn a_section_of_nothing_but_faults_comes_to_an_end() {
        let toml = format!("[s]\nlist = [{}]\n", "1,".repeat(5000));
        assert_eq!(read::<Sample>(&toml, Depth::Whole, |_, _| ()).len(), MOST_FAULTS);
    }
}
