//! `start = "first"` and `after` of the process: a proxy that the checks use is up before them, and ends after everything else.

use super::{end, lines, run, up};
use crate::support::{Portcullis, Postgres, Stopwatch, free_port, process, secs, wait};
use std::time::Duration;

/// A TCP proxy as Cloud SQL's: it listens late, says so, and goes with TERM.
const PROXY: &str = r#"#!/usr/bin/perl
use strict; use IO::Socket::INET; use IO::Select;
my ($port, $target, $wait) = @ARGV;
$| = 1;
$SIG{TERM} = sub { print "end proxy\n"; exit 0 };
$SIG{CHLD} = 'IGNORE';
print "begin proxy\n";
select undef, undef, undef, $wait;
my $server = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', LocalPort => $port, ReuseAddr => 1) or die "listen: $@";
print "proxy is ready for new connections\n";
while (1) {
    my $client = $server->accept or next;
    my $server_side = IO::Socket::INET->new("127.0.0.1:$target") or next;
    next if fork;
    $SIG{TERM} = 'DEFAULT';
    my %other = ($client => $server_side, $server_side => $client);
    my $both = IO::Select->new($client, $server_side);
    while (my @ready = $both->can_read) {
        for my $from (@ready) {
            sysread($from, my $bytes, 65536) or exit;
            syswrite($other{$from}, $bytes);
        }
    }
}
"#;

fn script(run: &Portcullis, name: &str, text: &str) -> String {
    crate::support::executable(&run.dir().join(name), text).display().to_string()
}

/// A service whose only way to its database is the proxy at this port; its migration and its process say when they run.
fn service(run: &Portcullis, postgres: &Postgres, port: u16, proxy: &str) -> String {
    let main = "#!/bin/sh\ntrap 'echo end main; exit 0' TERM\necho begin main\nwhile :; do sleep 0.02; done\n";
    let (main, program) = (script(run, "main", main), script(run, "proxy", PROXY));
    let url = postgres.url().replace(&format!(":{}/", postgres.port), &format!(":{port}/"));
    format!(
        "mode = \"${{MODE:-api}}\"\n[checks.db]\nurl = \"{url}\"\nwait = \"3s\"\n[migrations]\nenabled = true\ncommand = [\"echo\", \"migrated\"]\n\
         [modes.api]\ncommand = [\"{main}\"]\n[modes.migrate]\ncommand = []\n\
         [modules.proxy]\ncommand = [\"{program}\", \"{port}\", \"{}\", \"0.7\"]\nstarted = {{ line = \"ready for new connections\" }}\n{proxy}",
        postgres.port
    )
}

#[test]
fn the_checks_go_through_a_module_that_comes_first_and_is_stopped_last() {
    let postgres = Postgres::start();
    let (run, port) = (Portcullis::new(), free_port());
    let config = service(&run, &postgres, port, "start = \"first\"\n");
    let mut run = run.config(&config).start();
    run.until_stdout("begin main", secs(30));
    run.until_status("/readyz", 200, secs(20));
    assert_eq!(
        lines(&run, &["begin", "proxy", "migrated"]),
        ["begin proxy", "proxy is ready for new connections", "migrated", "begin main"]
    );
    let log = run.streams().1;
    assert!(!log.contains("db is not ready"), "the database is not probed before the proxy is up:\n{log}");
    let status = run.get("/status?verbose").body;
    assert!(status.find("module:proxy") < status.find("wait:db"), "{status}");
    run.signal(15);
    run.exits(0);
    assert_eq!(lines(&run, &["end"]), ["end main", "end proxy"]);
    run.leaves_nothing();
}

#[test]
fn without_that_the_start_fails_because_the_proxy_is_missing() {
    let postgres = Postgres::start();
    let (run, port) = (Portcullis::new(), free_port());
    let config = service(&run, &postgres, port, "");
    let mut run = run.config(&config).start();
    run.exits(69);
    assert!(run.streams().1.contains("db (postgres://") && !run.streams().0.contains("begin proxy"), "{:?}", run.streams());
}

#[test]
fn a_mode_that_only_migrates_has_the_proxy_and_ends() {
    let postgres = Postgres::start();
    let (run, port) = (Portcullis::new(), free_port());
    let config = service(&run, &postgres, port, "start = \"first\"\n[modules.beside]\ncommand = [\"echo\", \"${UNSET_HERE}\"]\n");
    let output = run.config(&config).env("MODE", "migrate").output().exits(0);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines, ["begin proxy", "proxy is ready for new connections", "migrated", "end proxy"]);
}

#[test]
fn a_start_ends_with_what_keeps_a_needed_module_from_starting() {
    let config = |proxy: &str| {
        format!(
            "[checks.db]\nurl = \"tcp://127.0.0.1:9\"\nwait = \"60s\"\n[modes.api]\ncommand = [\"echo\", \"main\"]\n[modules.proxy]\n{proxy}\nstart = \"first\"\n"
        )
    };
    let sh = |script: &str| {
        format!("command = [\"sh\", \"-c\", \"{script}\"]\nstarted = {{ line = \"ready\", within = \"500ms\" }}\nrestart_delay = \"10ms\"")
    };
    for (proxy, code, words) in [
        ("command = [\"no-such-proxy\"]".to_owned(), 127, "cannot start no-such-proxy, the program of the module proxy: it was not found"),
        (sh("exit 3") + "\nrestart = \"never\"", 3, "the start needs module proxy: it ended with status 3"),
        (sh("echo try; exit 3") + "\nrestart_limit = 2", 3, "`restart_limit` allows 2 restarts in a row"),
        (sh("exec sleep 1000") + "\nrestart = \"never\"", 69, "the start needs module proxy: its startup check did not pass within 500ms"),
    ] {
        let output = Portcullis::new().config(&config(&proxy)).output().exits(code);
        assert!(output.stderr.contains(words), "{proxy}: {}", output.stderr);
        assert!(!output.stdout.contains("main"), "{}", output.stdout);
        assert_eq!(output.stdout.matches("try").count(), if words.contains("limit") { 3 } else { 0 });
    }
}

#[test]
fn term_while_it_starts_ends_both() {
    let proxy = "[modules.proxy]\ncommand = [\"@\", \"proxy\"]\nstart = \"first\"\nstarted = { url = \"file://DIR/proxy.up\" }\n";
    let mut run = run(proxy);
    run.until_stdout("begin proxy", secs(20));
    wait::never("the process starts", Duration::from_millis(200), || run.streams().0.contains("begin main"));
    run.signal(15);
    run.exits(143);
    assert_eq!(lines(&run, &["begin", "end"]), ["begin proxy", "end proxy"]);
    run.leaves_nothing();
}

#[test]
fn it_outlives_modules_and_workers_and_a_process_that_dies() {
    let proxy = "[modules.proxy]\ncommand = [\"@\", \"proxy\"]\nstart = \"first\"\n[modules.beat]\ncommand = [\"@\", \"beat\", \"0.4\"]\n";
    let mut run = run(proxy);
    run.until_stdout("begin beat", secs(20));
    run.until_stdout("begin main", secs(20));
    end(&run, "main", 5);
    run.exits(5);
    assert_eq!(lines(&run, &["dies", "end"]), ["dies main", "end beat", "end proxy"]);
}

#[test]
fn a_first_module_that_ignores_term_is_killed_within_the_stop() {
    let deaf = "[process]\nstop_timeout = \"2s\"\n[modules.proxy]\ncommand = [\"sh\", \"-c\", \"trap '' TERM; echo begin deaf; while :; do sleep 0.1; done\"]\nstart = \"first\"\n";
    let mut run = run(deaf);
    run.until_stdout("begin main", secs(20));
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(0);
    assert!(watch.elapsed() >= secs(1) && watch.elapsed() < secs(8), "{:?}", watch.elapsed());
    run.leaves_nothing();
}

#[test]
fn the_process_waits_for_the_modules_that_it_comes_after_in_each_start() {
    let module = "after = [\"proxy\"]\n[modules.proxy]\ncommand = [\"@\", \"proxy\"]\nstarted = { url = \"file://DIR/proxy.up\" }\n\
                  restart = \"always\"\nrestart_delay = \"10ms\"\n[process]\nrestart = \"always\"\nrestart_delay = \"10ms\"\n";
    let run = run(module);
    run.until_stdout("begin proxy", secs(20));
    wait::never("the process starts", Duration::from_millis(200), || run.streams().0.contains("begin main"));
    up(&run, "proxy");
    run.until_stdout("begin main", secs(20));
    std::fs::remove_file(run.dir().join("proxy.up")).unwrap();
    end(&run, "proxy", 3);
    run.until_stdout("dies proxy\nbegin proxy", secs(20));
    end(&run, "main", 3);
    run.until_stdout("dies main", secs(20));
    wait::never("the process starts", Duration::from_millis(300), || lines(&run, &["begin main"]).len() > 1);
    up(&run, "proxy");
    run.until_stdout("dies main\nbegin main", secs(20));
    assert!(process::alive(run.child_pid("child main")));
}

#[test]
fn messages_in_a_wrong_order_are_refused() {
    let base = "[modes.api]\ncommand = [\"true\"]\n";
    for (toml, words) in [
        (
            "after = [\"prxy\"]\n[modules.proxy]\ncommand = [\"x\"]\n",
            "`after` in [modes.api] names the unknown module `prxy`; did you mean `proxy`?",
        ),
        ("after = [\"proxy\"]\n", "`after` in [modes.api] names the unknown module `proxy`"),
        ("after = [\"m\"]\n[modules.m]\ncommand = [\"x\"]\nstart = \"on-demand\"\n", "names `m`, which is started only on demand"),
        (
            "after = [\"m\"]\n[modules.m]\ncommand = [\"x\"]\nafter = [\"n\"]\n[modules.n]\ncommand = [\"x\"]\nafter = [\"main\"]\n",
            "names `m`, which itself comes after the process",
        ),
        (
            "[modules.m]\ncommand = [\"x\"]\nstart = \"first\"\nafter = [\"main\"]\n",
            "`after` in [modules.m] names `main`, which is started later",
        ),
        (
            "[modules.m]\ncommand = [\"x\"]\nstart = \"first\"\nafter = [\"n\"]\n[modules.n]\ncommand = [\"x\"]\n",
            "`after` in [modules.m] names `n`, which is started later",
        ),
    ] {
        let output = Portcullis::new().config(&format!("{base}{toml}")).args(["plan"]).output().exits(78);
        assert_eq!(output.stderr.matches(words).count(), 1, "{toml}: {}", output.stderr);
    }
    let toml = format!("{base}after = [\"proxy\"]\n[modules.proxy]\ncommand = [\"x\"]\nstart = \"first\"\n");
    let output = Portcullis::new().config(&toml).args(["plan"]).output().exits(0);
    assert!(
        output.stdout.contains("start once proxy is up: true") && output.stdout.contains("before everything else start the module proxy"),
        "{}",
        output.stdout
    );
    assert!(output.stdout.contains("module proxy comes before the waits and has no startup check"), "{}", output.stdout);
}
