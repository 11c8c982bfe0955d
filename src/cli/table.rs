//! The table of all subcommands: their options, their arguments and their help.

use super::grammar::{Count, Opt, Positional, Subcommand};

/// The command line without a subcommand, which is that of `run`.
pub static WITHOUT: Subcommand = Subcommand {
    name: "",
    about: "The entrypoint of a container: waits for the dependencies, migrates the database under a lock, starts the\n\
           process, supervises it as PID 1, and reports its health",
    options: &[RUN],
    words: COMMAND,
    example: "Example, in a Dockerfile:\n  ENTRYPOINT [\"/portcullis\", \"run\", \"--\"]\n  CMD [\"gunicorn\", \"app:app\"]\n  \
              HEALTHCHECK CMD [\"/portcullis\", \"healthcheck\"]",
};

/// Every subcommand, as help lists them.
pub static SUBCOMMANDS: [Subcommand; 12] = [
    Subcommand {
        name: "run",
        about: "Wait, migrate, start the process and supervise it (the default)",
        options: &[RUN],
        words: COMMAND,
        example: "Examples:\n  portcullis run -- gunicorn --bind 0.0.0.0:5001 app:app\n  \
                  MODE=worker portcullis run -c /etc/portcullis.toml",
    },
    Subcommand {
        name: "wait",
        about: "Wait until targets are ready, then execute COMMAND; exit 69 if they are not ready in time",
        options: &[WAIT],
        words: &[
            Positional {
                name: "TARGET",
                about: "What to wait for: HOST:PORT, or URLs of these kinds: tcp http https postgres mysql redis rediss redis+unix redis+sentinel redis+cluster redis+ready amqp amqps mongodb kafka grpc grpcs unix file dns disk exec",
                count: Count::Many,
            },
            Positional {
                name: "COMMAND",
                about: "The command to execute in place of this process once the targets are ready: same process id, no shell [default: none, exit 0]",
                count: Count::Behind,
            },
        ],
        example: "Examples:\n  portcullis wait db:5432 https://auth/health -- gunicorn app:app\n  \
                  portcullis wait --timeout 5m 'postgres://app@db/app?sslmode=verify-full'\n  \
                  portcullis wait --ca /etc/ssl/own.pem https://auth/health rediss://cache\n  \
                  portcullis wait 'redis+ready://cache:6379/0?service=api&min=2'",
    },
    Subcommand {
        name: "plan",
        about: "Print exactly what `run` would do, without doing it; exit 78 if the configuration has errors",
        options: &[RUN, &[JSON]],
        words: COMMAND,
        example: "Example:\n  MODE=worker portcullis plan -c portcullis.toml",
    },
    Subcommand {
        name: "preset",
        about: "List the built-in presets, or print one as TOML to start from",
        options: &[],
        words: &[Positional { name: "NAME", about: "The preset to print [default: list them]", count: Count::AtMostOne }],
        example: "Example:\n  portcullis preset gunicorn > portcullis.toml",
    },
    Subcommand {
        name: "status",
        about: "Show the state of the running portcullis: why it is not up, each check with its last 30 minutes, how long the start took",
        options: &[&[
            JSON,
            flag("watch", "Refresh every 2s, until interrupted"),
            SOCKET,
            LISTEN,
            config("Read socket and address from the table `health` of this file [default: the file that `run` would use]"),
        ]],
        words: &[],
        example: "Examples:\n  docker exec api /portcullis status --watch\n  portcullis status --json | jq .checks",
    },
    Subcommand {
        name: "start",
        about: "Start a module beside the running process",
        options: &[ORDER],
        words: MODULE,
        example: "Example:\n  docker exec api /portcullis start reports --timeout 2m",
    },
    Subcommand {
        name: "stop",
        about: "Stop a module; the main process continues",
        options: &[ORDER],
        words: MODULE,
        example: "Example:\n  docker exec api /portcullis stop reports",
    },
    Subcommand {
        name: "restart",
        about: "Restart a module; the main process continues",
        options: &[ORDER],
        words: MODULE,
        example: "Example:\n  docker exec api /portcullis restart reports",
    },
    Subcommand {
        name: "reload",
        about: "Read the configuration again and apply the changes of modules and checks: all of them, or none",
        options: &[ORDER],
        words: &[],
        example: "Example:\n  docker exec api /portcullis reload",
    },
    Subcommand {
        name: "schema",
        about: "Print the JSON Schema of the configuration file, for editors and validators",
        options: &[&[flag("openapi", "Print the OpenAPI 3.1 document of the health responses instead")]],
        words: &[],
        example: "Examples:\n  portcullis schema > portcullis.schema.json\n  portcullis schema --openapi > health.json",
    },
    Subcommand {
        name: "ready",
        about: "List the ready instances of a service from Redis; exit 0 if enough are ready, 69 if not",
        options: &[&[
            value("min", "N", "How many instances have to be ready [default: 1]"),
            flag("watch", "Read every 1s and print changes, until interrupted"),
            value(
                "stable",
                "DURATION",
                "For how long they have to be ready without interruption, such as 5s; read every 1s, and the first reading with too few ends it [default: 0s]",
            ),
            flag("json", "Print JSON instead of text, one document a line"),
            value(
                "url",
                "URL",
                "The Redis, also as redis+sentinel:// or redis+cluster:// [default: that of the table `heartbeat`, else $REDIS_HOST]",
            ),
            config("Read the Redis from the table `heartbeat` of this file [default: the file that `run` would use]"),
        ]],
        words: &[Positional { name: "SERVICE", about: "The service's name: its `service`, else its mode", count: Count::One }],
        example: "Examples:\n  portcullis ready api --min 2 --url redis://redis:6379/0\n  portcullis ready api --min 2 --stable 30s",
    },
    Subcommand {
        name: "healthcheck",
        about: "Check the health of the running portcullis; exit 0 or 1, for Docker's HEALTHCHECK and exec probes",
        options: &[HEALTHCHECK],
        words: &[],
        example: "Without --socket and --listen, PORTCULLIS_HEALTH__SOCKET and PORTCULLIS_HEALTH__LISTEN name the endpoint, else the file\n\
                  that `run` would use, else @portcullis/8051, then 127.0.0.1:8051 and [::1]:8051 are tried.\n\n\
                  Example:\n  HEALTHCHECK --interval=10s CMD [\"/portcullis\", \"healthcheck\"]",
    },
];

const RUN: &[Opt] = &[
    config("The configuration file [default: $PORTCULLIS_CONFIG, /etc/portcullis.toml, ./portcullis.toml, or none]"),
    value("preset", "NAME", "A built-in preset below the file; `portcullis preset` lists them [default: $PORTCULLIS_PRESET, or none]"),
    value("mode", "MODE", "The mode to start [default: `mode` of the file, usually $MODE]"),
    flag(
        "exec",
        "Run an ad-hoc command, for example a shell, in the environment of the mode: no migration, heartbeat or health endpoint [default: $PORTCULLIS_EXEC]",
    ),
    flag("wait", "With --exec: wait for the checks first [default: no; yes with PORTCULLIS_EXEC=wait]"),
    flag("bare", "Only mode, migration command and init: no waiting, checks, heartbeat or health endpoint [default: $PORTCULLIS_BARE]"),
    value(
        "stop-signal",
        "SIGNAL",
        "The stop signal of the process, such as TERM, SIGQUIT or 37 [default: the one that portcullis received]",
    ),
    value(
        "stop-timeout",
        "DURATION",
        "The time from that signal to KILL, for the process and its leftovers, such as 500ms or 8s [default: 8s]",
    ),
    value("drain-delay", "DURATION", "How long to be not ready before that signal, such as 500ms or 5s [default: 0s]"),
    value(
        "signal-scope",
        "SCOPE",
        "Which processes get forwarded signals: only the process (child), or its whole group as with dumb-init (group) [default: child]",
    ),
    values("rewrite", "FROM=TO", "Forward one signal as another, such as TERM=QUIT; may be repeated [default: none]"),
    values("ignore-signal", "SIGNAL", "A signal that is not forwarded, such as HUP; may be repeated [default: none]"),
    values("success-code", "CODE", "An exit code that becomes 0 after a requested stop, such as 143; may be repeated [default: none]"),
    value("parent-death-signal", "SIGNAL", "The signal that the process gets if portcullis is killed, such as KILL [default: none]"),
];

const COMMAND: &[Positional] = &[Positional {
    name: "COMMAND OR ARGUMENTS",
    about: "The command if no modes are configured, else the arguments of the mode's command",
    count: Count::Rest,
}];

const WAIT: &[Opt] = &[
    short('h', value("host", "HOST", "The host to wait for, with --port, as in wait-for-it")),
    short('p', value("port", "PORT", "The port of that host")),
    short(
        't',
        value(
            "timeout",
            "DURATION",
            "How long to wait at most, such as 500ms or 5m, or a number of seconds; 0s probes each target once, 0 means no limit [default: 60s]",
        ),
    ),
    value("try-timeout", "DURATION", "How long one attempt may take, such as 500ms or 2s [default: 2s]"),
    value("interval", "DURATION", "The pause between two attempts, such as 100ms [default: 10ms at first, growing to 250ms]"),
    value(
        "stable",
        "DURATION",
        "For how long each target has to be ready without interruption, such as 5s; probed every 1s or --interval; a lost session is an interruption [default: 0s]",
    ),
    flag("any", "Stop waiting as soon as one target is ready"),
    flag("json", "Print JSON instead of text: to standard output, with a COMMAND to standard error"),
    short('q', flag("quiet", "Print no progress and no result")),
    short('s', flag("strict", "Accepted for wait-for-it and always on: COMMAND never runs if the targets are not ready in time")),
    flag("fail-fast", "Give up at once on a wrong password, user or database"),
    value(
        "ca",
        "FILE",
        "The authorities (PEM) to trust for targets whose scheme implies TLS, or a server's own certificate [default: the system's]",
    ),
    value("client-certificate", "FILE", "The client certificate (PEM) for these targets [default: none]"),
    value("client-key", "FILE", "Its private key (PEM) [default: in the certificate's file]"),
    flag("insecure", "Accept any certificate of these targets: an attacker in between can read the traffic"),
];

const ORDER: &[Opt] = &[
    value(
        "timeout",
        "DURATION",
        "How long to wait for the result, such as 500ms or 2m; the request itself continues after that [default: 60s]",
    ),
    SOCKET,
    config("Read socket and token from the table `health` of this file [default: the file that `run` would use]"),
];

const MODULE: &[Positional] = &[Positional {
    name: "MODULE",
    about: "The module's name; with several instances, NAME-0 is one of them, NAME means all",
    count: Count::One,
}];

/// In a `HEALTHCHECK` that is built from pieces, the last value wins.
const HEALTHCHECK: &[Opt] = &[
    values(
        "level",
        "LEVEL",
        "live, ready, or deep (includes dependencies); use ready or live if the orchestrator kills unhealthy containers [default: deep]",
    ),
    values("timeout", "DURATION", "How long the response may take, such as 500ms or 3s [default: 3s]"),
    repeated(SOCKET),
    repeated(LISTEN),
    values("address", "ADDRESS", ""),
    repeated(config("Read socket and address from [health] of this file [default: the file that `run` would use]")),
];

const JSON: Opt = flag("json", "Print JSON instead of text");

const SOCKET: Opt =
    value("socket", "NAME", "Use this unix socket: a path, or @name in the abstract namespace [default: from the configuration]");

const LISTEN: Opt = value("listen", "ADDRESS", "Use this address, such as 127.0.0.1:8051 [default: from the configuration]");

const fn flag(long: &'static str, about: &'static str) -> Opt {
    Opt { long, short: None, value: None, repeats: false, about }
}

const fn value(long: &'static str, name: &'static str, about: &'static str) -> Opt {
    Opt { value: Some(name), ..flag(long, about) }
}

const fn values(long: &'static str, name: &'static str, about: &'static str) -> Opt {
    repeated(value(long, name, about))
}

const fn repeated(option: Opt) -> Opt {
    Opt { repeats: true, ..option }
}

const fn short(letter: char, option: Opt) -> Opt {
    Opt { short: Some(letter), ..option }
}

const fn config(about: &'static str) -> Opt {
    short('c', value("config", "FILE", about))
}
