//! After a panic in any subsystem the process is still supervised: its signals are forwarded, its code is kept, the subsystem is restarted.
//!
//! The test starts itself once for each subsystem: with `PANICS_IN` it is a supervisor whose subsystem of that name panics first.
#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string
)]

mod support;

use portcullis::command::run::run;
use portcullis::config::source::Environment;
use portcullis::plan::resolve::RunOptions;
use portcullis::state::event::{Event, LockNews};
use portcullis::supervisor::background::Subsystems;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::child::talker;
use support::{Portcullis, Redis, Running, Stopwatch, secs, slow, variable};

/// Panics the first time, and says so when it begins again.
fn once(name: &str) {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    assert!(PANICKED.swap(true, Ordering::SeqCst), "the {name} panics");
    eprintln!("{name} again");
}

fn subsystems(failing: &str) -> Subsystems {
    let mut all = Subsystems::default();
    match failing {
        "prober" => {
            all.prober = |plan, orders, mailbox| {
                Box::pin(async move {
                    once("prober");
                    (Subsystems::default().prober)(plan, orders, mailbox).await;
                })
            }
        }
        "heartbeat" => {
            all.heartbeat = |context| {
                Box::pin(async move {
                    once("heartbeat");
                    (Subsystems::default().heartbeat)(context).await;
                })
            }
        }
        "heartbeat for a while" => {
            all.heartbeat = |context| {
                Box::pin(async move {
                    tokio::select! {
                        () = (Subsystems::default().heartbeat)(context) => {}
                        () = async {
                            while !fault().exists() {
                                tokio::time::sleep(Duration::from_millis(5)).await;
                            }
                        } => panic!("the heartbeat panics"),
                    }
                })
            }
        }
        "health" => {
            all.health = |listeners, plan, published, controller| {
                once("health");
                (Subsystems::default().health)(listeners, plan, published, controller)
            }
        }
        "stalled" => all.heartbeat = |_| Box::pin(async { hang() }),
        "stalled once" => {
            all.heartbeat = |context| {
                Box::pin(async move {
                    static HUNG: AtomicBool = AtomicBool::new(false);
                    if !HUNG.swap(true, Ordering::SeqCst) {
                        hang();
                    }
                    (Subsystems::default().heartbeat)(context).await;
                })
            }
        }
        "lock" => all.lock = |_, _, _, _| Box::pin(async { panic!("the lock panics") }),
        "held lock" => {
            all.lock = |_, _, mut orders, mailbox| {
                Box::pin(async move {
                    orders.recv().await;
                    mailbox.send(Event::Lock(LockNews::Held));
                    while !marker().exists() {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    panic!("the held lock panics");
                })
            }
        }
        other => panic!("no subsystem {other}"),
    }
    all
}

/// Never comes back.
fn hang() {
    loop {
        std::thread::park();
    }
}

/// As long as there is this file the heartbeat fails.
fn fault() -> std::path::PathBuf {
    variable("PORTCULLIS_CONFIG").map(std::path::PathBuf::from).unwrap().with_file_name("fault")
}

/// The file by which the migration says that it runs.
fn marker() -> std::path::PathBuf {
    variable("PORTCULLIS_CONFIG").map(std::path::PathBuf::from).unwrap().with_file_name("migrating")
}

fn start(failing: &str, config: &str, child: &str) -> Running {
    let new = Portcullis::new();
    let (child, migrate) =
        (new.script("child", child), new.script("migrate", "trap 'echo stopped; exit 9' TERM\n: > migrating\nsleep 1000 & wait\n"));
    let config = config.replace("CHILD", child.to_str().unwrap()).replace("MIGRATE", migrate.to_str().unwrap());
    let own = std::env::current_exe().unwrap();
    new.config(&config).env("PANICS_IN", failing).env("PORTCULLIS_INSTANCE_ID", "one").program(own).args(Vec::<String>::new()).start()
}

fn child_is_kept(failing: &str, more: &str, ready: &str) {
    let mut run = start(failing, &format!("{more}\n[modes.api]\ncommand = [\"CHILD\"]\n"), &talker(&[10], 7));
    run.until_stdout("ready", secs(20));
    run.until_stderr("failed (it panicked)", secs(20));
    run.signal(10);
    run.until_stdout("got 10", secs(20));
    run.until_stderr(&format!("{failing} again"), secs(20));
    run.until_status(ready, 200, secs(20));
    run.signal(15);
    run.exits(7);
    run.leaves_nothing();
    println!("test a_panic_of_the_{failing}_leaves_the_process_supervised ... ok");
}

/// Another thread takes the place of one that hangs: an orchestrator that watches /livez notices nothing.
fn a_stall_is_cured() {
    if !slow("a_thread_of_the_checks_that_hangs_once_is_replaced_and_livez_stays_200") {
        return;
    }
    let redis = Redis::start();
    let config = format!("[heartbeat]\nurl = \"redis://127.0.0.1:{}/0\"\n[modes.api]\ncommand = [\"CHILD\"]\n", redis.port);
    let mut run = start("stalled once", &config, &talker(&[10], 7));
    run.until_stdout("ready", secs(20));
    let watch = Stopwatch::start();
    while !run.streams().1.contains("the thread of the checks runs again") {
        assert_eq!(run.get("/livez").code, 200, "{}", run.streams().1);
        assert!(watch.elapsed() < secs(60), "{}", run.streams().1);
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let said = run.streams().1;
    assert_eq!(said.matches("it is replaced by a new thread").count(), 1, "{said}");
    run.until_status("/readyz", 200, secs(20));
    run.signal(15);
    run.exits(7);
    run.leaves_nothing();
    println!("test a_thread_of_the_checks_that_hangs_once_is_replaced_and_livez_stays_200 ... ok");
}

/// A task that never comes back holds up the thread of the checks, however often that is replaced, and nothing else.
fn a_stall_is_reported() {
    if !slow("a_thread_of_the_checks_that_hangs_every_time_fails_livez_and_nothing_else") {
        return;
    }
    let config = "[heartbeat]\nurl = \"redis://127.0.0.1:1/0\"\n[modes.api]\ncommand = [\"CHILD\"]\n";
    let mut run = start("stalled", config, &talker(&[10], 7));
    run.until_stdout("ready", secs(20));
    run.until_status("/livez", 200, secs(20));
    run.until_stderr("it is replaced by a new thread", secs(40));
    assert_eq!(run.get("/livez").code, 200);
    let reported = run.until_status("/livez", 500, secs(60));
    assert!(reported.body.contains("[-]scheduler failed"), "{}", reported.body);
    assert_eq!((run.get("/readyz").code, run.get("/startupz").code), (500, 200));
    run.signal(10);
    run.until_stdout("got 10", secs(20));
    run.signal(15);
    run.exits(7);
    run.leaves_nothing();
    println!("test a_thread_of_the_checks_that_hangs_every_time_fails_livez_and_nothing_else ... ok");
}

/// What a heartbeat has written is taken back at once when it fails, it is back within a beat, and a stop withdraws whatever fails.
fn a_heartbeat_that_fails_withdraws() {
    let redis = Redis::start();
    let config = format!(
        "service = \"api\"\n[heartbeat]\nurl = \"redis://127.0.0.1:{}/0\"\nevery = \"10s\"\n[modes.api]\ncommand = [\"CHILD\"]\n",
        redis.port
    );
    let mut run = start("heartbeat for a while", &config, &talker(&[10], 7));
    let fault = run.dir().join("fault");
    let ready = |expected: Option<&str>, within| {
        let watch = Stopwatch::start();
        while redis.get("api_service_status").as_deref() != expected {
            assert!(watch.elapsed() < within, "not {expected:?} within {within:?}: {}", run.streams().1);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    let state = || redis.command(&["HGET", "portcullis:{api_service_status}:i:one", "s"]);
    ready(Some("ready"), secs(30));
    for _ in 0..2 {
        std::fs::write(&fault, "").unwrap();
        // Far sooner than the next beat, and than the record's end.
        ready(None, secs(5));
        std::fs::remove_file(&fault).unwrap();
        ready(Some("ready"), secs(15));
    }
    std::fs::write(&fault, "").unwrap();
    ready(None, secs(5));
    run.signal(15);
    run.exits(7);
    assert_eq!(state(), support::redis::Reply::Text("STOPPED".into()), "{}", run.streams().1);
    assert_eq!(redis.command(&["ZCARD", "portcullis:{api_service_status}:all"]), support::redis::Reply::Number(0));
    let said = run.streams().1;
    assert!(said.contains("the heartbeat failed (it panicked); what it has written is withdrawn"), "{said}");
    run.leaves_nothing();
    println!("test a_heartbeat_that_fails_withdraws_and_is_back_within_a_beat ... ok");
}

fn lock_panics() {
    let config = "[migrations]\ncommand = [\"MIGRATE\"]\nlock = \"none\"\n[modes.api]\ncommand = [\"CHILD\"]\n";
    let mut run = start("lock", config, "echo started\n");
    run.exits(70);
    assert_eq!(run.streams().0, "", "nothing is started without the lock");
    let mut run = start("held lock", config, "echo started\n");
    run.exits(76);
    assert_eq!(run.streams().0, "stopped\n", "the migration is stopped, and nothing is started after it");
    run.leaves_nothing();
    println!("test a_panic_of_the_migration_lock_stops_the_migration ... ok");
}

fn main() -> ExitCode {
    if let Some(failing) = variable("PANICS_IN") {
        portcullis::sys::block_every_signal();
        return run(&RunOptions::default(), &Environment::of_process(), subsystems(failing.to_str().unwrap())).into();
    }
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let app = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let check = format!("[checks.app_port]\nurl = \"tcp://{}\"\nwait = \"0s\"\naffects = \"readiness\"\n", app.local_addr().unwrap());
    child_is_kept("prober", &check, "/readyz");
    let redis = Redis::start();
    child_is_kept("heartbeat", &format!("service = \"api\"\n[heartbeat]\nurl = \"redis://127.0.0.1:{}/0\"\n", redis.port), "/livez");
    a_heartbeat_that_fails_withdraws();
    child_is_kept("health", "", "/livez");
    lock_panics();
    a_stall_is_cured();
    a_stall_is_reported();
    ExitCode::SUCCESS
}
