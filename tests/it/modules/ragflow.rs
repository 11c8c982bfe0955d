//! RAGFlow's entrypoint as modules, with stand-ins for its programs: the unchanged example of the documentation.

use super::{HEALTH, lines, until};
use crate::support::{Portcullis, eventually, free_port, process, secs};
use std::net::TcpListener;
use std::path::Path;

const PROGRAM: &str = r#"#!/bin/sh
name="$(basename "$0") $*"
echo "begin $name"
trap 'echo "end $name"; exit 0' TERM QUIT
while :; do sleep 0.02; done
"#;

fn example() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/ragflow/portcullis.toml")).unwrap()
}

#[test]
fn server_nginx_and_three_executors_in_one_container() {
    let run = Portcullis::new();
    let port = free_port();
    for name in ["python3", "nginx"] {
        run.script(name, PROGRAM);
    }
    let path = format!("{}:/usr/bin:/bin", run.dir().display());
    let run = run.config(&example()).without("PATH").env("PATH", path).env("WS", "3").env("HOSTNAME", "rag");
    let mut run = run.env("SVR_HTTP_PORT", port.to_string()).args(["run", "--", "--init-superuser"]).start();
    run.until_stdout("begin python3 api/ragflow_server.py --init-superuser", secs(20));
    until(&run, HEALTH, "UNKNOWN");
    assert_eq!(lines(&run, &["begin"]).len(), 1, "the others come after it");

    let server = TcpListener::bind(("127.0.0.1", port)).unwrap();
    for number in 0..3 {
        run.until_stdout(&format!("executor-{number} | begin python3 rag/svr/task_executor.py -i rag_{number} -t common\n"), secs(20));
    }
    run.until_stdout("begin nginx -g daemon off;", secs(20));
    run.until_stdout("begin python3 rag/svr/sync_data_source.py", secs(20));
    until(&run, HEALTH, "UP");

    let first = run.child_pid("rag_1");
    process::send(first, 9);
    until(&run, HEALTH, "DOWN");
    eventually("it is started again", secs(20), || (lines(&run, &["executor-1 | begin"]).len() == 2).then_some(()));
    until(&run, HEALTH, "UP");
    assert_eq!(run.get("/readyz").code, 200);
    drop(server);

    run.signal(15);
    run.exits(0);
    let ends = lines(&run, &["end", "executor"]);
    assert_eq!(ends.last().unwrap(), "end python3 api/ragflow_server.py --init-superuser", "{ends:?}");
    assert_eq!(ends.iter().filter(|line| line.contains("end ")).count(), 6, "{ends:?}");
    run.leaves_nothing();
}

#[test]
fn the_example_stands_on_the_preset() {
    let run = Portcullis::new().config(&example()).env("WS", "2");
    let output = run.args(["plan", "--preset", "ragflow"]).output().exits(0);
    for words in ["wait for db up to 1m: mysql://", "migrate: python3", "the module nginx", "the module executor-1", "the module sync"] {
        assert!(output.stdout.contains(words), "{words:?} is not in:\n{}", output.stdout);
    }
}
