//! RAGFlow's `/healthz`: one key per configured dependency with `ok` or `nok`, the verdict, and the reason of each failure.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::members::Members;
use super::{JSON, Response, details};
use crate::state::snapshot::{Assessment, Status};

/// The document. Its keys have the documented order.
#[derive(Serialize, JsonSchema)]
pub(super) struct Ragflow<'a> {
    #[serde(flatten)]
    checks: Members<'a, Word>,
    status: Word,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1))]
    meta: Option<Members<'a, Failing<'a>>>,
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "lowercase")]
enum Word {
    Ok,
    Nok,
}

/// Why a check fails.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct Failing<'a> {
    /// The duration of its last run in milliseconds; for the run itself, the time since its start.
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]$"))]
    elapsed: String,
    error: &'a str,
}

impl<'a> Failing<'a> {
    fn new(elapsed: Duration, error: &'a str) -> Self {
        Self { elapsed: format!("{:.1}", elapsed.as_secs_f64() * 1000.0), error }
    }
}

/// The deep response: 200 if everything that counts is up, else 500.
pub(super) fn render(assessment: &Assessment<'_>, authorized: bool) -> Response {
    let snapshot = assessment.snapshot;
    let members: Vec<_> = assessment
        .named()
        .into_iter()
        .map(|item| {
            let failing = (!item.passes).then(|| match item.check {
                Some(check) => {
                    let elapsed = check.last().map(|record| record.elapsed).unwrap_or_default();
                    Failing::new(elapsed, details(check, item.kind, authorized))
                }
                None => {
                    let why = if item.name == "startup" { snapshot.phase.word() } else { item.kind.public() };
                    Failing::new(assessment.look.now.since(snapshot.started_at), why)
                }
            });
            (item.name, failing)
        })
        .collect();
    let checks = Members(members.iter().map(|(name, failing)| (*name, if failing.is_some() { Word::Nok } else { Word::Ok })).collect());
    let meta: Vec<_> = members.into_iter().filter_map(|(name, failing)| Some((name, failing?))).collect();
    let meta = (!meta.is_empty()).then_some(Members(meta));
    let (code, status) = if assessment.status() == Status::Up { (200, Word::Ok) } else { (500, Word::Nok) };
    Response::document(code, JSON, &Ragflow { checks, status, meta })
}
