//! Keys and table names in TOML syntax: a name that contains a `.` stays one name.

/// A key, in quotes if TOML requires them.
pub fn written_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare { key.to_owned() } else { quoted(key) }
}

/// A basic string of TOML 1.0; all escapes of JSON are valid in it.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The name of the table or value `key` below the table `path`, for example `checks."db.main"`.
pub fn dotted(path: &str, key: &str) -> String {
    let key = written_key(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::node::{Value, parse_document};
    use crate::config::origin::Origin;

    proptest! {
        #[test]
        fn any_two_names_are_read_back_from_the_header_of_their_table(outer in "\\PC*|[\0-\x7f]{0,3}", inner in "[a-z.\"']{0,5}") {
            let header = dotted(&dotted("", &outer), &inner);
            let (table, problems) = parse_document(&format!("[{header}]\n"), &|_, _| Origin::Flag("x".into()));
            prop_assert_eq!(problems, []);
            let Some(Value::Table(below)) = table.get(&outer).map(|entry| &entry.node.value) else { panic!("{header}") };
            prop_assert!(below.get(&inner).is_some(), "{header}");
        }
    }
}
