//! Other processes in the network namespace, to which abstract sockets belong: one that takes our name first, and one that only looks like
//! us.

use crate::support::child::polite;
use crate::support::portcullis::binary;
use crate::support::{Dir, Portcullis, chmod, eventually, executable, root, secs, unique};
use std::process::{Child, Command, Stdio};

/// Another process that has taken this abstract name and answers everything with 200; what it receives is written to the file.
struct Squatter(Child, Dir);

impl Squatter {
    fn on(name: &str) -> Self {
        let script = r#"socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("\0$ARGV[0]")) or die; listen(S, 9); $| = 1; $SIG{PIPE} = 'IGNORE'; print "bound\n";
            while (accept(C, S)) { sysread(C, $b, 4096); print "heard <$b>\n"; syswrite(C, "HTTP/1.1 200 OK\r\n\r\n{\"exit\":0,\"sentence\":\"x\"}"); close C }"#;
        let dir = Dir::new();
        let received = std::fs::File::create(dir.path().join("heard")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=12345", "--regid=12345", "--clear-groups", "perl", "-MSocket", "-e", script, name]);
        let squatter = Self(command.stdin(Stdio::null()).stdout(received).spawn().expect("start perl"), dir);
        eventually("the name is taken", secs(20), || squatter.received().contains("bound").then_some(()));
        squatter
    }

    fn received(&self) -> String {
        std::fs::read_to_string(self.1.path().join("heard")).unwrap()
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_process_that_takes_the_socket_first_gets_nothing_and_is_not_trusted() {
    if !root("a_process_that_takes_the_socket_first_gets_nothing_and_is_not_trusted") {
        return;
    }
    let name = unique("squatted");
    let squatter = Squatter::on(&name);
    let socket = format!("@{name}");
    let held = "held by user 12345";
    let config = format!("[health]\nlisten = \"\"\nsocket = \"{socket}\"\ntoken = \"t0ken\"\n[modules.m]\ncommand = [\"true\"]\n");
    let asks = |words: &[&str]| Portcullis::new().config(&config).args(words.iter().copied()).output();
    let healthcheck = asks(&["healthcheck", "--socket", &socket]).exits(1);
    assert!(healthcheck.stdout.contains(held), "{healthcheck:?}");
    asks(&["status", "--socket", &socket]).exits(69).says(&[held]);
    for words in [&["start", "m"][..], &["stop", "m"], &["restart", "m"], &["reload"]] {
        asks(&[words, &["--socket", &socket]].concat()).exits(69).says(&[held]);
    }
    let received = squatter.received();
    assert!(!["GET", "POST", "t0ken"].iter().any(|word| received.contains(word)), "{received}");
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let config = format!("mode = \"api\"\n[modes.api]\ncommand = [\"{}\"]\n[health]\nsocket = \"{socket}\"\n", child.display());
    run.config(&config)
        .env("PORTCULLIS_HEALTH__SOCKET", &socket)
        .args(["run"])
        .output()
        .exits(78)
        .says(&[&format!("user 12345 (process {}) already listens there", squatter.0.id())]);
}

#[test]
fn a_peer_that_only_appears_as_our_user_cannot_send_control_requests() {
    if !root("a_peer_that_only_appears_as_our_user_cannot_send_control_requests") {
        return;
    }
    let run = Portcullis::new().through("unshare --user --map-user=65534 --map-group=65534");
    let child = run.script("child", &polite());
    let dir = run.dir().to_owned();
    chmod(&dir, 0o755);
    let copy = executable(&dir.join("portcullis"), std::fs::read(binary()).unwrap());
    let module = "[modules.m]\ncommand = [\"sleep\", \"1000\"]\nstart = \"on-demand\"\n";
    let run = run.config(&format!("mode = \"api\"\n[modes.api]\ncommand = [\"{}\"]\n{module}", child.display())).start();
    run.until_status("/readyz", 200, secs(20));
    let socket = format!("@{}", run.socket);
    let other = Command::new("setpriv")
        .args(["--reuid=12345", "--regid=12345", "--clear-groups"])
        .arg(copy)
        .args(["start", "m", "--socket", &socket])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(77), "{said}{}", run.streams().1);
    assert!(!run.get_over_socket("/status?verbose").body.contains(&dir.display().to_string()));
}
