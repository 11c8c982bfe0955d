//! What can be said on the command line, and how each of it is answered.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::command;
use crate::command::order::ClientOrder;
use crate::config::layers::Override;
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::plan::resolve::{self, Request, TlsFlags};
use crate::supervisor::background::Subsystems;
use crate::sys;
use crate::view::openapi;

/// The gate at a container's entry.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    about = "The gate at a container's entry: waits for what the service needs, migrates under a lock, one replica at a\n\
             time, starts and supervises the process as PID 1, and tells everyone how it is.",
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
    /// Wait until targets are ready, then become COMMAND
    #[command(after_help = "Examples:\n  portcullis wait tcp://db:5432 https://auth/health -- gunicorn app:app\n  \
                            portcullis wait --timeout 5m 'postgres://app@db/app?sslmode=verify-full'\n  \
                            portcullis wait --ca /etc/ssl/own.pem https://auth/health rediss://cache\n  \
                            portcullis wait 'redis+ready://cache:6379/0?service=api&min=2'")]
    Wait(WaitArgs),
    /// Print exactly what `run` would do, and do nothing
    #[command(after_help = "Example:\n  MODE=worker portcullis plan -c portcullis.toml")]
    Plan(PlanArgs),
    /// List the built-in presets, or print one as TOML to start from
    #[command(after_help = "Example:\n  portcullis preset gunicorn > portcullis.toml")]
    Preset {
        /// The preset to print
        name: Option<String>,
    },
    /// Show how the running portcullis is: why it is not up, each check with its last 30 minutes, the start as bars
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
        /// `portcullis healthcheck --help` tells them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

#[derive(Args, Debug)]
struct RunArgs {
    /// The configuration file [default: $PORTCULLIS_CONFIG, /etc/portcullis.toml, ./portcullis.toml, or none]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A built-in preset below the file
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// The mode to start, instead of the one that MODE names
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Take what follows `--` as the command, whatever the modes say
    #[arg(long)]
    exec: bool,
    /// Mode, migration command and init alone: no waiting, checks, heartbeat or health endpoint
    #[arg(long)]
    bare: bool,
    /// The signal that asks the process to stop, instead of the one that portcullis got (TERM, SIGQUIT, 37, ...)
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// From that signal to KILL, for the process and all it leaves behind [default: 8s]
    #[arg(long, value_name = "DURATION")]
    stop_timeout: Option<String>,
    /// How long to be not ready before that signal [default: 0s]
    #[arg(long, value_name = "DURATION")]
    drain_delay: Option<String>,
    /// Who gets forwarded signals: the process alone, or its whole group as with dumb-init [child, group]
    #[arg(long, value_name = "SCOPE")]
    signal_scope: Option<String>,
    /// Forward one signal as another one, as TERM=QUIT; may be repeated
    #[arg(long, value_name = "FROM=TO", value_parser = pair)]
    rewrite: Vec<(String, String)>,
    /// A signal that nobody gets; may be repeated
    #[arg(long, value_name = "SIGNAL")]
    ignore_signal: Vec<String>,
    /// An exit code that becomes 0 after a stop that was asked for, as 143; may be repeated
    #[arg(long, value_name = "CODE")]
    success_code: Vec<String>,
    /// The signal that the process gets should portcullis die
    #[arg(long, value_name = "SIGNAL")]
    parent_death_signal: Option<String>,
    /// The container's arguments: the command itself where no modes are configured
    #[arg(trailing_var_arg = true, value_name = "COMMAND OR ARGUMENTS")]
    arguments: Vec<String>,
}

#[derive(Args, Debug)]
struct PlanArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct StatusArgs {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// Look again every two seconds, until interrupted
    #[arg(long)]
    watch: bool,
    /// Ask this unix socket: a path, or @name in the abstract namespace
    #[arg(long, value_name = "NAME")]
    socket: Option<String>,
    /// Ask this address, like 127.0.0.1:8051
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Take the place from the table `health` of this file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct ModuleArgs {
    /// The module; of one with several instances, `NAME-0` for one or NAME for all
    #[arg(value_name = "MODULE")]
    module: String,
    #[command(flatten)]
    order: OrderArgs,
}

#[derive(Args, Debug)]
struct OrderArgs {
    /// How long to wait for the end of it; it goes on after that
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// The unix socket of the running portcullis: a path, or @name in the abstract namespace
    #[arg(long, value_name = "NAME")]
    socket: Option<String>,
    /// Take the socket and the token from the table `health` of this file
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
    /// The service, as it names itself: its mode where nothing else is configured
    #[arg(value_name = "SERVICE")]
    service: String,
    /// How many instances have to be ready
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    min: u64,
    /// Look again every second and print what has changed, until interrupted
    #[arg(long, conflicts_with = "stable")]
    watch: bool,
    /// For how long that has to hold without a break, looked at every second; the first look that finds too few ends it
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    stable: Duration,
    /// Print JSON, one document a line
    #[arg(long)]
    json: bool,
    /// The Redis, also as redis+sentinel:// or redis+cluster:// [default: the configuration's heartbeat, else REDIS_HOST]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Take the Redis from the table `heartbeat` of this file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ReadyArgs {
    fn options(self) -> command::ready::Options {
        let Self { service, min, watch, stable, json, url, config } = self;
        command::ready::Options { service, min, watch, stable, json, url, config }
    }
}

#[derive(Args, Debug)]
struct WaitArgs {
    /// What is waited for: tcp http https postgres mysql redis rediss redis+unix redis+sentinel redis+cluster redis+ready grpc
    /// grpcs unix file dns disk exec
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// How long to wait at most; 0s asks each target once
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// How long one try may take
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    try_timeout: Duration,
    /// Time between two tries [default: from 10ms on, growing with the time already waited]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    interval: Option<Duration>,
    /// For how long each target has to be ready without a break, looked at every second or --interval
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    stable: Duration,
    /// Be content with the first target that is ready
    #[arg(long)]
    any: bool,
    /// Print the result as JSON: on standard output, with a COMMAND on standard error
    #[arg(long)]
    json: bool,
    /// Give up at once on a wrong password, user or database
    #[arg(long)]
    fail_fast: bool,
    /// Authorities (PEM) that https, rediss and grpcs targets trust, in place of the system's; a server's own certificate, too
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// The certificate (PEM) that these targets are shown
    #[arg(long, value_name = "FILE")]
    client_certificate: Option<String>,
    /// Its private key (PEM) [default: in the same file]
    #[arg(long, value_name = "FILE")]
    client_key: Option<String>,
    /// Take any certificate of these targets: whoever is in between can listen
    #[arg(long)]
    insecure: bool,
    /// What to become once the targets are ready: same process id, no shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
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

impl WaitArgs {
    fn request(self) -> command::wait::Request {
        let Self { targets, timeout, try_timeout, interval, stable, any, json, fail_fast, command, .. } = self;
        let tls =
            TlsFlags { ca: self.ca, client_certificate: self.client_certificate, client_key: self.client_key, insecure: self.insecure };
        command::wait::Request { targets, timeout, try_timeout, interval, stable, any, json, fail_fast, tls, command }
    }
}

impl RunArgs {
    fn request(self) -> Request {
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
        Request {
            file: self.config,
            preset: self.preset,
            mode: self.mode,
            arguments: self.arguments,
            exec: self.exec,
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

/// Answers a command line without the program's name; returns the exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    match arguments.split_first() {
        Some((first, rest)) if first == "run" => {
            if let Some(run) = Alone::<RunArgs>::parse(rest) {
                return command::run::run(&run.request(), &Environment::of_process(), Subsystems::default());
            }
        }
        Some((first, rest)) if first == "wait" => {
            if let Some(wait) = Alone::<WaitArgs>::parse(rest) {
                return command::wait::run(&wait.request(), &Environment::of_process());
            }
        }
        _ => {}
    }
    let cli = match Cli::try_parse_from(std::iter::once(OsString::from("portcullis")).chain(arguments)) {
        Ok(cli) => cli,
        Err(error) => {
            sys::unblock_every_signal();
            // `--help` and `--version` come this way, too: to standard output, as success.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.code() } else { Exit::Success.code() };
        }
    };
    let environment = Environment::of_process();
    match cli.command {
        None => command::run::run(&cli.run.request(), &environment, Subsystems::default()),
        Some(Command::Run(run)) => command::run::run(&run.request(), &environment, Subsystems::default()),
        Some(Command::Wait(wait)) => command::wait::run(&wait.request(), &environment),
        Some(other) => {
            // Nothing is supervised from here on: ctrl-C shall end us.
            sys::unblock_every_signal();
            answer(other, &environment)
        }
    }
}

fn answer(command: Command, environment: &Environment) -> u8 {
    match command {
        Command::Plan(arguments) => match resolve::resolve(&arguments.run.request(), environment) {
            Ok(plan) if arguments.json => print(&command::plan::render_json(&plan)),
            Ok(plan) => print(&command::plan::render(&plan)),
            Err(problems) => {
                let _ = writeln!(io::stderr(), "{problems}");
                problems.exit().code()
            }
        },
        Command::Ready(arguments) => command::ready::run(&arguments.options(), environment),
        Command::Preset { name: None } => print(&command::preset::list()),
        Command::Preset { name: Some(name) } => match command::preset::print(&name) {
            Ok(text) => print(text),
            Err(sentence) => {
                let _ = writeln!(io::stderr(), "{sentence}");
                Exit::Usage.code()
            }
        },
        Command::Status(StatusArgs { json, watch, socket, listen, config }) => {
            command::status::run(&command::status::Options { json, watch, socket, listen, config }, environment)
        }
        Command::Start(arguments) => command::order::run(&arguments.options("start"), environment),
        Command::Stop(arguments) => command::order::run(&arguments.options("stop"), environment),
        Command::Restart(arguments) => command::order::run(&arguments.options("restart"), environment),
        Command::Reload(arguments) => command::order::run(&arguments.options(ClientOrder::Reload), environment),
        Command::Schema { openapi: false } => print(&format!("{:#}\n", resolve::schema())),
        Command::Schema { openapi: true } => print(&format!("{:#}\n", openapi::document(env!("CARGO_PKG_VERSION")))),
        Command::Healthcheck { options } => command::healthcheck::main(&options),
        Command::Run(run) => command::run::run(&run.request(), environment, Subsystems::default()),
        Command::Wait(wait) => command::wait::run(&wait.request(), environment),
    }
}

/// Writes to standard output; a reader that stopped reading has what it wanted.
fn print(text: &str) -> u8 {
    let _ = io::stdout().lock().write_all(text.as_bytes());
    Exit::Success.code()
}
