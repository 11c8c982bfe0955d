//! What `wait` takes on the command line: its own words, and those of wait-for-it, whose place it can take in a script.

use std::ffi::OsString;
use std::net::Ipv6Addr;
use std::time::Duration;

use clap::Args;

use crate::command;
use crate::command::wait::Reporting;
use crate::plan::resolve::TlsFlags;

#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(super) struct WaitArgs {
    /// What to wait for: HOST:PORT, or URLs of these kinds: tcp http https postgres mysql redis rediss redis+unix redis+sentinel redis+cluster
    /// redis+ready amqp amqps mongodb kafka grpc grpcs unix file dns disk exec
    #[arg(required_unless_present = "host", value_name = "TARGET")]
    targets: Vec<String>,
    /// The host of a port to wait for, with --port, as wait-for-it has it
    #[arg(short = 'h', long, requires = "port", value_name = "HOST")]
    host: Option<String>,
    /// The port of that host
    #[arg(short = 'p', long, requires = "host", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// How long to wait at most, as 500ms or 5m, or a number of seconds; 0s asks each target once, 0 waits without an end
    #[arg(short, long, value_name = "DURATION", default_value = "60s", value_parser = limit)]
    timeout: Duration,
    /// How long one try may take, as 500ms or 2s
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    try_timeout: Duration,
    /// The pause between two tries, as 100ms [default: 10ms at first, growing to 250ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    interval: Option<Duration>,
    /// For how long each target has to be ready without a break, as 5s; looked at every 1s or --interval; a lost session is a break
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    stable: Duration,
    /// Stop waiting as soon as one target is ready
    #[arg(long)]
    any: bool,
    #[command(flatten)]
    report: ReportArgs,
    /// Taken as wait-for-it has it, and always so: COMMAND never runs when the targets are not ready in time
    #[arg(short, long)]
    strict: bool,
    /// Give up at once on a wrong password, user or database
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    tls: TlsArgs,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// What to become once the targets are ready: same process id, no shell [default: nothing, exit 0]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How the wait is reported.
#[derive(Args, Debug)]
struct ReportArgs {
    /// Print JSON in place of text: to standard output, with a COMMAND to standard error
    #[arg(long)]
    json: bool,
    /// Say nothing of how the wait goes
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
}

/// How targets that speak TLS by their scheme are spoken to.
#[derive(Args, Debug)]
struct TlsArgs {
    /// The authorities (PEM) to trust for targets that speak TLS by their scheme, or a server's own certificate [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// The certificate (PEM) to show to these targets [default: none]
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<String>,
    /// Its private key (PEM) [default: in the certificate's file]
    #[arg(long, value_name = "FILE")]
    client_key: Option<String>,
    /// Take any certificate of these targets: whoever is in between can read along
    #[arg(long)]
    insecure: bool,
}

impl WaitArgs {
    pub(super) fn request(self) -> command::wait::Options {
        let Self { timeout, try_timeout, interval, stable, any, fail_fast, command, .. } = self;
        let named = self.host.zip(self.port).map(|(host, port)| port_of(&host, port));
        let targets = named.into_iter().chain(self.targets.into_iter().map(target)).collect();
        let output = match self.report {
            ReportArgs { json: true, .. } => Reporting::Json,
            ReportArgs { quiet: true, .. } => Reporting::Nothing,
            ReportArgs { .. } => Reporting::Text,
        };
        let TlsArgs { ca, client_certificate, client_key, insecure } = self.tls;
        let tls = TlsFlags { ca, client_certificate, client_key, insecure };
        command::wait::Options { targets, timeout, try_timeout, interval, stable, any, output, fail_fast, tls, command }
    }
}

/// The command line; `wait -h` without a host asks for help, as `-h` does everywhere else.
pub(super) fn plain(arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments == ["wait", "-h"] { vec!["wait".into(), "--help".into()] } else { arguments }
}

/// A duration, or seconds as wait-for-it has them, where zero is no limit.
fn limit(text: &str) -> Result<Duration, humantime::DurationError> {
    match text.parse::<u64>() {
        Ok(0) => Ok(Duration::MAX),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    }
}

/// The target that HOST:PORT names; anything else is a URL.
fn target(word: String) -> String {
    let own = ["exec:", "process:"].iter().any(|scheme| word.starts_with(scheme));
    match word.rsplit_once(':') {
        // A port above 65535 is told as one.
        Some((host, port)) if !own && !host.is_empty() && !host.contains('/') && is_number(port) => format!("tcp://{word}"),
        _ => word,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn port_of(host: &str, port: u16) -> String {
    if host.parse::<Ipv6Addr>().is_ok() { format!("tcp://[{host}]:{port}") } else { format!("tcp://{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::super::Alone;
    use super::*;

    fn request(words: &[&str]) -> command::wait::Options {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Alone::<WaitArgs>::parse(&words).expect("they are understood").request()
    }

    #[test]
    fn scripts_written_for_wait_for_it_are_understood() {
        for (words, targets, timeout, quiet) in [
            (&["127.0.0.1:5432"][..], &["tcp://127.0.0.1:5432"][..], 60, false),
            (&["db:5432", "-t", "5", "--", "true"], &["tcp://db:5432"], 5, false),
            (&["--timeout=5", "-q", "-s", "db:5432"], &["tcp://db:5432"], 5, true),
            (&["-h", "db", "-p", "5432", "--strict", "-t", "30"], &["tcp://db:5432"], 30, false),
            (&["--host=::1", "--port=5432"], &["tcp://[::1]:5432"], 60, false),
            (&["[::1]:5432", "redis://c:1/0", "-h", "a", "-p", "1"], &["tcp://a:1", "tcp://[::1]:5432", "redis://c:1/0"], 60, false),
            (&["exec:80", "file:///x:1", "dns://db"], &["exec:80", "file:///x:1", "dns://db"], 60, false),
        ] {
            let request = request(words);
            assert_eq!(
                (request.targets, request.timeout, request.output == Reporting::Nothing),
                (targets.iter().map(|t| (*t).to_owned()).collect(), Duration::from_secs(timeout), quiet),
                "{words:?}"
            );
        }
        assert_eq!(request(&["db:1", "-t", "0"]).timeout, Duration::MAX);
        assert_eq!(request(&["db:1", "-t", "0s"]).timeout, Duration::ZERO);
        assert_eq!(request(&["db:1", "-t", "500ms"]).timeout, Duration::from_millis(500));
    }

    #[test]
    fn half_a_place_and_bare_numbers_elsewhere_are_refused() {
        for wrong in
            [&["-h", "db"][..], &["-p", "1"], &[], &["db:1", "--stable", "5"], &["db:1", "--interval", "1"], &["-h", "db", "-p", "0"]]
        {
            let words: Vec<OsString> = wrong.iter().map(OsString::from).collect();
            assert!(Alone::<WaitArgs>::parse(&words).is_none(), "{wrong:?}");
        }
        assert_eq!(plain(vec!["wait".into(), "-h".into()]), ["wait", "--help"]);
    }
}
