//! Removes the spaces between the tokens of the schema that the binary prints: two fifths of its size.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const SCHEMA: &str = "docs/portcullis.schema.json";

#[allow(clippy::disallowed_methods, reason = "cargo says by its environment where a build script writes")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no folder to write to")?);
    Ok(fs::write(out.join("schema.json"), packed(&fs::read_to_string(SCHEMA)?))?)
}

/// JSON without the spaces outside of its strings.
fn packed(text: &str) -> String {
    let (mut in_string, mut is_escaped) = (false, false);
    let stays = |c: &char| {
        let stays = in_string || !c.is_ascii_whitespace();
        in_string ^= *c == '"' && !is_escaped;
        is_escaped = in_string && *c == '\\' && !is_escaped;
        stays
    };
    text.chars().filter(stays).collect()
}
