//! The report on the endpoints of one check in the form of dify-status: its vocabulary and its sums.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::outcome::{Detail, EndpointResult, ErrorKind, Failure};
use crate::state::check::Record;
use crate::view::time;

/// The report on a run with several endpoints: one API per endpoint, of the clients of the run, else of one client, which is the check.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DifyReport")]
#[serde(rename_all = "camelCase")]
pub(super) struct Report<'a> {
    /// Counted over clients, not over APIs: a client that is not normal counts as failed. Omitted if all are normal.
    #[serde(skip_serializing_if = "Option::is_none")]
    overall_status: Option<&'static str>,
    total_apis: usize,
    healthy_apis: usize,
    unhealthy_apis: usize,
    client_summary: BTreeMap<&'a str, &'static str>,
    #[serde(rename = "reportTime")]
    at: String,
    client_reports: Vec<ClientReport<'a>>,
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
        // A local time without a zone, as its readers expect; the container's zone is UTC.
        let at: String = time::iso(record.at).chars().take("2026-01-05T10:00:00".len()).collect();
        let of_clients = record.parts.chunk_by(|one, other| one.client == other.client);
        let client_reports: Vec<_> = of_clients.map(|parts| ClientReport::new(check, parts, &at)).collect();
        let (all, normal) = (record.parts.len(), client_reports.iter().map(|client| client.normal_apis).sum());
        let mut client_summary = BTreeMap::new();
        for client in &client_reports {
            let status = client_summary.entry(client.client_name).or_insert(client.overall_status);
            *status = worse(status, client.overall_status);
        }
        let normal_clients = client_reports.iter().filter(|client| client.overall_status == "normal").count();
        let overall_status = match normal_clients {
            normal if normal == client_reports.len() => None,
            0 => Some("server_error"),
            _ => Some("client_error"),
        };
        Self { overall_status, total_apis: all, healthy_apis: normal, unhealthy_apis: all - normal, client_summary, at, client_reports }
    }
}

impl<'a> ClientReport<'a> {
    /// The report on one client, to which these parts belong.
    fn new(check: &'a str, parts: &'a [EndpointResult], at: &str) -> Self {
        let mut status_summary: BTreeMap<&str, usize> = BTreeMap::new();
        for part in parts {
            *status_summary.entry(code(part)).or_default() += 1;
        }
        let (all, normal) = (parts.len(), status_summary.get("normal").copied().unwrap_or_default());
        let of_all = |word: &&str| status_summary.get(word) == Some(&all);
        let overall_status = match normal {
            normal if normal == all => "normal",
            0 => ["skipped", "not_configured"].into_iter().find(of_all).unwrap_or("server_error"),
            _ => "client_error",
        };
        Self {
            client_name: parts.first().and_then(|part| part.client).map_or(check, |client| client.name),
            overall_status,
            total_apis: all,
            normal_apis: normal,
            error_apis: all - normal,
            report_time: at.to_owned(),
            status_summary,
            api_statuses: parts.iter().map(|part| Api::new(part, at)).collect(),
        }
    }
}

/// The worse result of two clients with one name, in dify-status' order.
fn worse(one: &'static str, other: &'static str) -> &'static str {
    const WORST_FIRST: [&str; 5] = ["server_error", "client_error", "not_configured", "normal", "skipped"];
    WORST_FIRST.into_iter().find(|word| [one, other].contains(word)).unwrap_or(one)
}

impl<'a> Api<'a> {
    fn new(part: &'a EndpointResult, at: &str) -> Self {
        let failure = part.result.as_ref().err();
        let words = |failure: &'a Failure| match failure.private.as_str() {
            "" => failure.kind.public(),
            words => words,
        };
        Self {
            method_name: &part.name,
            endpoint: &part.target,
            status: code(part),
            response_time_ms: part.elapsed.as_millis() as u64,
            error_message: failure.map(words),
            http_status_code: part.status,
            check_time: at.to_owned(),
        }
    }
}

/// The result of an endpoint in dify-status' vocabulary.
fn code(part: &EndpointResult) -> &'static str {
    let Err(Failure { kind, detail, .. }) = &part.result else { return "normal" };
    match (kind, part.status) {
        _ if *detail == Detail::NotConfigured => "not_configured",
        _ if *detail == Detail::Skipped => "skipped",
        (_, Some(404)) => "not_found_404",
        (_, Some(401)) | (ErrorKind::Auth, None) => "unauthorized_401",
        (_, Some(400..500)) => "client_error",
        (_, Some(500..600)) => "server_error",
        (ErrorKind::Dns | ErrorKind::Refused | ErrorKind::Unreachable, _) => "network_error",
        (ErrorKind::Timeout, _) => "timeout",
        _ => "unknown_error",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Moment;
    use crate::outcome::{EndpointClient, Private};

    fn record(results: Vec<Result<(), Failure>>) -> Record {
        let part = |(index, result): (usize, Result<(), Failure>)| EndpointResult {
            name: format!("api{index}"),
            target: format!("http://dify:5001/{index}"),
            client: None,
            status: result.as_ref().map_or_else(|failure| failure.status, |()| Some(200)),
            result,
            elapsed: Duration::from_millis(41),
        };
        let parts = results.into_iter().enumerate().map(part).collect();
        let at = Moment { wall: Duration::from_secs(1_767_607_200), ..Moment::default() };
        Record { at, kind: ErrorKind::Ok, detail: Detail::Plain, private: Private::default(), elapsed: Duration::ZERO, parts, volume: None }
    }

    #[test]
    fn the_sample_of_one_that_fails() {
        let failed = Failure::new(ErrorKind::Timeout, "I/O error");
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
            (Failure::new(ErrorKind::Refused, ""), "network_error"),
            (Failure::new(ErrorKind::Dns, ""), "network_error"),
            (Failure::new(ErrorKind::Timeout, ""), "timeout"),
            (Failure::new(ErrorKind::Tls, ""), "unknown_error"),
            (Failure::new(ErrorKind::Auth, ""), "unauthorized_401"),
            (Failure::new(ErrorKind::Missing, "").because(Detail::NotConfigured), "not_configured"),
            (Failure::new(ErrorKind::Missing, "").because(Detail::Skipped), "skipped"),
        ] {
            let record = record(vec![Err(failure)]);
            assert_eq!(code(&record.parts[0]), word);
            let client = if ["skipped", "not_configured"].contains(&word) { word } else { "server_error" };
            assert_eq!(Report::new("dify", &record).client_summary["dify"], client);
        }
        let record = record(vec![Ok(()), Ok(())]);
        let well = Report::new("dify", &record);
        assert!(well.overall_status.is_none() && well.client_summary["dify"] == "normal");
    }

    /// A run over clients, each with its number and the results of its APIs: `o` ok, `s` skipped, `n` not configured, `e` failed.
    fn of_clients(clients: &[(&'static str, usize, &str)]) -> Record {
        let because = |detail| Err(Failure::new(ErrorKind::Missing, "").because(detail));
        let result = |letter| match letter {
            'o' => Ok(()),
            's' => because(Detail::Skipped),
            'n' => because(Detail::NotConfigured),
            _ => Err(Failure::answered(500)),
        };
        let whole = record(clients.iter().flat_map(|(_, _, letters)| letters.chars()).map(result).collect());
        let owners = clients.iter().flat_map(|(name, number, letters)| letters.chars().map(|_| EndpointClient { name, number: *number }));
        let parts = whole.parts.into_iter().zip(owners).map(|(part, client)| EndpointResult { client: Some(client), ..part }).collect();
        Record { parts, ..whole }
    }

    #[test]
    fn a_client_is_summed_up_over_its_apis_and_the_whole_over_its_clients() {
        for (clients, overall, summary) in [
            (vec![("A", 0, "oo"), ("B", 0, "o")], None, "A=normal B=normal"),
            (vec![("A", 0, "oo"), ("B", 0, "e")], Some("client_error"), "A=normal B=server_error"),
            (vec![("A", 0, "oe"), ("B", 0, "e")], Some("server_error"), "A=client_error B=server_error"),
            (vec![("A", 0, "ooss"), ("B", 0, "n")], Some("server_error"), "A=client_error B=not_configured"),
            (vec![("A", 0, "ss"), ("B", 0, "o")], Some("client_error"), "A=skipped B=normal"),
            (vec![("A", 0, "nns")], Some("server_error"), "A=server_error"),
            // Two keys of one client: the worse one is in the summary, and each has a report.
            (vec![("A", 0, "o"), ("A", 1, "oe"), ("A", 2, "o")], Some("client_error"), "A=client_error"),
            (vec![("A", 0, "o"), ("A", 1, "e")], Some("client_error"), "A=server_error"),
            (vec![("A", 0, "o"), ("A", 1, "n")], Some("client_error"), "A=not_configured"),
            (vec![], None, ""),
        ] {
            let record = of_clients(&clients);
            let report = Report::new("dify", &record);
            let summary_words: Vec<String> = report.client_summary.iter().map(|(name, status)| format!("{name}={status}")).collect();
            assert_eq!((report.overall_status, summary_words.join(" ").as_str()), (overall, summary), "{clients:?}");
            let (all, well): (String, usize) =
                (clients.iter().map(|client| client.2).collect(), clients.iter().map(|client| client.2.matches('o').count()).sum());
            assert_eq!((report.total_apis, report.healthy_apis, report.unhealthy_apis), (all.len(), well, all.len() - well));
            assert_eq!(report.client_reports.len(), clients.len());
            for (client, (name, _, letters)) in report.client_reports.iter().zip(&clients) {
                assert_eq!((client.client_name, client.total_apis), (*name, letters.len()));
                assert_eq!(client.normal_apis + client.error_apis, letters.len());
                assert_eq!(client.status_summary.values().sum::<usize>(), letters.len());
            }
        }
    }
}
