//! The health answers as real clients read them: Prometheus, its parsers, blackbox exporter, check_http, wait-on, schemathesis.

use crate::support::child::polite;
use crate::support::http::ask;
use crate::support::process::Tool;
use crate::support::{Dir, Http, Portcullis, Running, eventually, free_port, secs, slow, variable};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Where `scripts/test --all` has put what is not Debian's.
fn installed(path: &str) -> PathBuf {
    PathBuf::from(variable("PORTCULLIS_CLIENTS").expect("scripts/test --all says where the clients are")).join(path)
}

/// A run with one check that counts for readiness and that the test can let fail.
fn run() -> (Running, Http) {
    let http = Http::answering(200, "");
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let check = "affects = \"readiness\"\ninterval = \"100ms\"\nfailure_threshold = 2";
    let toml = format!(
        "service = \"api\"\nmode = \"api\"\n[checks.web]\nurl = \"http://127.0.0.1:{}/\"\n{check}\n[modes.api]\ncommand = [\"{}\"]\n",
        http.port,
        child.display()
    );
    let run = run.config(&toml).start();
    run.until_status("/healthz", 200, secs(30));
    (run, http)
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let done = output(command);
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn promtool_and_both_parsers_read_the_metrics() {
    if !slow("promtool_and_both_parsers_read_the_metrics") {
        return;
    }
    let (run, http) = run();
    http.set(500, "");
    run.until_status("/readyz", 500, secs(20));
    let text = run.get("/metrics");
    let open = run.ask("GET", "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
    let dir = Dir::new();
    let (text_file, open_file) = (dir.file("text", &text.body), dir.file("open", &open.body));
    // promtool says nothing against nothing, so what it is given is counted first.
    assert!(text.body.lines().filter(|line| !line.starts_with('#')).count() > 40, "{}", text.body);
    let shell = format!("promtool check metrics < {}", text_file.display());
    assert_eq!(succeeds(Command::new("sh").args(["-c", &shell])).trim(), "");
    let script = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as text\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics\n\
        a = list(text(open(sys.argv[1]).read())); b = list(open_metrics(open(sys.argv[2]).read()))\n\
        names = lambda families: sorted({f.name.removesuffix('_info') for f in families if f.samples})\n\
        assert len(a) > 20 and names(a) == names(b), (names(a), names(b))\n\
        seen = [(s.name, tuple(sorted(s.labels.items()))) for f in b for s in f.samples]\n\
        assert len(seen) == len(set(seen)), 'a series stands twice'\n\
        kinds = {f.name: f.type for f in b}\n\
        assert kinds['portcullis_http_request_duration_seconds'] == 'histogram', kinds\n\
        assert kinds['portcullis_build'] == 'info' and kinds['portcullis_check_runs'] == 'counter', kinds\n";
    succeeds(Command::new(installed("venv/bin/python")).args(["-c", script]).arg(text_file).arg(open_file));
}

#[test]
fn prometheus_scrapes_it() {
    if !slow("prometheus_scrapes_it") {
        return;
    }
    let (run, http) = run();
    let (dir, port) = (Dir::new(), free_port());
    let config = format!(
        "global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nscrape_configs:\n- job_name: api\n  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        run.port
    );
    let file = dir.file("prometheus.yml", &config);
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _prometheus = Tool::start(command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display())));
    let value = |query: &str| {
        let answer = ask(port, "GET", &format!("/api/v1/query?query={query}"), "").ok().filter(|answer| answer.code == 200)?;
        Some(answer.json()["data"]["result"][0]["value"][1].as_str()?.to_owned())
    };
    let becomes = |query: &str, wanted: &str| {
        eventually(&format!("{query} is {wanted}"), secs(60), || value(query).filter(|value| value == wanted).map(drop));
    };
    becomes("up", "1");
    becomes("portcullis_ready", "1");
    http.set(500, "");
    becomes("portcullis_ready", "0");
    becomes("portcullis_check_state%7Bcheck=%22web%22,state=%22down%22%7D", "1");
    let metadata = ask(port, "GET", "/api/v1/metadata?metric=portcullis_http_request_duration_seconds", "").unwrap().json();
    assert_eq!(metadata["data"]["portcullis_http_request_duration_seconds"][0]["type"], "histogram", "{metadata}");
}

#[test]
fn blackbox_exporter_probes_it() {
    if !slow("blackbox_exporter_probes_it") {
        return;
    }
    let (run, http) = run();
    let (dir, port) = (Dir::new(), free_port());
    let file = dir.file("blackbox.yml", "modules:\n  http_2xx: {prober: http, timeout: 5s, http: {preferred_ip_protocol: ip4}}\n");
    let mut command = Command::new("prometheus-blackbox-exporter");
    command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let _exporter = Tool::start(&mut command);
    let probes = |path: &str, wanted: u8| {
        let target = format!("/probe?module=http_2xx&target=http://127.0.0.1:{}{path}", run.port);
        eventually(&format!("{path} probes as {wanted}"), secs(30), || {
            let reported = ask(port, "GET", &target, "").ok()?.body;
            reported.contains(&format!("probe_success {wanted}\n")).then_some(())
        });
    };
    probes("/readyz", 1);
    probes("/", 1);
    http.set(500, "");
    probes("/readyz", 0);
    probes("/actuator/health", 0);
    probes("/livez", 1);
    probes("/status", 1);
}

#[test]
fn nagios_and_wait_on_distinguish_ready_from_not_ready() {
    if !slow("nagios_and_wait_on_distinguish_ready_from_not_ready") {
        return;
    }
    let (run, http) = run();
    let port = run.port.to_string();
    let nagios = |path: &str, more: &[&str]| {
        let mut command = Command::new("/usr/lib/nagios/plugins/check_http");
        output(command.args(["-H", "127.0.0.1", "-p", &port, "-u", path]).args(more)).status.code()
    };
    let waits = || {
        let url = format!("http://127.0.0.1:{port}/readyz");
        output(Command::new(installed("node/node_modules/.bin/wait-on")).args(["-t", "3000", "-i", "100", &url])).status.code()
    };
    assert_eq!((nagios("/readyz", &[]), waits()), (Some(0), Some(0)));
    assert_eq!(nagios("/actuator/health", &["-s", "\"status\":\"UP\""]), Some(0));
    http.set(500, "");
    run.until_status("/readyz", 500, secs(20));
    assert_eq!((nagios("/readyz", &[]), waits()), (Some(2), Some(1)));
    assert_eq!(nagios("/actuator/health", &["-s", "\"status\":\"UP\""]), Some(2));
}

#[test]
fn schemathesis_finds_the_answers_as_the_document_says() {
    if !slow("schemathesis_finds_the_answers_as_the_document_says") {
        return;
    }
    let (run, _http) = run();
    let document = run.beside(["schema", "--openapi"]).stdout;
    let dir = Dir::new();
    let file = dir.file("openapi.json", &document);
    let mut command = Command::new(installed("venv/bin/schemathesis"));
    command.arg("run").arg(file).args(["--url", &format!("http://127.0.0.1:{}", run.port), "--max-examples", "15", "--seed", "1"]);
    // 500 and 503 are the purpose of these answers, and an unknown key of the query is ignored.
    command.args(["--exclude-checks", "not_a_server_error,negative_data_rejection", "--phases", "examples,coverage,fuzzing", "--no-color"]);
    let reported = succeeds(command.env("PYTHONUTF8", "1").current_dir(dir.path()));
    assert!(reported.contains("fuzzing") || reported.contains("Fuzzing"), "{reported}");
    assert_eq!(run.get("/livez").code, 200);
}
