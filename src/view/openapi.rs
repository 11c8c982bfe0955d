//! The OpenAPI 3.1 document of the health answers, for `portcullis schema --openapi` and for who tests against it.

/// The document; all views are in it, also those that a configuration switches off. `tests::openapi` makes it of the views' own structs.
pub const DOCUMENT: &str = include_str!("openapi/health.json");
