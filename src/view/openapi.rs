//! The OpenAPI 3.1 document of the health responses, for `portcullis schema --openapi` and for tests against it.

/// The document; it has all views, also those that a configuration switches off. `tests::openapi` generates it from the views' structs.
pub const DOCUMENT: &str = include_str!("openapi/health.json");
