//! The command line.

mod dispatch;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::command;
use crate::command::order::ClientOrder;
use crate::config::layers::Override;
use crate::plan::resolve::RunOptions;
pub use dispatch::{description, main};
use wait::WaitArgs;

/// The entrypoint of a container.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    about = "The entrypoint of a container: waits for the dependencies, migrates the database under a lock, starts the\n\
             process, supervises it as PID 1, and reports its health",
    after_help = "Example, in a Dockerfile:\n  ENTRYPOINT [\"/portcullis\", \"run\", \"--\"]\n  CMD [\"gunicorn\", \"app:app\"]\n  \
                  HEALTHCHECK CMD [\"/portcullis\", \"healthcheck\"]",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Wait, migrate, start the process and supervise it (the default)
    #[command(after_help = "Examples:\n  portcullis run -- gunicorn --bind 0.0.0.0:5001 app:app\n  \
                            MODE=worker portcullis run -c /etc/portcullis.toml")]
    Run(RunArgs),
    /// Wait until targets are ready, then execute COMMAND; exit 69 if they are not ready in time
    #[command(after_help = "Examples:\n  portcullis wait db:5432 https://auth/health -- gunicorn app:app\n  \
                            portcullis wait --timeout 5m 'postgres://app@db/app?sslmode=verify-full'\n  \
                            portcullis wait --ca /etc/ssl/own.pem https://auth/health rediss://cache\n  \
                            portcullis wait 'redis+ready://cache:6379/0?service=api&min=2'")]
    Wait(WaitArgs),
    /// Print exactly what `run` would do, without doing it; exit 78 if the configuration has errors
    #[command(after_help = "Example:\n  MODE=worker portcullis plan -c portcullis.toml")]
    Plan(PlanArgs),
    /// List the built-in presets, or print one as TOML to start from
    #[command(after_help = "Example:\n  portcullis preset gunicorn > portcullis.toml")]
    Preset {
        /// The preset to print [default: list them]
        name: Option<String>,
    },
    /// Show the state of the running portcullis: why it is not up, each check with its last 30 minutes, how long the start took
    #[command(after_help = "Examples:\n  docker exec api /portcullis status --watch\n  portcullis status --json | jq .checks")]
    Status(StatusArgs),
    /// Start a module beside the running process
    #[command(after_help = "Example:\n  docker exec api /portcullis start reports --timeout 2m")]
    Start(ModuleArgs),
    /// Stop a module; the main process continues
    #[command(after_help = "Example:\n  docker exec api /portcullis stop reports")]
    Stop(ModuleArgs),
    /// Restart a module; the main process continues
    #[command(after_help = "Example:\n  docker exec api /portcullis restart reports")]
    Restart(ModuleArgs),
    /// Read the configuration again and apply the changes of modules and checks: all of them, or none
    #[command(after_help = "Example:\n  docker exec api /portcullis reload")]
    Reload(OrderArgs),
    /// Print the JSON Schema of the configuration file, for editors and validators
    #[command(after_help = "Examples:\n  portcullis schema > portcullis.schema.json\n  portcullis schema --openapi > health.json")]
    Schema {
        /// Print the OpenAPI 3.1 document of the health responses instead
        #[arg(long)]
        openapi: bool,
    },
    /// List the ready instances of a service from Redis; exit 0 if enough are ready, 69 if not
    #[command(after_help = "Examples:\n  portcullis ready api --min 2 --url redis://redis:6379/0\n  \
                            portcullis ready api --min 2 --stable 30s")]
    Ready(ReadyArgs),
    /// Check the health of the running portcullis; exit 0 or 1, for Docker's HEALTHCHECK and exec probes
    #[command(disable_help_flag = true)]
    Healthcheck {
        /// See `portcullis healthcheck --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

#[derive(Args, Debug)]
struct RunArgs {
    /// The configuration file [default: $PORTCULLIS_CONFIG, /etc/portcullis.toml, ./portcullis.toml, or none]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A built-in preset below the file; `portcullis preset` lists them [default: $PORTCULLIS_PRESET, or none]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// The mode to start [default: `mode` of the file, usually $MODE]
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Run an ad-hoc command, for example a shell, in the environment of the mode: no migration, heartbeat or health endpoint [default:
    /// $PORTCULLIS_EXEC]
    #[arg(long)]
    exec: bool,
    /// With --exec: wait for the checks first [default: no; yes with PORTCULLIS_EXEC=wait]
    #[arg(long, requires = "exec", conflicts_with = "bare")]
    wait: bool,
    /// Only mode, migration command and init: no waiting, checks, heartbeat or health endpoint [default: $PORTCULLIS_BARE]
    #[arg(long)]
    bare: bool,
    /// The stop signal of the process, such as TERM, SIGQUIT or 37 [default: the one that portcullis received]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// The time from that signal to KILL, for the process and its leftovers, such as 500ms or 8s [default: 8s]
    #[arg(long, value_name = "DURATION")]
    stop_timeout: Option<String>,
    /// How long to be not ready before that signal, such as 500ms or 5s [default: 0s]
    #[arg(long, value_name = "DURATION")]
    drain_delay: Option<String>,
    /// Which processes get forwarded signals: only the process (child), or its whole group as with dumb-init (group) [default: child]
    #[arg(long, value_name = "SCOPE")]
    signal_scope: Option<String>,
    /// Forward one signal as another, such as TERM=QUIT; may be repeated [default: none]
    #[arg(long, value_name = "FROM=TO", value_parser = pair)]
    rewrite: Vec<(String, String)>,
    /// A signal that is not forwarded, such as HUP; may be repeated [default: none]
    #[arg(long, value_name = "SIGNAL")]
    ignore_signal: Vec<String>,
    /// An exit code that becomes 0 after a requested stop, such as 143; may be repeated [default: none]
    #[arg(long, value_name = "CODE")]
    success_code: Vec<String>,
    /// The signal that the process gets if portcullis is killed, such as KILL [default: none]
    #[arg(long, value_name = "SIGNAL")]
    parent_death_signal: Option<String>,
    /// The command if no modes are configured, else the arguments of the mode's command
    #[arg(trailing_var_arg = true, value_name = "COMMAND OR ARGUMENTS")]
    arguments: Vec<String>,
}

#[derive(Args, Debug)]
struct PlanArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct StatusArgs {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    /// Refresh every 2s, until interrupted
    #[arg(long)]
    watch: bool,
    /// Use this unix socket: a path, or @name in the abstract namespace [default: from the configuration]
    #[arg(long, value_name = "NAME")]
    socket: Option<String>,
    /// Use this address, such as 127.0.0.1:8051 [default: from the configuration]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Read socket and address from the table `health` of this file [default: the file that `run` would use]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct ModuleArgs {
    /// The module's name; with several instances, NAME-0 is one of them, NAME means all
    #[arg(value_name = "MODULE")]
    module: String,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Args, Debug)]
struct OrderArgs {
    /// How long to wait for the result, such as 500ms or 2m; the request itself continues after that
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Use this unix socket: a path, or @name in the abstract namespace [default: from the configuration]
    #[arg(long, value_name = "NAME")]
    socket: Option<String>,
    /// Read socket and token from the table `health` of this file [default: the file that `run` would use]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl OrderArgs {
    fn options(self, order: ClientOrder) -> command::order::Options {
        let Self { timeout, socket, config } = self;
        command::order::Options { order, timeout, socket, config }
    }
}

impl ModuleArgs {
    fn options(self, verb: &'static str) -> command::order::Options {
        self.order.options(ClientOrder::Module { verb, name: self.module })
    }
}

#[derive(Args, Debug)]
struct ReadyArgs {
    /// The service's name: its `service`, else its mode
    #[arg(value_name = "SERVICE")]
    service: String,
    /// How many instances have to be ready
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    min: u64,
    /// Read every 1s and print changes, until interrupted
    #[arg(long, conflicts_with = "stable")]
    watch: bool,
    /// For how long they have to be ready without interruption, such as 5s; read every 1s, and the first reading with too few ends it
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    stable: Duration,
    /// Print JSON instead of text, one document per line
    #[arg(long)]
    json: bool,
    /// The Redis, also as redis+sentinel:// or redis+cluster:// [default: that of the table `heartbeat`, else $REDIS_HOST]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Read the Redis from the table `heartbeat` of this file [default: the file that `run` would use]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ReadyArgs {
    fn options(self) -> command::ready::Options {
        let Self { service, min, watch, stable, json, url, config } = self;
        command::ready::Options { service, min, watch, stable, json, url, config }
    }
}

/// A subcommand whose startup time matters, parsed alone, without building the description of the others.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Alone<A: Args> {
    #[command(flatten)]
    arguments: A,
}

impl<A: Args> Alone<A> {
    /// None if the arguments are wrong or request help: the whole command line is then parsed.
    fn parse(words: &[OsString]) -> Option<A> {
        Self::try_parse_from(words).ok().map(|alone| alone.arguments)
    }
}

impl RunArgs {
    fn request(self) -> RunOptions {
        let flags = [
            ("process.stop_signal", "--stop-signal", self.stop_signal),
            ("process.stop_timeout", "--stop-timeout", self.stop_timeout),
            ("process.drain_delay", "--drain-delay", self.drain_delay),
            ("process.signal_scope", "--signal-scope", self.signal_scope),
            ("process.parent_death_signal", "--parent-death-signal", self.parent_death_signal),
            ("process.ignore_signals", "--ignore-signal", list(&self.ignore_signal)),
            ("process.success_codes", "--success-code", list(&self.success_code)),
            ("process.rewrite", "--rewrite", table(&self.rewrite)),
        ];
        RunOptions {
            file: self.config,
            preset: self.preset,
            mode: self.mode,
            arguments: self.arguments,
            exec: self.exec,
            wait: self.wait,
            bare: self.bare,
            overrides: flags
                .into_iter()
                .filter_map(|(key, flag, value)| Some(Override { key: key.to_owned(), value: value?, flag: flag.to_owned() }))
                .collect(),
        }
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    text.split_once('=').map(|(from, to)| (from.to_owned(), to.to_owned())).ok_or("expected two signals, for example TERM=QUIT")
}

/// Values of a repeated option as a TOML list; none without a value.
fn list(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")))
}

/// Pairs of a repeated option as a TOML table; none without a pair.
fn table(pairs: &[(String, String)]) -> Option<String> {
    let entries = pairs.iter().map(|(from, to)| format!("{} = {}", quoted(from), quoted(to))).collect::<Vec<_>>();
    (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")))
}

/// A JSON string is also a TOML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
