//! Permissions of a file in the form of `chmod(1)`, octal or symbolic, and how they change existing permissions.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::config::reader::SHOWN;

/// Every bit that `chmod(2)` knows.
const ALL: u32 = 0o7777;
/// Set-user-ID and set-group-ID, which a directory keeps unless they are mentioned, as with GNU's chmod.
const SET_IDS: u32 = 0o6000;

/// Changes to existing permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMode {
    written: String,
    changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    operator: u8,
    /// The bits of the classes that are named; 0 for all, limited by the umask.
    affected: u32,
    value: Value,
    /// The bits that were written out.
    mentioned: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Bits(u32),
    /// These bits, and execute if it is a directory or is already executable for anyone.
    BitsAndX(u32),
    /// The bits of the user, the group or others, by their mask.
    CopyOf(u32),
}

impl FileMode {
    /// Parses `0640`, `u+rwX,g-w` or `a=r`; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let written = text.trim();
        let octal = !written.is_empty() && written.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        let changes = if octal {
            let bits = u32::from_str_radix(written, 8).ok().filter(|bits| *bits <= ALL)?;
            let mentioned = if written.len() < 5 { (bits & 0o7000) | 0o777 } else { ALL };
            vec![Change { operator: b'=', affected: ALL, value: Value::Bits(bits), mentioned }]
        } else {
            let clauses = written.split(',').map(clause).collect::<Option<Vec<_>>>()?;
            clauses.into_iter().flatten().collect()
        };
        Some(Self { written: written.to_owned(), changes })
    }

    /// The new permissions of a file that has `old`; `umask` applies to clauses that name no class.
    pub fn applied(&self, old: u32, is_directory: bool, umask: u32) -> u32 {
        self.changes.iter().fold(old & ALL, |mode, change| change.applied(mode, is_directory, umask))
    }
}

impl Change {
    fn applied(&self, mode: u32, is_directory: bool, umask: u32) -> u32 {
        let kept = if is_directory { SET_IDS & !self.mentioned } else { 0 };
        let value = match self.value {
            Value::BitsAndX(bits) if is_directory || mode & 0o111 != 0 => bits | 0o111,
            Value::Bits(bits) | Value::BitsAndX(bits) => bits,
            Value::CopyOf(whose) => [0o444, 0o222, 0o111].into_iter().filter(|kind| mode & whose & kind != 0).sum(),
        };
        let value = value & if self.affected == 0 { !umask } else { self.affected } & !kept;
        match self.operator {
            b'+' => mode | value,
            b'-' => mode & !value,
            _ => mode & (if self.affected == 0 { 0 } else { !self.affected } | kept) & ALL | value,
        }
    }
}

/// One clause of a symbolic mode: the classes, then one or more changes.
fn clause(text: &str) -> Option<Vec<Change>> {
    let start = text.find(['+', '-', '='])?;
    let mut affected = 0;
    for who in text[..start].bytes() {
        affected |= match who {
            b'u' => 0o4700,
            b'g' => 0o2070,
            b'o' => 0o1007,
            b'a' => ALL,
            _ => return None,
        };
    }
    let mut rest = &text.as_bytes()[start..];
    let mut changes = Vec::new();
    while let Some((operator, after)) = rest.split_first() {
        let end = after.iter().position(|byte| b"+-=".contains(byte)).unwrap_or(after.len());
        let (letters, next) = after.split_at(end);
        rest = next;
        let value = match letters {
            b"u" => Value::CopyOf(0o700),
            b"g" => Value::CopyOf(0o070),
            b"o" => Value::CopyOf(0o007),
            _ => {
                let (mut bits, mut with_x) = (0, false);
                for letter in letters {
                    match letter {
                        b'r' => bits |= 0o444,
                        b'w' => bits |= 0o222,
                        b'x' => bits |= 0o111,
                        b'X' => with_x = true,
                        b's' => bits |= SET_IDS,
                        b't' => bits |= 0o1000,
                        _ => return None,
                    }
                }
                if with_x { Value::BitsAndX(bits) } else { Value::Bits(bits) }
            }
        };
        let bits = match value {
            Value::Bits(bits) | Value::BitsAndX(bits) | Value::CopyOf(bits) => bits,
        };
        let mentioned = if affected == 0 { bits } else { bits & affected };
        changes.push(Change { operator: *operator, affected, value, mentioned });
    }
    Some(changes)
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Visitor<'_> for FileMode {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self, E> {
        Err(E::custom("is a number; write it in octal and in quotes, as \"0640\""))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        Self::parse(text).ok_or_else(|| E::custom(format!("is `{SHOWN}`; expected a mode such as \"0640\" or \"u+rwX,g-w\"")))
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self { written: String::new(), changes: Vec::new() })
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for FileMode {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FileMode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = r"^\s*([0-7]{1,5}|[ugoa]*([-+=]([rwxXst]*|[ugo]))+(,[ugoa]*([-+=]([rwxXst]*|[ugo]))+)*)\s*$|\$";
        json_schema!({ "type": "string", "pattern": pattern })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn modes_are_read_or_refused() {
        for (text, old, directory, new) in [
            ("0640", 0o777, false, Some(0o640)),
            ("750", 0o2755, true, Some(0o2750)),
            ("00750", 0o2755, true, Some(0o750)),
            ("u+rwX,g-w", 0o464, false, Some(0o644)),
            ("u+rwX", 0o400, true, Some(0o700)),
            ("a=r,u+w", 0o777, false, Some(0o644)),
            ("g=u", 0o640, false, Some(0o660)),
            ("+x", 0o644, false, Some(0o755)),
            ("ug+s", 0o755, false, Some(0o6755)),
            ("+t", 0o777, true, Some(0o1777)),
            ("u=rw,go=", 0o777, false, Some(0o600)),
            ("", 0, false, None),
            ("0888", 0, false, None),
            ("10000", 0, false, None),
            ("rw", 0, false, None),
            ("u+q", 0, false, None),
            ("z+r", 0, false, None),
            ("u+r,", 0, false, None),
            ("g=uo", 0, false, None),
        ] {
            assert_eq!(FileMode::parse(text).map(|mode| mode.applied(old, directory, 0o022)), new, "{text}");
        }
    }

    fn written() -> impl Strategy<Value = String> {
        let change = ("[-+=]", prop_oneof!["[rwxXst]{0,3}", "[ugo]"]).prop_map(|(operator, letters)| operator + &letters);
        let clause = ("[ugoa]{0,2}", prop::collection::vec(change, 1..3)).prop_map(|(who, changes)| who + &changes.concat());
        prop_oneof![prop::collection::vec(clause, 1..3).prop_map(|clauses| clauses.join(",")), "[0-7]{3,4}", "0[0-7]{4}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn a_mode_does_what_chmod_does(written in written(), old in 0..=0o7777_u32, directory in any::<bool>()) {
            // The chmod of root is the reference; for other users the kernel removes bits.
            if nix::unistd::geteuid().is_root() {
                let path = std::env::temp_dir().join(format!("portcullis-mode-{}", std::process::id()));
                if directory { std::fs::create_dir(&path).unwrap() } else { std::fs::write(&path, "").unwrap() }
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(old)).unwrap();
                let run = Command::new("sh").args(["-c", "umask 027; chmod -- \"$0\" \"$1\" 2>/dev/null"]).args([&written]).arg(&path).status();
                let new = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
                if directory { std::fs::remove_dir(&path).unwrap() } else { std::fs::remove_file(&path).unwrap() }
                // It exits with 1 if the umask removed a bit, although it made the change.
                run.unwrap();
                let ours = FileMode::parse(&written).unwrap().applied(old, directory, 0o027);
                prop_assert_eq!(format!("{ours:o}"), format!("{new:o}"), "{} on {:o}", written, old);
            }
        }
    }
}
