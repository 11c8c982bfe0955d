//! `portcullis healthcheck`: one request, one line, 0 or 1, without any other requirement.

use crate::support::child::polite;
use crate::support::portcullis::{Output, binary};
use crate::support::{Exit, Http, Portcullis, Running, executable, free_port, left_out, root, secs};

fn ask(run: &Running, args: &[&str]) -> Output {
    let args = ["healthcheck"].into_iter().chain(args.iter().copied());
    run.beside(args)
}

#[track_caller]
fn one_line(output: &Output, code: i32) -> String {
    assert_eq!(output.exit, Exit::Code(code), "{output:?}");
    let said = output.stdout.clone() + &output.stderr;
    assert!(said.lines().count() == 1 && said.len() <= 512, "{said:?}");
    said
}

#[test]
fn it_follows_the_levels() {
    let http = Http::answering(200, "");
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let run = run.config(&format!(
        "mode = \"api\"\n[checks.web]\nurl = \"http://127.0.0.1:{}/\"\ninterval = \"200ms\"\nfailure_threshold = 2\n[modes.api]\ncommand = [\"{}\"]\n",
        http.port,
        child.display()
    ));
    let run = run.start();
    run.until_status("/healthz", 200, secs(20));
    for args in [&[][..], &["--level", "deep"], &["--level", "ready"], &["--level", "live"]] {
        one_line(&ask(&run, args), 0);
    }
    http.set(500, "");
    run.until_status("/healthz", 500, secs(20));
    assert!(one_line(&ask(&run, &[]), 1).contains("web"));
    one_line(&ask(&run, &["--level", "ready"]), 0);
    one_line(&ask(&run, &["--level", "live"]), 0);
}

#[test]
fn while_waiting_it_is_live_and_not_ready() {
    let run = Portcullis::new()
        .config(&format!("mode = \"api\"\n[checks.late]\nurl = \"tcp://127.0.0.1:{}\"\n[modes.api]\ncommand = [\"true\"]\n", free_port()));
    let run = run.start();
    run.until_status("/livez", 200, secs(20));
    one_line(&ask(&run, &["--level", "live"]), 0);
    one_line(&ask(&run, &["--level", "ready"]), 1);
    one_line(&ask(&run, &[]), 1);
}

#[test]
fn without_a_server_it_ends_with_1() {
    one_line(&Portcullis::new().args(["healthcheck"]).output(), 1);
}

#[test]
fn wrong_words_are_1_and_never_2() {
    assert_eq!(Portcullis::new().args(["healthcheck", "--level", "nosuch"]).output().exit, Exit::Code(1));
}

#[test]
fn a_server_that_does_not_answer_is_1_within_the_timeout() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let run = Portcullis::new().without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
    let run = run.env("PORTCULLIS_HEALTH__LISTEN", silent.local_addr().unwrap().to_string());
    let output = run.args(["healthcheck", "--timeout", "500ms"]).output();
    one_line(&output, 1);
    assert!(output.took < secs(5), "{:?}", output.took);
}

#[test]
fn it_finds_the_server_by_tcp_and_by_the_file() {
    let run = Portcullis::new().sh(&polite()).start();
    run.until_status("/healthz", 200, secs(20));
    let listen = format!("127.0.0.1:{}", run.port);
    let bare = || Portcullis::new().without("PORTCULLIS_HEALTH__LISTEN").without("PORTCULLIS_HEALTH__SOCKET");
    one_line(&bare().env("PORTCULLIS_HEALTH__LISTEN", &listen).args(["healthcheck"]).output(), 0);
    let file = format!("[health]\nlisten = \"{listen}\"\nsocket = \"@{}\"\n", run.socket);
    one_line(&bare().config(&file).args(["healthcheck"]).output(), 0);
    one_line(&bare().env("PORTCULLIS_HEALTH__SOCKET", format!("@{}", run.socket)).args(["healthcheck"]).output(), 0);
}

/// Whether the binary needs no loader: the programs of a scratch image have none.
pub fn is_static() -> bool {
    let bytes = std::fs::read(binary()).unwrap();
    let loaders: [&[u8]; 2] = [b"/lib64/ld-linux", b"/lib/ld-linux"];
    !loaders.iter().any(|loader| bytes.windows(loader.len()).any(|window| window == *loader))
}

#[test]
fn run_and_healthcheck_work_in_a_scratch_image() {
    let name = "run_and_healthcheck_work_in_a_scratch_image";
    if !root(name) {
        return;
    }
    if !is_static() {
        left_out(name, "needs the static binary; scripts/test builds it");
        return;
    }
    let run = Portcullis::new();
    let root = run.dir().join("root");
    std::fs::create_dir(&root).unwrap();
    executable(&root.join("portcullis"), std::fs::read(binary()).unwrap());
    let own = ["/portcullis", "run", "--", "/portcullis", "healthcheck", "--level", "live"];
    let chroot = root.display().to_string();
    let args: Vec<&str> = ["--fork", "--pid", "--kill-child", "--root", &chroot].into_iter().chain(own).collect();
    let output = through_unshare(run, &args);
    assert_eq!(output.exit, Exit::Code(0), "{output:?}");
}

fn through_unshare(run: Portcullis, args: &[&str]) -> Output {
    run.program("unshare").args(args.iter().copied()).output()
}
