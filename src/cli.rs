//! What can be said on the command line.

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

/// The gate at a container's entry.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    about = "The gate at a container's entry: waits for what the service needs, migrates under a lock, one replica at a\n\
             time, starts and supervises the process as PID 1, and answers whoever asks how it is",
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
    /// Wait until targets are ready, then become COMMAND; exit 69 when they are not in time
    #[command(after_help = "Examples:\n  portcullis wait db:5432 https://auth/health -- gunicorn app:app\n  \
                            portcullis wait --timeout 5m 'postgres://app@db/app?sslmode=verify-full'\n  \
                            portcullis wait --ca /etc/ssl/own.pem https://auth/health rediss://cache\n  \
                            portcullis wait 'redis+ready://cache:6379/0?service=api&min=2'")]
    Wait(WaitArgs),
    /// Print exactly what `run` would do, and do nothing; exit 78 when the configuration is wrong
    #[command(after_help = "Example:\n  MODE=worker portcullis plan -c portcullis.toml")]
    Plan(PlanArgs),
    /// List the built-in presets, or print one as TOML to start from
    #[command(after_help = "Example:\n  portcullis preset gunicorn > portcullis.toml")]
    Preset {
        /// The preset to print [default: list them]
        name: Option<String>,
    },
    /// Show how the running portcullis is: why it is not up, each check with its last 30 minutes, how long the start took
    #[command(after_help = "Examples:\n  docker exec api /portcullis status --watch\n  portcullis status --json | jq .checks")]
    Status(StatusArgs),
    /// Start a module beside the running process
    #[command(after_help = "Example:\n  docker exec api /portcullis start reports --timeout 2m")]
    Start(ModuleArgs),
    /// Stop a module; the process goes on
    #[command(after_help = "Example:\n  docker exec api /portcullis stop reports")]
    Stop(ModuleArgs),
    /// Stop a module and start it again; the process goes on
    #[command(after_help = "Example:\n  docker exec api /portcullis restart reports")]
    Restart(ModuleArgs),
    /// Read the configuration again and apply what concerns modules and checks: all of it, or nothing
    #[command(after_help = "Example:\n  docker exec api /portcullis reload")]
    Reload(OrderArgs),
    /// Print the JSON Schema of the configuration file, for editors and for checking one without running anything
    #[command(after_help = "Examples:\n  portcullis schema > portcullis.schema.json\n  portcullis schema --openapi > health.json")]
    Schema {
        /// Print the OpenAPI 3.1 document of the health answers instead
        #[arg(long)]
        openapi: bool,
    },
    /// List the ready instances of a service from Redis; exit 0 when enough are ready, 69 when not
    #[command(after_help = "Examples:\n  portcullis ready api --min 2 --url redis://redis:6379/0\n  \
                            portcullis ready api --min 2 --stable 30s")]
    Ready(ReadyArgs),
    /// Ask the running portcullis how it is; exit 0 or 1, for Docker's HEALTHCHECK and exec probes
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
    /// The mode to start [default: what `mode` in the file says, as a rule $MODE]
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Run a command of one's own, a shell for example, in the surroundings of the mode: no migration, heartbeat or health endpoint [default: $PORTCULLIS_EXEC]
    #[arg(long)]
    exec: bool,
    /// With --exec: wait for the checks first [default: no, yes with PORTCULLIS_EXEC=wait]
    #[arg(long, requires = "exec", conflicts_with = "bare")]
    wait: bool,
    /// Mode, migration command and init alone: no waiting, checks, heartbeat or health endpoint [default: $PORTCULLIS_BARE]
    #[arg(long)]
    bare: bool,
    /// The signal that asks the process to stop, as TERM, SIGQUIT or 37 [default: the one that portcullis got]
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// From that signal to KILL, for the process and all it leaves behind, as 500ms or 8s [default: 8s]
    #[arg(long, value_name = "DURATION")]
    stop_timeout: Option<String>,
    /// How long to be not ready before that signal, as 500ms or 5s [default: 0s]
    #[arg(long, value_name = "DURATION")]
    drain_delay: Option<String>,
    /// Who gets forwarded signals: the process alone (child), or its whole group as with dumb-init (group) [default: child]
    #[arg(long, value_name = "SCOPE")]
    signal_scope: Option<String>,
    /// Forward one signal as another one, as TERM=QUIT; may be repeated [default: none]
    #[arg(long, value_name = "FROM=TO", value_parser = pair)]
    rewrite: Vec<(String, String)>,
    /// A signal that is not forwarded, as HUP; may be repeated [default: none]
    #[arg(long, value_name = "SIGNAL")]
    ignore_signal: Vec<String>,
    /// An exit code that becomes 0 after a stop that was asked for, as 143; may be repeated [default: none]
    #[arg(long, value_name = "CODE")]
    success_code: Vec<String>,
    /// The signal that the process gets if portcullis is killed, as KILL [default: none]
    #[arg(long, value_name = "SIGNAL")]
    parent_death_signal: Option<String>,
    /// The command where no modes are configured, else the arguments of the mode's command
    #[arg(trailing_var_arg = true, value_name = "COMMAND OR ARGUMENTS")]
    arguments: Vec<String>,
}

#[derive(Args, Debug)]
struct PlanArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Print JSON in place of text
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct StatusArgs {
    /// Print JSON in place of text
    #[arg(long)]
    json: bool,
    /// Look again every 2s, until interrupted
    #[arg(long)]
    watch: bool,
    /// Ask this unix socket: a path, or @name in the abstract namespace [default: as the configuration says]
    #[arg(long, value_name = "NAME")]
    socket: Option<String>,
    /// Ask this address, as 127.0.0.1:8051 [default: as the configuration says]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Take socket and address from the table `health` of this file [default: the file that `run` would take]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct ModuleArgs {
    /// The module's name; NAME-0 is one of several instances, NAME all of them
    #[arg(value_name = "MODULE")]
    module: String,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Args, Debug)]
struct OrderArgs {
    /// How long to wait for the result, as 500ms or 2m; the order itself goes on after that
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Ask this unix socket: a path, or @name in the abstract namespace [default: as the configuration says]
    #[arg(long, value_name = "NAME")]
    socket: Option<String>,
    /// Take socket and token from the table `health` of this file [default: the file that `run` would take]
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
    /// Look again every 1s and print what has changed, until interrupted
    #[arg(long, conflicts_with = "stable")]
    watch: bool,
    /// For how long that has to hold without a break, as 5s; looked at every 1s, and the first look that finds too few ends it
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    stable: Duration,
    /// Print JSON in place of text, one document a line
    #[arg(long)]
    json: bool,
    /// The Redis, also as redis+sentinel:// or redis+cluster:// [default: that of the table `heartbeat`, else $REDIS_HOST]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Take the Redis from the table `heartbeat` of this file [default: the file that `run` would take]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ReadyArgs {
    fn options(self) -> command::ready::Options {
        let Self { service, min, watch, stable, json, url, config } = self;
        command::ready::Options { service, min, watch, stable, json, url, config }
    }
}

/// A subcommand whose start counts, alone: what else there is need not be described for it.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Alone<A: Args> {
    #[command(flatten)]
    arguments: A,
}

impl<A: Args> Alone<A> {
    /// None when the words are wrong or ask for help: the whole command line then has the answer.
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
    text.split_once('=').map(|(from, to)| (from.to_owned(), to.to_owned())).ok_or("two signals are wanted, as TERM=QUIT")
}

/// Values of a repeated option as a list of the configuration's language; none for no value.
fn list(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")))
}

/// Pairs of a repeated option as a table of the configuration's language; none for no pair.
fn table(pairs: &[(String, String)]) -> Option<String> {
    let entries = pairs.iter().map(|(from, to)| format!("{} = {}", quoted(from), quoted(to))).collect::<Vec<_>>();
    (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")))
}

/// A JSON string is a TOML string too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
