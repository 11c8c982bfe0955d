//! dify-status' report on the endpoints of one check: its vocabulary, without its guesses.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::outcome::{Class, Failure, Part};
use crate::state::check::Record;
use crate::view::time;

/// The report on a run that asked several endpoints: one client, which is the check, and one API an endpoint.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DifyReport")]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    /// Counted over clients: of one client that is not normal, none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    overall_status: Option<&'static str>,
    total_apis: usize,
    healthy_apis: usize,
    unhealthy_apis: usize,
    client_summary: BTreeMap<&'a str, &'static str>,
    #[serde(rename = "reportTime")]
    at: String,
    client_reports: [ClientReport<'a>; 1],
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
struct ClientReport<'a> {
    client_name: &'a str,
    overall_status: &'static str,
    total_apis: usize,
    normal_apis: usize,
    error_apis: usize,
    report_time: String,
    status_summary: BTreeMap<&'static str, usize>,
    api_statuses: Vec<Api<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
#[serde(rename_all = "camelCase")]
struct Api<'a> {
    method_name: &'a str,
    endpoint: &'a str,
    status: &'static str,
    response_time_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status_code: Option<u16>,
    check_time: String,
}

impl<'a> Report<'a> {
    /// The report of the check of this name on one of its runs.
    pub(super) fn new(check: &'a str, record: &'a Record) -> Self {
        let parts = &record.parts;
        let all = parts.len();
        let normal = parts.iter().filter(|part| part.result.is_ok()).count();
        let client = match normal {
            normal if normal == all => "normal",
            0 => "server_error",
            _ => "client_error",
        };
        // A local time without a zone, as its readers expect; the container's zone is UTC.
        let at: String = time::iso(record.at).chars().take("2026-01-05T10:00:00".len()).collect();
        let mut summary = BTreeMap::new();
        for part in parts {
            *summary.entry(code(part)).or_default() += 1;
        }
        Self {
            overall_status: (client != "normal").then_some("server_error"),
            total_apis: all,
            healthy_apis: normal,
            unhealthy_apis: all - normal,
            client_summary: [(check, client)].into(),
            at: at.clone(),
            client_reports: [ClientReport {
                client_name: check,
                overall_status: client,
                total_apis: all,
                normal_apis: normal,
                error_apis: all - normal,
                report_time: at.clone(),
                status_summary: summary,
                api_statuses: parts.iter().map(|part| Api::new(part, &at)).collect(),
            }],
        }
    }
}

impl<'a> Api<'a> {
    fn new(part: &'a Part, at: &str) -> Self {
        let failure = part.result.as_ref().err();
        let words = |failure: &'a Failure| match failure.private.as_str() {
            "" => failure.class.public(),
            words => words,
        };
        Self {
            method_name: &part.name,
            endpoint: &part.target,
            status: code(part),
            response_time_ms: part.elapsed.as_millis() as u64,
            error_message: failure.map(words),
            http_status_code: failure.map_or(Some(200), |failure| failure.status),
            check_time: at.to_owned(),
        }
    }
}

/// dify-status' word for what an endpoint yielded.
fn code(part: &Part) -> &'static str {
    let Err(Failure { class, status, .. }) = &part.result else { return "normal" };
    match (class, status) {
        (_, Some(404)) => "not_found_404",
        (_, Some(401)) | (Class::Auth, None) => "unauthorized_401",
        (_, Some(400..500)) => "client_error",
        (_, Some(500..600)) => "server_error",
        (Class::Dns | Class::Refused | Class::Unreachable, _) => "network_error",
        (Class::Timeout, _) => "timeout",
        _ => "unknown_error",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Moment;
    use crate::outcome::{Cause, Private};

    fn record(results: Vec<Result<(), Failure>>) -> Record {
        let part = |(index, result)| Part {
            name: format!("api{index}"),
            target: format!("http://dify:5001/{index}"),
            result,
            elapsed: Duration::from_millis(41),
        };
        let parts = results.into_iter().enumerate().map(part).collect();
        let at = Moment { wall: Duration::from_secs(1_767_607_200), ..Moment::default() };
        Record { at, class: Class::Ok, cause: Cause::Plain, private: Private::default(), elapsed: Duration::ZERO, parts }
    }

    #[test]
    fn the_sample_of_one_that_fails() {
        let failed = Failure::new(Class::Timeout, "I/O error");
        assert_eq!(
            serde_json::to_string(&Report::new("dify", &record(vec![Ok(()), Err(failed)]))).unwrap(),
            r#"{"overallStatus":"server_error","totalApis":2,"healthyApis":1,"unhealthyApis":1,"clientSummary":{"dify":"client_error"},"reportTime":"2026-01-05T10:00:00","clientReports":[{"clientName":"dify","overallStatus":"client_error","totalApis":2,"normalApis":1,"errorApis":1,"reportTime":"2026-01-05T10:00:00","statusSummary":{"normal":1,"timeout":1},"apiStatuses":[{"methodName":"api0","endpoint":"http://dify:5001/0","status":"normal","responseTimeMs":41,"httpStatusCode":200,"checkTime":"2026-01-05T10:00:00"},{"methodName":"api1","endpoint":"http://dify:5001/1","status":"timeout","responseTimeMs":41,"errorMessage":"I/O error","checkTime":"2026-01-05T10:00:00"}]}]}"#
        );
    }

    #[test]
    fn each_failure_has_its_code() {
        for (failure, word) in [
            (Failure::answered(404), "not_found_404"),
            (Failure::answered(401), "unauthorized_401"),
            (Failure::answered(403), "client_error"),
            (Failure::answered(503), "server_error"),
            (Failure::answered(302), "unknown_error"),
            (Failure::new(Class::Refused, ""), "network_error"),
            (Failure::new(Class::Dns, ""), "network_error"),
            (Failure::new(Class::Timeout, ""), "timeout"),
            (Failure::new(Class::Tls, ""), "unknown_error"),
            (Failure::new(Class::Auth, ""), "unauthorized_401"),
        ] {
            let record = record(vec![Err(failure)]);
            assert_eq!(code(&record.parts[0]), word);
            assert_eq!(Report::new("dify", &record).client_summary["dify"], "server_error");
        }
        let record = record(vec![Ok(()), Ok(())]);
        let well = Report::new("dify", &record);
        assert!(well.overall_status.is_none() && well.client_summary["dify"] == "normal");
    }
}
