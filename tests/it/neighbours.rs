//! What other programs see of portcullis: the processes that it starts, the file of its socket, and the terminals of people.

use crate::support::child::polite;
use crate::support::hostile::{Hostile, Manner};
use crate::support::{Portcullis, eventually, secs};
use nix::libc::{SIGKILL, SIGTERM};

#[test]
fn its_own_secrets_are_not_passed_on() {
    let reported = Portcullis::new()
        .env("PORTCULLIS_HEALTH__TOKEN", "of-portcullis-own")
        .env("PORTCULLIS_CHECKS__WEB__URL", "http://me:of-portcullis-own@127.0.0.1:1/")
        .env("PORTCULLIS_CHECKS__WEB__WAIT", "0s")
        .env("APP_TOKEN", "of-the-application")
        .sh("env")
        .output()
        .exits(0);
    assert!(
        reported.stdout.contains("APP_TOKEN=of-the-application") && reported.stdout.contains("PORTCULLIS_CHECKS__WEB__WAIT=0s"),
        "{reported:?}"
    );
    assert!(!reported.stdout.contains("of-portcullis-own"), "{reported:?}");
}

#[test]
fn the_sockets_file_is_removed_at_the_end_and_a_stale_one_is_replaced() {
    let run = || {
        let run = Portcullis::new().without("PORTCULLIS_HEALTH__SOCKET");
        let path = run.dir().join("health.sock");
        (run.env("PORTCULLIS_HEALTH__SOCKET", &path).sh(&polite()), path)
    };
    let (first, path) = run();
    let mut first = first.start();
    first.until_status("/readyz", 200, secs(20));
    first.until_stdout("ready", secs(20));
    assert!(path.exists());
    first.signal(SIGTERM);
    first.exits(0);
    assert!(!path.exists(), "it is removed at the end");

    let (killed, path) = run();
    let mut killed = killed.start();
    killed.until_status("/readyz", 200, secs(20));
    killed.signal(SIGKILL);
    killed.wait_exit(secs(20));
    assert!(path.exists(), "no process has removed it");
    let next = Portcullis::new().without("PORTCULLIS_HEALTH__SOCKET").env("PORTCULLIS_HEALTH__SOCKET", &path).sh("exit 5");
    next.output().exits(5);
    assert!(!path.exists());
}

#[test]
fn the_text_of_a_server_cannot_control_the_terminal() {
    let words = b"-ERR \x1b[2J\x1b]0;title\x07 gone\xc2\x9b31m\r\n";
    let server = Hostile::new(Manner::Dripping(words));
    let url = format!("redis://127.0.0.1:{}/0", server.port);
    let reported = Portcullis::new().args(["wait", "--timeout", "1s", &url]).output().exits(69).says(&["\\u001b[2J", "\\u009b31m"]);
    let as_json = Portcullis::new().args(["wait", "--json", "--timeout", "1s", &url]).output().exits(69);
    let run =
        Portcullis::new().env("PORTCULLIS_CHECKS__CACHE__URL", &*url).env("PORTCULLIS_CHECKS__CACHE__WAIT", "0s").sh(&polite()).start();
    run.until_status("/healthz", 500, secs(20));
    // It is not healthy from the first moment on, and the server's words come with its first answer.
    let status = eventually("both tell the server's words", secs(20), || {
        let status = [run.beside(["status"]), run.beside(["status", "--json"])];
        status.iter().all(|reported| reported.stdout.contains("u001b[2J")).then_some(status)
    });
    let (_, log) = run.streams();
    for text in [&reported.stderr, &as_json.stdout, &status[0].stdout, &status[1].stdout, &log] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}
