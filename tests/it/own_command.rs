//! `run --exec`: an ad-hoc command in the environment of the service, without any sign that the service runs.

use crate::support::{Portcullis, Redis, Running, eventually, free_port, process, root, secs, wait};
use std::net::TcpListener;
use std::time::Duration;

/// A service with a migration, a heartbeat and a startup check; its check's target is the port, which is waited for in vain for 40 s.
fn service(port: u16) -> String {
    format!(
        "[env]\nCOMMON = \"of all\"\n[checks.target]\nurl = \"tcp://127.0.0.1:{port}\"\nwait = \"40s\"\n\
         [migrations]\nenabled = true\ncommand = [\"touch\", \"migrated\"]\nlock = \"none\"\n\
         [process]\nrestart = \"always\"\noutput = \"prefix\"\ndrain_delay = \"30s\"\nsuccess_codes = [7]\n\
         [modes.api]\ncommand = [\"${{MISSING:?needed by the service alone}}\"]\numask = \"0027\"\nworking_directory = \"below\"\n\
         started = {{ url = \"tcp://127.0.0.1:{port}\", within = \"40s\" }}\nenv = {{ OWN = \"of the mode\" }}\n\
         [modes.other]\ncommand = [\"true\"]\nenv = {{ OWN = \"of another\" }}\n"
    )
}

fn own_run(port: u16) -> Portcullis {
    let run = Portcullis::new().config(&service(port)).env("MODE", "api");
    std::fs::create_dir(run.dir().join("below")).unwrap();
    run
}

fn exec(run: Portcullis, script: &str) -> Portcullis {
    run.args(["run", "--exec", "--", "bash", "-c", script])
}

#[test]
fn it_has_the_surroundings_of_the_mode_and_nothing_of_the_service() {
    let redis = Redis::start();
    let heartbeat = format!("{}[heartbeat]\nurl = \"{}\"\n", service(free_port()), redis.url());
    let run = Portcullis::new().config(&heartbeat).env("MODE", "api");
    std::fs::create_dir(run.dir().join("below")).unwrap();
    let dir = run.dir().to_owned();
    let mut run =
        exec(run, "echo \"$COMMON, $OWN\"; umask; pwd; trap 'exit 7' TERM USR1; echo ready; while :; do sleep 0.05; done").start();
    run.until_stdout("ready", secs(20));
    assert_eq!(run.streams().0, format!("of all, of the mode\n0027\n{}\nready\n", dir.join("below").display()));
    wait::never("a key is written", Duration::from_millis(500), || redis.get("api_service_status").is_some());
    assert!(std::net::TcpStream::connect(("127.0.0.1", run.port)).is_err(), "the health endpoint listens");
    assert!(!dir.join("migrated").exists());
    // Neither drained, nor called a success, nor started again.
    run.signal(15);
    assert!(run.ends_within(secs(10)));
    run.exits(7);
    let said = run.streams().1;
    assert!(said.contains("ad-hoc command") && !said.contains("traffic"), "{said}");
}

#[test]
fn signals_and_the_user_are_those_of_the_mode() {
    if !root("signals_and_the_user_are_those_of_the_mode") {
        return;
    }
    let config = "[modes.api]\ncommand = [\"true\"]\nuser = \"nobody\"\nrewrite = { USR1 = \"USR2\" }\n";
    let run = Portcullis::new().config(config).env("MODE", "api");
    let mut run = exec(run, "id -un; trap 'echo rewritten; exit 4' USR2; echo ready; while :; do sleep 0.05; done").start();
    run.until_stdout("nobody\nready", secs(20));
    run.signal(10);
    run.exits(4);
}

#[test]
fn it_waits_for_the_checks_only_if_requested() {
    let port = free_port();
    for ask in [&["run", "--exec", "--wait", "--", "echo", "after"][..], &["run", "--", "echo", "after"]] {
        let mut run = own_run(port).env("PORTCULLIS_EXEC", if ask.len() == 4 { "wait" } else { "" }).args(ask).start();
        run.until_stderr("target is not ready", secs(20));
        assert_eq!(run.streams().0, "");
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        run.exits(0);
        assert_eq!(run.streams().0, "after\n");
        drop(listener);
    }
    assert_eq!(own_run(port).args(["run", "--exec", "--", "echo", "at once"]).output().exits(0).stdout, "at once\n");
    own_run(port).args(["run", "--wait", "--", "true"]).output().exits(64).says(&["--exec"]);
}

#[test]
fn once_the_wait_is_over_nothing_is_probed_any_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = format!("[checks.target]\nurl = \"tcp://127.0.0.1:{port}\"\nwait = \"40s\"\ninterval = \"100ms\"\n");
    let run = Portcullis::new().config(&config);
    let mut run = run.args(["run", "--exec", "--wait", "--", "sh", "-c", "echo ready; exec sleep 1000"]).start();
    run.until_stdout("ready", secs(20));
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    wait::never("it is probed again", Duration::from_millis(700), || listener.accept().is_ok());
    run.signal(15);
    run.exits(143);
}

#[test]
fn a_variable_enables_it_and_is_not_passed_on() {
    for word in ["true", "YES", "1", "on"] {
        let run = own_run(free_port()).env("PORTCULLIS_EXEC", word).command(["sh", "-c", "echo \"[$PORTCULLIS_EXEC] $OWN\""]);
        assert_eq!(run.output().exits(0).stdout, "[] of the mode\n", "{word}");
    }
    let plan = own_run(free_port()).env("PORTCULLIS_EXEC", "true").args(["plan", "--", "sh"]).output().exits(0).stdout;
    for word in ["ad-hoc command", "removes PORTCULLIS_EXEC", "no health endpoint"] {
        assert!(plan.contains(word), "{word} is not in\n{plan}");
    }
    assert!(!plan.contains("write the heartbeat"), "{plan}");
    assert!(!plan.contains("migrat") || plan.contains("no migration"), "{plan}");
    // Said no, it is the service.
    let run = own_run(free_port()).env("PORTCULLIS_EXEC", "false").command(["sh"]);
    run.output().exits(78).says(&["needed by the service alone"]);
    own_run(free_port()).env("PORTCULLIS_EXEC", "maybe").command(["sh"]).output().exits(78).says(&["PORTCULLIS_EXEC", "`wait`"]);
}

#[test]
fn an_unknown_mode_is_reported_and_no_mode_is_none() {
    let run = Portcullis::new().config(&service(1)).env("MODE", "apj");
    assert_eq!(exec(run, "echo \"$COMMON [$OWN]\"").output().exits(0).says(&["unknown mode `apj`"]).stdout, "of all []\n");
    let run = Portcullis::new().config(&service(1));
    assert_eq!(exec(run, "echo \"$COMMON [$OWN]\"").output().exits(0).stdout, "of all []\n");
}

#[track_caller]
fn healthcheck(run: &Running, level: &str) -> String {
    run.beside(["healthcheck", "--level", level]).exits(0).stdout
}

#[test]
fn healthcheck_beside_it_is_0_and_reports_what_runs() {
    let mut run = own_run(free_port()).args(["run", "--exec", "--", "sleep", "1000"]).start();
    run.child_pid("sleep");
    for level in ["live", "ready", "deep"] {
        assert_eq!(healthcheck(&run, level), "an ad-hoc command runs here, not a service: sleep\n");
    }
    assert!(run.beside(["status"]).exits(0).stdout.contains("not a service: sleep"));
    // A client that sends nothing delays no other client.
    let silent: Vec<_> = (0..4).map(|_| connect(&run.socket)).collect();
    healthcheck(&run, "deep");
    drop(silent);
    run.signal(15);
    run.exits(143);
    run.beside(["healthcheck"]).exits(1);
}

fn connect(name: &str) -> std::os::unix::net::UnixStream {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    std::os::unix::net::UnixStream::connect_addr(&address).unwrap()
}

#[test]
fn beside_a_service_healthcheck_reaches_the_service() {
    // As `docker exec` starts it, beside the service that has the socket.
    let failing = format!("[checks.target]\nurl = \"tcp://127.0.0.1:{}\"\nwait = \"0s\"\n", free_port());
    let mut service = Portcullis::new().config(&failing).command(["sleep", "1000"]).start();
    service.until_status("/livez", 200, secs(20));
    let socket = format!("@{}", service.socket);
    let beside = Portcullis::new().without("PORTCULLIS_HEALTH__SOCKET").env("PORTCULLIS_HEALTH__SOCKET", &socket);
    let mut beside = beside.args(["run", "--exec", "--", "sleep", "1000"]).start();
    beside.child_pid("sleep");
    eventually("the check has failed", secs(20), || (service.get("/healthz").code != 200).then_some(()));
    service.beside(["healthcheck"]).exits(1);
    // A loop that stands is no reason to take the shell for the service.
    process::send(service.pid(), 19);
    service.beside(["healthcheck", "--timeout", "300ms"]).exits(1);
    process::send(service.pid(), 18);
    for run in [&mut beside, &mut service] {
        run.signal(15);
        run.exits(143);
    }
}

#[test]
fn a_service_that_starts_beside_it_gets_the_socket() {
    let mut own = own_run(free_port()).args(["run", "--exec", "--", "sleep", "1000"]).start();
    own.child_pid("sleep");
    healthcheck(&own, "deep");
    let socket = format!("@{}", own.socket);
    let service = Portcullis::new().without("PORTCULLIS_HEALTH__SOCKET").env("PORTCULLIS_HEALTH__SOCKET", &socket);
    let mut service = service.command(["sleep", "1000"]).start();
    service.until_status("/readyz", 200, secs(20));
    let reported = service.beside(["healthcheck", "--socket", &socket]).exits(0).stdout;
    assert_eq!(reported, "healthy\n");
    for run in [&mut own, &mut service] {
        run.signal(15);
        run.exits(143);
    }
}
