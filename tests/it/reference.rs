//! `docs/reference.md` describes every key as in the schema, and editors find that schema in `docs/`.

use crate::support::Portcullis;

#[path = "../../scripts/reference.rs"]
#[allow(dead_code)]
mod keys;

#[test]
fn the_page_of_all_keys_is_the_schemas() {
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md")).unwrap();
    let page = keys::page(&portcullis::plan::resolve::schema());
    assert!(written == page, "docs/reference.md is old: run scripts/reference");
    let keys = page.lines().filter(|line| line.starts_with("| `")).count();
    assert!(keys > 150, "{keys}");
    let silent: Vec<&str> = page.lines().filter(|line| line.starts_with("| `") && line.ends_with("|  |")).collect();
    assert!(silent.is_empty(), "no key is without a text: {silent:#?}");
}

#[test]
fn the_schema_for_editors_is_the_binarys() {
    let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/portcullis.schema.json")).unwrap();
    assert!(written == keys::document(&portcullis::plan::resolve::schema()), "docs/portcullis.schema.json is old: run scripts/reference");
    let printed = Portcullis::new().args(["schema"]).output().exits(0).stdout;
    assert!(printed == written, "`portcullis schema` prints another one");
}
