//! RAGFlow's entrypoint as modules, with stand-ins for its programs: the preset without the requirements on its image and its network.

use super::{HEALTH, lines, until};
use crate::support::{Portcullis, eventually, free_port, process, secs};
use std::net::TcpListener;

const PROGRAM: &str = r#"#!/bin/sh
name="$(basename "$0") $*"
echo "begin $name"
trap 'echo "end $name"; exit 0' TERM QUIT
while :; do sleep 0.02; done
"#;

const PRESET: &str = r#"extends = "ragflow"
without = ["checks", "files", "heartbeat", "migrations", "steps"]
[modules.nginx]
command = ["nginx", "-g", "daemon off;"]
"#;

#[test]
fn server_nginx_and_three_executors_in_one_container() {
    let run = Portcullis::new();
    let port = free_port();
    for name in ["python3", "nginx"] {
        run.script(name, PROGRAM);
    }
    let path = format!("{}:/usr/bin:/bin", run.dir().display());
    let run = run.config(&format!("{PRESET}[modes.server.started]\nurl = \"tcp://127.0.0.1:{port}\"\n"));
    let arguments = ["run", "--", "--init-superuser", "--consumer-no-beg=5", "--consumer-no-end=8", "--host-id=rag"];
    let mut run = run.without("PATH").env("PATH", path).args(arguments).start();
    run.until_stdout("begin python3 api/ragflow_server.py --init-superuser", secs(20));
    for number in 5..8 {
        run.until_stdout(&format!("executor-{number} | begin python3 rag/svr/task_executor.py -i rag_{number} -t common\n"), secs(20));
    }
    run.until_stdout("begin python3 rag/svr/sync_data_source.py", secs(20));
    until(&run, HEALTH, "UNKNOWN");
    assert!(lines(&run, &["begin nginx"]).is_empty(), "it comes once the server answers");

    let server = TcpListener::bind(("127.0.0.1", port)).unwrap();
    run.until_stdout("begin nginx -g daemon off;", secs(20));
    until(&run, HEALTH, "UP");

    let first = run.child_pid("rag_6");
    process::send(first, 9);
    until(&run, HEALTH, "DOWN");
    eventually("it is started again", secs(20), || (lines(&run, &["executor-6 | begin"]).len() == 2).then_some(()));
    until(&run, HEALTH, "UP");
    assert_eq!(run.get("/readyz").code, 200);
    drop(server);

    run.signal(15);
    run.exits(0);
    let mut ends = lines(&run, &["end ", "executor"]);
    ends.retain(|line| line.contains("end "));
    let at = |name: &str| ends.iter().position(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name} in {ends:?}"));
    assert!(at("end nginx") < at("end python3 api/ragflow_server.py"), "{ends:?}");
    assert_eq!(ends.len(), 6, "{ends:?}");
    run.leaves_nothing();
}

#[test]
fn the_arguments_of_its_compose_file_are_taken() {
    let arguments = ["plan", "--preset", "ragflow", "--", "--enable-adminserver", "--init-model-provider-tables", "--workers=2"];
    let output = Portcullis::new().args(arguments).output();
    for words in [
        "wait for db up to 1m: mysql://",
        "migrate: python3",
        "the module nginx",
        "the module admin",
        "the module executor-1",
        "the module sync",
        "model providers",
    ] {
        assert!(output.stdout.contains(words), "{words:?} is not in:\n{}\n{}", output.stdout, output.stderr);
    }
}
