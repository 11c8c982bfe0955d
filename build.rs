//! Compresses the two JSON documents that `portcullis schema` prints (a quarter of a megabyte as they are, 28 kB in the binary), and gives the
//! linker the order of the functions.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use miniz_oxide::deflate::compress_to_vec;

/// The name for the binary, and the file.
const DOCUMENTS: [(&str, &str); 2] = [("schema", "docs/portcullis.schema.json"), ("openapi", "src/view/openapi/health.json")];

/// The functions that are used most, for the linker (`ld(1)`, INSERT). Linked side by side they take a third of the pages.
const LAYOUT: &str = "scripts/layout.ld";

/// The most that the format allows; it takes a fraction of a second.
const LEVEL: u8 = 10;

#[allow(clippy::disallowed_methods, reason = "cargo says by its environment where a build script writes")]
fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no folder to write to")?);
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo names no folder to read from")?);
    for (name, file) in DOCUMENTS {
        println!("cargo::rerun-if-changed={file}");
        fs::write(out.join(name), compress_to_vec(&fs::read(file)?, LEVEL))?;
    }
    println!("cargo::rerun-if-changed={LAYOUT}");
    // The shipping form alone: other targets have other linkers.
    if env::var_os("CARGO_CFG_TARGET_ENV").is_some_and(|libc| libc == "musl") {
        println!("cargo::rustc-link-arg-bin=portcullis=-Wl,-T,{}", root.join(LAYOUT).display());
    }
    Ok(())
}
