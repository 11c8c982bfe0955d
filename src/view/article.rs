//! The Dify article's `/health`: deep, one key a check with `healthy` or `unhealthy`, 200 or 503.

use schemars::JsonSchema;
use serde::Serialize;

use super::members::Members;
use super::{JSON, Response};
use crate::state::snapshot::{Assessment, Status};

/// The document: the verdict, every check that counts, portcullis' version.
#[derive(Serialize, JsonSchema)]
pub(super) struct Article<'a> {
    status: Health,
    #[serde(flatten)]
    checks: Members<'a, Health>,
    version: &'a str,
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "lowercase")]
enum Health {
    Healthy,
    Unhealthy,
}

/// The whole answer.
pub(super) fn render(assessment: &Assessment<'_>) -> Response {
    let word = |holds| if holds { Health::Healthy } else { Health::Unhealthy };
    let up = assessment.status() == Status::Up;
    let checks = Members(assessment.counted().map(|assessed| (assessed.check.name.as_str(), word(assessed.state.passes()))).collect());
    let document = Article { status: word(up), checks, version: assessment.snapshot.service.version };
    Response::document(if up { 200 } else { 503 }, JSON, &document)
}
