//! Control requests over the unix socket: modules are started, stopped and restarted while the process runs, and who may request it.

mod reload;

use crate::support::child::polite;
use crate::support::http::ask;
use crate::support::portcullis::{Output, binary};
use crate::support::{Portcullis, Running, Stopwatch, chmod, eventually, executable, free_port, process, root, secs, wait};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A run of a main process with these further tables, and its configuration file.
fn run(tables: &str) -> (Running, PathBuf) {
    let run = Portcullis::new();
    let (child, path) = (run.script("child", &polite()), run.dir().join("portcullis.toml"));
    run.script("sleeper", &polite());
    let run = run.config(&config(&path, tables)).start();
    run.until_status("/readyz", 200, secs(20));
    run.until_stdout("ready", secs(20));
    assert!(process::command_line(run.child_pid("child")).contains(&child.display().to_string()));
    (run, path)
}

/// A configuration beside `path`; `@` in it stands for a sleeping program.
fn config(path: &std::path::Path, tables: &str) -> String {
    let dir = path.parent().unwrap().display().to_string();
    let tables = tables.replace('@', &format!("{dir}/sleeper"));
    format!("mode = \"api\"\n[modes.api]\ncommand = [\"{dir}/child\"]\n{tables}")
}

#[track_caller]
fn order(run: &Running, words: &[&str], code: i32, says: &str) -> Output {
    let output = run.beside(words.iter().copied());
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(said.contains(says), "{words:?} says, with {:?}:\n{said}\nand portcullis:\n{}", output.exit, run.streams().1);
    output.exits(code)
}

/// The pid that a sentence of success names.
fn pid(output: &Output) -> i32 {
    let digits = output.stdout.split("pid ").nth(1).unwrap_or_else(|| panic!("no pid in {output:?}"));
    digits.trim().parse().expect("a pid")
}

const ON_DEMAND: &str = "[modules.reports]\ncommand = [\"@\", \"reports\"]\nstart = \"on-demand\"\n";

#[test]
fn a_module_is_started_restarted_and_stopped_while_the_process_runs() {
    let (run, _) = run(ON_DEMAND);
    let main = run.child_pid("child");
    let first = pid(&order(&run, &["start", "reports"], 0, "module reports is up with pid "));
    assert!(process::command_line(first).contains("reports"));
    order(&run, &["start", "reports"], 0, &format!("module reports runs already with pid {first}"));
    let second = pid(&order(&run, &["restart", "reports"], 0, "module reports is up with pid "));
    assert!(second != first && !process::alive(first) && process::alive(second));
    order(&run, &["stop", "reports"], 0, "module reports is stopped");
    assert!(!process::alive(second));
    order(&run, &["stop", "reports"], 0, "module reports did not run");
    order(&run, &["start", "report"], 64, "there is no module `report`; did you mean `reports`?");
    assert_eq!(run.child_pid("child"), main);
    assert_eq!(run.get("/readyz").code, 200);
}

#[test]
fn a_module_that_does_not_come_up_is_reported_with_the_reason() {
    let tables = "[modules.gone]\ncommand = [\"/nowhere/gone\"]\nstart = \"on-demand\"\nrestart = \"never\"\n\
                  [modules.slow]\ncommand = [\"@\"]\nstart = \"on-demand\"\nstarted = { notify = true, within = \"60s\" }\n";
    let (run, _) = run(tables);
    order(&run, &["start", "gone"], 69, "module gone did not come up: cannot start /nowhere/gone: it was not found");
    order(&run, &["start", "slow", "--timeout", "200ms"], 69, "module slow is still starting; it continues");
    order(&run, &["stop", "slow"], 0, "module slow");
    assert_eq!(run.get("/readyz").code, 200);
}

#[test]
fn all_instances_of_a_module_are_ordered_by_its_name() {
    let (run, _) = run("[modules.executor]\ncommand = [\"@\"]\ninstances = 3\n");
    eventually("all are up", secs(20), || {
        let output = run.beside(["start", "executor"]);
        output.stdout.contains("3 of 3 modules are in the requested state").then_some(())
    });
    let before = order(&run, &["start", "executor-1"], 0, "module executor-1 runs already");
    let output = order(&run, &["restart", "executor"], 0, "3 of 3 modules are in the requested state");
    for name in ["executor-0", "executor-1", "executor-2"] {
        assert!(output.stdout.contains(&format!("\n  module {name} is up with pid ")), "{}", output.stdout);
    }
    assert!(!process::alive(pid(&before)));
}

#[test]
fn a_name_means_a_module_or_its_instances_and_nothing_that_looks_alike() {
    let (run, _) = run("[modules.web-1]\ncommand = [\"@\"]\n[modules.job]\ncommand = [\"@\"]\ninstances = 2\n\
                        [modules.job-7]\ncommand = [\"@\"]\n");
    for name in ["web-1", "job", "job-7"] {
        order(&run, &["start", name], 0, "");
    }
    order(&run, &["stop", "web"], 64, "there is no module `web`; did you mean `web-1`?");
    order(&run, &["stop", "job"], 0, "2 of 2 modules are in the requested state");
    for name in ["web-1", "job-7"] {
        order(&run, &["start", name], 0, &format!("module {name} runs already"));
    }
}

/// A connection on which this was sent.
fn sent(run: &Running, target: &str) -> UnixStream {
    let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(&run.socket).unwrap()).unwrap();
    stream.set_read_timeout(Some(secs(20))).unwrap();
    stream.write_all(format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// What comes next on a connection; nothing where it was closed, as one may be that was not heard yet when others came.
fn read(mut stream: &UnixStream) -> String {
    let mut bytes = [0; 1024];
    let length = stream.read(&mut bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

const SLOW: &str = "[modules.slow]\ncommand = [\"@\", \"slow\"]\nstarted = { notify = true, within = \"60s\" }\n";

#[test]
fn orders_that_wait_leave_room_for_health_questions() {
    let (run, _) = run(&format!("{SLOW}start = \"on-demand\"\n"));
    let waiting: Vec<UnixStream> = (0..64).map(|_| sent(&run, "/control/modules/slow/start?wait_ms=60000")).collect();
    for _ in 0..70 {
        assert_eq!(run.get_over_socket("/livez").code, 200);
    }
    let reported = read(&waiting[63]);
    assert!(
        reported.starts_with("HTTP/1.1 503 ") && reported.contains("\"exit\":69") && reported.contains("requests are already waited for"),
        "{reported}"
    );
    order(&run, &["restart", "slow"], 69, "too many requests are already waited for");
    order(&run, &["reload"], 0, "nothing has changed");
    order(&run, &["stop", "slow"], 0, "module slow");
    let ended: Vec<String> = waiting[..63].iter().map(read).collect();
    let reported = |words: &str| ended.iter().filter(|answer| answer.contains(words)).count();
    assert!(reported("module slow does not run: it has ended, or was stopped meanwhile") > 0, "{ended:?}");
    let more: Vec<UnixStream> = (0..64).map(|_| sent(&run, "/control/modules/slow/start?wait_ms=60000")).collect();
    let full = || run.beside(["restart", "slow", "--timeout", "100ms"]).stderr.contains("too many requests");
    eventually("no room is left", secs(20), || full().then_some(()));
    drop((waiting, more));
    eventually("who is gone leaves room", secs(20), || (!full()).then_some(()));
}

#[test]
fn a_request_behind_a_stopped_module_is_answered_at_once() {
    let tables = |word: &str| {
        format!("[modules.first]\ncommand = [\"@\", \"first\"]\n[modules.second]\ncommand = [\"@\", \"{word}\"]\nafter = [\"first\"]\n")
    };
    let (run, path) = run(&tables("before"));
    order(&run, &["start", "second"], 0, "module second");
    order(&run, &["stop", "first"], 0, "module first is stopped");
    std::fs::write(&path, config(&path, &tables("after"))).unwrap();
    let watch = Stopwatch::start();
    let words = "module second waits for module first, which does not run; it starts once `portcullis start first` has";
    order(&run, &["reload"], 69, words);
    order(&run, &["restart", "second"], 69, words);
    assert!(watch.elapsed() < secs(20), "{:?}", watch.elapsed());
    order(&run, &["start", "first"], 0, "module first is up");
    order(&run, &["start", "second"], 0, "module second");
    assert!(run.child_pid("after") > 0);
}

#[test]
fn a_module_whose_end_ends_the_run_is_reported_before() {
    let run = Portcullis::new();
    let child = run.script("child", "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done");
    let gone = "[modules.gone]\ncommand = [\"/nowhere/gone\"]\nstart = \"on-demand\"\non_exit = \"stop-all\"\n";
    let run = run.config(&format!("mode = \"api\"\n[modes.api]\ncommand = [\"{}\"]\n{gone}", child.display())).start();
    run.until_status("/readyz", 200, secs(20));
    let output = order(&run, &["start", "gone"], 69, "module gone did not come up: cannot start /nowhere/gone: it was not found");
    assert!(output.stderr.ends_with("; everything is stopped\n"), "{}", output.stderr);
}

#[test]
fn control_requests_need_modules_and_never_work_over_the_network() {
    let (plain, _) = run("");
    order(&plain, &["reload"], 69, "accepts no control requests: no modules are configured");
    drop(plain);
    let (run, _) = run(ON_DEMAND);
    for method in ["POST", "GET"] {
        assert_eq!(run.ask(method, "/control/modules/reports/start", "Content-Length: 0\r\n").code, 404);
    }
    order(&run, &["stop", "reports"], 0, "module reports did not run");
}

#[test]
fn orders_need_the_token_where_there_is_one() {
    let (run, path) = run(&format!("{ON_DEMAND}[health]\ntoken = \"open sesame\"\n"));
    order(&run, &["start", "reports"], 77, "control requests need the token of [health]");
    run.until_stderr("refused a control request of a client without the token of [health]", secs(20));
    order(&run, &["start", "reports", "-c", path.to_str().unwrap()], 0, "module reports is up");
}

#[test]
fn another_user_is_refused() {
    if !root("another_user_is_refused") {
        return;
    }
    let (run, path) = run(ON_DEMAND);
    chmod(path.parent().unwrap(), 0o755);
    let socket = format!("@{}", run.socket);
    // Where the binary lies need not be open to others; a copy beside the configuration is.
    let copy = executable(&path.with_file_name("portcullis"), std::fs::read(binary()).unwrap());
    let other = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(copy)
        .args(["start", "reports", "--socket", &socket])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(77), "{said}");
    assert!(said.contains("control requests are accepted only from root and portcullis' own user"), "{said}");
    run.until_stderr("refused a control request of user 65534", secs(20));
    assert!(run.get_over_socket("/livez").code == 200);
}

#[test]
fn no_control_request_is_accepted_during_the_stop() {
    let run = Portcullis::new();
    let child = run.script("child", &polite());
    let tables = format!("[process]\ndrain_delay = \"100s\"\n{}", ON_DEMAND.replace('@', "sleep"));
    let config = format!("mode = \"api\"\n[modes.api]\ncommand = [\"{}\"]\n{tables}", child.display());
    let mut run = run.config(&config).start();
    run.until_status("/readyz", 200, secs(20));
    run.until_stdout("ready", secs(20));
    run.signal(15);
    run.until_status("/readyz", 500, secs(20));
    order(&run, &["start", "reports"], 69, "nothing can be started any more: the phase is draining");
    order(&run, &["reload"], 69, "nothing can be started any more");
    run.signal(15);
    run.exits(0);
    run.leaves_nothing();
}

/// Requests without end from a thread of its own: how many were answered, and what went wrong.
struct Load {
    ended: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(port: u16) -> Self {
        let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let one = || {
            let (ended, answered) = (Arc::clone(&ended), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut wrong = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    match ask(port, "GET", "/livez", "") {
                        Ok(answer) if answer.code == 200 => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        other => wrong.push(format!("{other:?}")),
                    }
                }
                wrong
            })
        };
        let threads = vec![one(), one()];
        Self { ended, answered, threads }
    }

    /// Ends it; fails unless every request was answered.
    fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        let wrong: Vec<String> = self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(wrong.is_empty(), "{} requests went wrong, the first: {}", wrong.len(), wrong[0]);
        self.answered.load(Ordering::Relaxed)
    }
}

#[test]
fn hot_orders_and_reloads_drop_no_request_of_the_main_process() {
    // The main process is a real server: another portcullis, probed on its own port.
    let (run, port) = (Portcullis::new(), free_port());
    let path = run.dir().join("portcullis.toml");
    run.script("sleeper", &polite());
    let inner = format!(
        "cd /; exec env -u PORTCULLIS_CONFIG PORTCULLIS_HEALTH__LISTEN=127.0.0.1:{port} PORTCULLIS_HEALTH__SOCKET= {} run -- sleep 1000\n",
        binary().display()
    );
    run.script("child", &inner);
    let started = format!("[modes.api.started]\nurl = \"tcp://127.0.0.1:{port}\"\n");
    let tables = |hot: &str| format!("{started}{ON_DEMAND}{hot}");
    let run = run.config(&config(&path, &tables(""))).start();
    run.until_status("/readyz", 200, secs(20));
    let main = process::children(run.pid());
    assert_eq!(main.len(), 1);
    let load = Load::on(port);
    for turn in 0..5 {
        order(&run, &["start", "reports"], 0, "is up");
        order(&run, &["restart", "reports"], 0, "is up");
        let hot = format!("[modules.hot]\ncommand = [\"@\", \"{turn}\"]\n");
        std::fs::write(&path, config(&path, &tables(&hot))).unwrap();
        let words = if turn == 0 { "module hot added" } else { "module hot changed" };
        order(&run, &["reload"], 0, words);
        order(&run, &["stop", "reports"], 0, "is stopped");
    }
    std::fs::write(&path, config(&path, &tables(""))).unwrap();
    order(&run, &["reload"], 0, "module hot removed");
    let before = load.answered.load(Ordering::Relaxed);
    eventually("requests go on", secs(20), || (load.answered.load(Ordering::Relaxed) > before + 20).then_some(()));
    let answered = load.end();
    assert!(answered > 100, "only {answered} requests in all");
    assert_eq!(process::children(run.pid()), main, "the main process is the same, and nothing else is left");
}

#[test]
fn hostile_clients_disturb_neither_supervision_nor_orders() {
    let (mut run, _) = run(ON_DEMAND);
    let name = run.socket.clone();
    let connect = || UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name).unwrap());
    let ended = Arc::new(AtomicBool::new(false));
    let flood = {
        let (ended, name) = (Arc::clone(&ended), name.clone());
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            let pieces: [&[u8]; 5] = [
                b"",
                b"POST /control/modules/",
                b"\x00\xff\x16\x03 nonsense\r\n\r\n",
                b"POST /control/modules/../../reload/start HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
                b"POST /control/modules/x/start?wait_ms=99999999999999999999 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            ];
            for turn in 0.. {
                if ended.load(Ordering::Relaxed) {
                    return turn;
                }
                if let Ok(mut stream) = UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name).unwrap()) {
                    drop(stream.write_all(pieces[turn % pieces.len()]));
                    kept.push(stream);
                }
                if kept.len() > 500 {
                    kept.clear();
                }
            }
            0
        })
    };
    for _ in 0..10 {
        order(&run, &["start", "reports"], 0, "module reports");
        order(&run, &["stop", "reports"], 0, "module reports is stopped");
        assert_eq!(run.get("/livez").code, 200);
    }
    // An order of eight kibibytes and more is no order.
    let mut stream = connect().unwrap();
    drop(stream.write_all(format!("POST /control/modules/{}/start HTTP/1.1\r\n\r\n", "x".repeat(20_000)).as_bytes()));
    let watch = Stopwatch::start();
    run.signal(15);
    run.exits(0);
    assert!(watch.elapsed() < secs(5), "{:?}", watch.elapsed());
    ended.store(true, Ordering::Relaxed);
    assert!(flood.join().unwrap() > 100);
    wait::never("something is left", Duration::from_millis(50), || !run.descendants().is_empty());
}
