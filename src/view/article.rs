//! The Dify article's `/health`: deep, exactly the checks with `healthy` or `unhealthy`, `status` and `version`; 200 or 503.

use schemars::JsonSchema;
use serde::Serialize;

use super::members::Members;
use super::{JSON, Response};
use crate::state::snapshot::{Assessment, Status};

/// The document: the verdict, the configured checks (others are added while they fail), the application's version.
#[derive(Serialize, JsonSchema)]
pub(super) struct Article<'a> {
    status: Health,
    #[serde(flatten)]
    checks: Members<'a, Health>,
    /// From the configuration; `null` without one.
    version: Option<&'a str>,
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "lowercase")]
enum Health {
    Healthy,
    Unhealthy,
}

/// The response.
pub(super) fn render(assessment: &Assessment<'_>) -> Response {
    let word = |holds| if holds { Health::Healthy } else { Health::Unhealthy };
    let up = assessment.status() == Status::Up;
    let named = assessment.named().into_iter();
    let checks = Members(named.filter(|item| item.check.is_some()).map(|item| (item.name, word(item.passes))).collect());
    let document = Article { status: word(up), checks, version: assessment.snapshot.service.version.as_deref() };
    Response::document(if up { 200 } else { 503 }, JSON, &document)
}
