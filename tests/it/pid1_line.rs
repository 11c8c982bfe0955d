//! `started = { line = ... }`: a line in the output makes the process ready, and its output is passed on unchanged.

use crate::support::child::talker;
use crate::support::{Portcullis, Running, process, secs, wait};
use std::io::Read;
use std::time::Duration;

/// A run of this script that is ready by a line with `Listening at`.
fn listening(more: &str, script: &str) -> Running {
    let run = Portcullis::new();
    let child = run.script("child", script);
    run.config(&config(&child.display().to_string(), more)).start()
}

fn config(child: &str, more: &str) -> String {
    format!("service = \"api\"\n[modes.api]\ncommand = [\"{child}\"]\nstarted = {{ line = \"Listening at\", within = \"60s\" }}\n{more}")
}

const PREFIX: &str = "[process]\noutput = \"prefix\"\n";

#[test]
fn a_line_of_either_stream_makes_it_ready_however_it_is_cut_and_however_long_it_is() {
    let long = "head -c 300000 /dev/zero | tr '\\0' x";
    for more in ["", PREFIX] {
        for (words, stream) in [
            ("printf '[1] Liste'; sleep 0.2; printf 'ning at 80'", ""),
            ("echo Listening; echo at; echo 'INFO Listening at 80'", " >&2"),
            (&format!("{{ {long}; echo ' Listening at 80'; }}"), ""),
        ] {
            let script =
                talker(&[], 3).replace("echo ready", &format!("trap \"{{ {words}; }}{stream}\" USR1; echo 'Listening on'; echo waiting"));
            let mut run = listening(more, &script);
            run.until_stdout("waiting", secs(20));
            wait::never("it is ready before", Duration::from_millis(200), || run.get("/readyz").code == 200);
            run.signal(10);
            run.until_status("/readyz", 200, secs(20));
            run.signal(15);
            run.exits(3);
        }
    }
}

#[test]
fn output_is_passed_on_unchanged() {
    let (mut reading, writing) = std::io::pipe().unwrap();
    let run = Portcullis::new().stdout_to(writing);
    let mut bytes: Vec<u8> = (0..3_000_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    bytes.extend(b"no end");
    std::fs::write(run.dir().join("bytes"), &bytes).unwrap();
    let child = run.script("child", &format!("printf Listening; printf ' at 80'; cat {}/bytes; exit 5\n", run.dir().display()));
    let mut run = run.config(&config(&child.display().to_string(), "")).start();
    let mut found = Vec::new();
    reading.read_to_end(&mut found).unwrap();
    run.exits(5);
    assert!(found.strip_prefix(b"Listening at 80") == Some(&bytes), "{} bytes of {}", found.len(), bytes.len() + 15);
}

#[test]
fn a_process_that_never_writes_it_has_failed_its_start() {
    let run = Portcullis::new();
    let child = run.script("child", &talker(&[], 3));
    let config = config(&child.display().to_string(), "").replace("60s", "300ms");
    let mut run = run.config(&config).start();
    run.exits(69);
    run.until_stderr("startup check did not pass within 300ms: its output had no line with `Listening at`; check its output", secs(5));
    run.leaves_nothing();
}

#[test]
fn each_start_is_known_by_its_own_output() {
    let script = "cd \"${0%/*}\"\nif [ -e second ]; then echo again; until [ -e go ]; do sleep 0.02; done; fi\ntouch second\n\
                  echo Listening at 80\nuntil [ -e die ]; do sleep 0.02; done\nrm die\nexit 1\n";
    let run = listening("[process]\nrestart = \"on-failure\"\nrestart_delay = \"10ms\"\n", script);
    run.until_status("/readyz", 200, secs(20));
    std::fs::write(run.dir().join("die"), "").unwrap();
    run.until_stdout("again", secs(20));
    wait::never("the second one is ready", Duration::from_millis(300), || run.get("/readyz").code == 200);
    std::fs::write(run.dir().join("go"), "").unwrap();
    run.until_status("/readyz", 200, secs(20));
}

#[test]
fn a_module_is_known_by_its_output_and_others_wait_for_it() {
    let run = Portcullis::new();
    let main = run.script("main", "echo main; exec sleep 1000\n");
    let script = "cd \"${0%/*}\"; echo begun; until [ -e go ]; do sleep 0.02; done; echo proxy is up >&2; exec sleep 1000\n";
    let proxy = run.script("proxy", script);
    let config = format!(
        "mode = \"api\"\n[modes.api]\ncommand = [\"{}\"]\n[modules.proxy]\ncommand = [\"{}\"]\nstarted = {{ line = \"is up\" }}\n\
         [modules.next]\ncommand = [\"sh\", \"-c\", \"echo next; exec sleep 1000\"]\nafter = [\"proxy\"]\n",
        main.display(),
        proxy.display()
    );
    let run = run.config(&config).start();
    run.until_stdout("begun", secs(20));
    wait::never("it is up", Duration::from_millis(200), || run.streams().0.contains("next"));
    std::fs::write(run.dir().join("go"), "").unwrap();
    run.until_stdout("next", secs(20));
    run.until_stderr("proxy is up\n", secs(20));
}

#[test]
fn on_a_terminal_the_process_has_pipes_and_that_is_reported() {
    let (run, terminal) = Portcullis::new().on_terminal();
    let child = run.script("child", "[ -t 0 ] && ! [ -t 1 ] && ! [ -t 2 ] && echo Listening at 80; exec sleep 1000\n");
    let mut run = run.config(&config(&child.display().to_string(), "")).env("TERM", "dumb").start();
    terminal.until("pipes instead of the terminal", secs(20));
    terminal.until("Listening at 80", secs(20));
    run.until_status("/readyz", 200, secs(20));
    process::send(run.pid(), 15);
    run.exits(143);
}

#[test]
fn the_start_is_known_in_one_way() {
    for (keys, words) in [
        ("line = \"up\", notify = true", "`line` in [modes.api.started] excludes `notify`"),
        ("line = \"up\", url = \"tcp://x:1\"", "`url` in [modes.api.started] excludes `line`"),
        ("notify = true, port = 80", "`port` in [modes.api.started] excludes `notify`"),
        ("notify_fd = 3, timeout = \"1s\"", "`timeout` in [modes.api.started] excludes `notify_fd`"),
        ("line = \"\"", "`line` in [modes.api.started] is empty"),
        ("line = \"a\\nb\"", "`line` in [modes.api.started] has more than one line"),
    ] {
        let toml = format!("[modes.api]\ncommand = [\"true\"]\nstarted = {{ {keys} }}\n");
        let output = Portcullis::new().config(&toml).args(["plan"]).output().exits(78);
        assert!(output.stderr.contains(words), "{keys}: {}", output.stderr);
        assert_eq!(output.stderr.matches("[modes.api.started]").count(), 1, "{}", output.stderr);
    }
    let toml = "[modes.api]\ncommand = [\"true\"]\nstarted = { line = \"up on ${PORT}\" }\n";
    let output = Portcullis::new().config(toml).env("PORT", "80").args(["plan"]).output().exits(0);
    assert!(output.stdout.contains("its output has a line with `up on 80`"), "{}", output.stdout);
}
