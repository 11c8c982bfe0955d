//! dify-status' report on the endpoints of one check: its vocabulary, without its guesses.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::outcome::{Class, Failure, Part};
use crate::state::check::Record;
use crate::view::time;

/// The report on a run that asked several endpoints: one client, which is the check, and one API an endpoint.
pub(super) fn report(check: &str, record: &Record) -> Map<String, Value> {
    let parts = &record.parts;
    let normal = parts.iter().filter(|part| part.result.is_ok()).count();
    let client = match normal {
        all if all == parts.len() => "normal",
        0 => "server_error",
        _ => "client_error",
    };
    // A local time without a zone, as its readers expect; the container's zone is UTC.
    let at: String = time::iso(record.at).chars().take("2026-01-05T10:00:00".len()).collect();
    let mut summary: BTreeMap<&str, usize> = BTreeMap::new();
    for part in parts {
        *summary.entry(code(part)).or_default() += 1;
    }
    let mut told = Map::new();
    if client != "normal" {
        // Counted over clients: of one client that is not normal, none is.
        told.insert("overallStatus".to_owned(), Value::from("server_error"));
    }
    told.insert("totalApis".to_owned(), Value::from(parts.len()));
    told.insert("healthyApis".to_owned(), Value::from(normal));
    told.insert("unhealthyApis".to_owned(), Value::from(parts.len() - normal));
    told.insert("clientSummary".to_owned(), json!({ check: client }));
    told.insert("reportTime".to_owned(), Value::from(at.as_str()));
    let apis: Vec<Value> = parts.iter().map(|part| api(part, &at)).collect();
    let report = json!({
        "clientName": check,
        "overallStatus": client,
        "totalApis": parts.len(),
        "normalApis": normal,
        "errorApis": parts.len() - normal,
        "reportTime": at,
        "statusSummary": summary,
        "apiStatuses": apis,
    });
    told.insert("clientReports".to_owned(), json!([report]));
    told
}

fn api(part: &Part, at: &str) -> Value {
    let mut told = Map::new();
    told.insert("methodName".to_owned(), Value::from(part.name.as_str()));
    told.insert("endpoint".to_owned(), Value::from(part.target.as_str()));
    told.insert("status".to_owned(), Value::from(code(part)));
    told.insert("responseTimeMs".to_owned(), Value::from(part.elapsed.as_millis() as u64));
    let status = match &part.result {
        Ok(()) => Some(200),
        Err(failure) => {
            let words = failure.private.as_str();
            told.insert("errorMessage".to_owned(), Value::from(if words.is_empty() { failure.class.public() } else { words }));
            failure.status
        }
    };
    if let Some(status) = status {
        told.insert("httpStatusCode".to_owned(), Value::from(status));
    }
    told.insert("checkTime".to_owned(), Value::from(at));
    Value::Object(told)
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
        let told = Value::Object(report("dify", &record(vec![Ok(()), Err(failed)])));
        assert_eq!(
            told.to_string(),
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
            assert_eq!(report("dify", &record)["clientSummary"]["dify"], "server_error");
        }
        let well = report("dify", &record(vec![Ok(()), Ok(())]));
        assert!(!well.contains_key("overallStatus") && well["clientSummary"]["dify"] == "normal");
    }
}
