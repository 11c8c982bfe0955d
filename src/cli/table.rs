//! The words of every subcommand: its options, its arguments and its help.

use super::grammar::{Count, Opt, Positional, Subcommand};

/// The command line without a subcommand, which is that of `run`.
pub static WITHOUT: Subcommand = Subcommand {
    name: "",
    about: "The gate at a container's entry: waits for what the service needs, migrates under a lock, one replica at a\n\
            time, starts and supervises the process as PID 1, and answers whoever asks how it is",
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
        about: "Wait until targets are ready, then become COMMAND; exit 69 when they are not in time",
        options: &[WAIT],
        words: &[
            Positional {
                name: "TARGET",
                about: "What to wait for: HOST:PORT, or URLs of these kinds: tcp http https postgres mysql redis rediss redis+unix redis+sentinel redis+cluster redis+ready amqp amqps mongodb kafka grpc grpcs unix file dns disk exec",
                count: Count::Many,
            },
            Positional {
                name: "COMMAND",
                about: "What to become once the targets are ready: same process id, no shell [default: nothing, exit 0]",
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
        about: "Print exactly what `run` would do, and do nothing; exit 78 when the configuration is wrong",
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
        about: "Show how the running portcullis is: why it is not up, each check with its last 30 minutes, how long the start took",
        options: &[&[
            JSON,
            flag("watch", "Look again every 2s, until interrupted"),
            SOCKET,
            LISTEN,
            config("Take socket and address from the table `health` of this file [default: the file that `run` would take]"),
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
        about: "Stop a module; the process goes on",
        options: &[ORDER],
        words: MODULE,
        example: "Example:\n  docker exec api /portcullis stop reports",
    },
    Subcommand {
        name: "restart",
        about: "Stop a module and start it again; the process goes on",
        options: &[ORDER],
        words: MODULE,
        example: "Example:\n  docker exec api /portcullis restart reports",
    },
    Subcommand {
        name: "reload",
        about: "Read the configuration again and apply what concerns modules and checks: all of it, or nothing",
        options: &[ORDER],
        words: &[],
        example: "Example:\n  docker exec api /portcullis reload",
    },
    Subcommand {
        name: "schema",
        about: "Print the JSON Schema of the configuration file, for editors and for checking one without running anything",
        options: &[&[flag("openapi", "Print the OpenAPI 3.1 document of the health answers instead")]],
        words: &[],
        example: "Examples:\n  portcullis schema > portcullis.schema.json\n  portcullis schema --openapi > health.json",
    },
    Subcommand {
        name: "ready",
        about: "List the ready instances of a service from Redis; exit 0 when enough are ready, 69 when not",
        options: &[&[
            value("min", "N", "How many instances have to be ready [default: 1]"),
            flag("watch", "Look again every 1s and print what has changed, until interrupted"),
            value(
                "stable",
                "DURATION",
                "For how long that has to hold without a break, as 5s; looked at every 1s, and the first look that finds too few ends it [default: 0s]",
            ),
            flag("json", "Print JSON in place of text, one document a line"),
            value(
                "url",
                "URL",
                "The Redis, also as redis+sentinel:// or redis+cluster:// [default: that of the table `heartbeat`, else $REDIS_HOST]",
            ),
            config("Take the Redis from the table `heartbeat` of this file [default: the file that `run` would take]"),
        ]],
        words: &[Positional { name: "SERVICE", about: "The service's name: its `service`, else its mode", count: Count::One }],
        example: "Examples:\n  portcullis ready api --min 2 --url redis://redis:6379/0\n  portcullis ready api --min 2 --stable 30s",
    },
    Subcommand {
        name: "healthcheck",
        about: "Ask the running portcullis how it is; exit 0 or 1, for Docker's HEALTHCHECK and exec probes",
        options: &[HEALTHCHECK],
        words: &[],
        example: "Without --socket and --listen, PORTCULLIS_HEALTH__SOCKET and PORTCULLIS_HEALTH__LISTEN say where to ask, else the file\n\
                  that `run` would take, else it is @portcullis/8051, then 127.0.0.1:8051 and [::1]:8051.\n\n\
                  Example:\n  HEALTHCHECK --interval=10s CMD [\"/portcullis\", \"healthcheck\"]",
    },
];

const RUN: &[Opt] = &[
    config("The configuration file [default: $PORTCULLIS_CONFIG, /etc/portcullis.toml, ./portcullis.toml, or none]"),
    value("preset", "NAME", "A built-in preset below the file; `portcullis preset` lists them [default: $PORTCULLIS_PRESET, or none]"),
    value("mode", "MODE", "The mode to start [default: what `mode` in the file says, as a rule $MODE]"),
    flag(
        "exec",
        "Run a command of one's own, a shell for example, in the surroundings of the mode: no migration, heartbeat or health endpoint [default: $PORTCULLIS_EXEC]",
    ),
    flag("wait", "With --exec: wait for the checks first [default: no, yes with PORTCULLIS_EXEC=wait]"),
    flag("bare", "Mode, migration command and init alone: no waiting, checks, heartbeat or health endpoint [default: $PORTCULLIS_BARE]"),
    value(
        "stop-signal",
        "SIGNAL",
        "The signal that asks the process to stop, as TERM, SIGQUIT or 37 [default: the one that portcullis got]",
    ),
    value("stop-timeout", "DURATION", "From that signal to KILL, for the process and all it leaves behind, as 500ms or 8s [default: 8s]"),
    value("drain-delay", "DURATION", "How long to be not ready before that signal, as 500ms or 5s [default: 0s]"),
    value(
        "signal-scope",
        "SCOPE",
        "Who gets forwarded signals: the process alone (child), or its whole group as with dumb-init (group) [default: child]",
    ),
    values("rewrite", "FROM=TO", "Forward one signal as another one, as TERM=QUIT; may be repeated [default: none]"),
    values("ignore-signal", "SIGNAL", "A signal that is not forwarded, as HUP; may be repeated [default: none]"),
    values("success-code", "CODE", "An exit code that becomes 0 after a stop that was asked for, as 143; may be repeated [default: none]"),
    value("parent-death-signal", "SIGNAL", "The signal that the process gets if portcullis is killed, as KILL [default: none]"),
];

const COMMAND: &[Positional] = &[Positional {
    name: "COMMAND OR ARGUMENTS",
    about: "The command where no modes are configured, else the arguments of the mode's command",
    count: Count::Rest,
}];

const WAIT: &[Opt] = &[
    short('h', value("host", "HOST", "The host of a port to wait for, with --port, as wait-for-it has it")),
    short('p', value("port", "PORT", "The port of that host")),
    short(
        't',
        value(
            "timeout",
            "DURATION",
            "How long to wait at most, as 500ms or 5m, or a number of seconds; 0s asks each target once, 0 waits without an end [default: 60s]",
        ),
    ),
    value("try-timeout", "DURATION", "How long one try may take, as 500ms or 2s [default: 2s]"),
    value("interval", "DURATION", "The pause between two tries, as 100ms [default: 10ms at first, growing to 250ms]"),
    value(
        "stable",
        "DURATION",
        "For how long each target has to be ready without a break, as 5s; looked at every 1s or --interval; a lost session is a break [default: 0s]",
    ),
    flag("any", "Stop waiting as soon as one target is ready"),
    flag("json", "Print JSON in place of text: to standard output, with a COMMAND to standard error"),
    short('q', flag("quiet", "Say nothing of how the wait goes")),
    short('s', flag("strict", "Taken as wait-for-it has it, and always so: COMMAND never runs when the targets are not ready in time")),
    flag("fail-fast", "Give up at once on a wrong password, user or database"),
    value(
        "ca",
        "FILE",
        "The authorities (PEM) to trust for targets that speak TLS by their scheme, or a server's own certificate [default: the system's]",
    ),
    value("client-certificate", "FILE", "The certificate (PEM) to show to these targets [default: none]"),
    value("client-key", "FILE", "Its private key (PEM) [default: in the certificate's file]"),
    flag("insecure", "Take any certificate of these targets: whoever is in between can read along"),
];

const ORDER: &[Opt] = &[
    value("timeout", "DURATION", "How long to wait for the result, as 500ms or 2m; the order itself goes on after that [default: 60s]"),
    SOCKET,
    config("Take socket and token from the table `health` of this file [default: the file that `run` would take]"),
];

const MODULE: &[Positional] =
    &[Positional { name: "MODULE", about: "The module's name; NAME-0 is one of several instances, NAME all of them", count: Count::One }];

/// In a `HEALTHCHECK` that is put together of pieces, the last word wins.
const HEALTHCHECK: &[Opt] = &[
    values(
        "level",
        "LEVEL",
        "What to ask: live, ready, or deep, the dependencies included; where the unhealthy are killed, ready or live [default: deep]",
    ),
    values("timeout", "DURATION", "How long the answer may take, as 500ms or 3s [default: 3s]"),
    repeated(SOCKET),
    repeated(LISTEN),
    values("address", "ADDRESS", ""),
    repeated(config("Take socket and address from [health] of this file [default: the file that `run` would take]")),
];

const JSON: Opt = flag("json", "Print JSON in place of text");

const SOCKET: Opt =
    value("socket", "NAME", "Ask this unix socket: a path, or @name in the abstract namespace [default: as the configuration says]");

const LISTEN: Opt = value("listen", "ADDRESS", "Ask this address, as 127.0.0.1:8051 [default: as the configuration says]");

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
