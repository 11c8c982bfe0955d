//! The changes to Dify's repository in docs/dify.md, applied literally, and started by compose with stand-ins for Dify's programs.

use crate::dify::diff::{COMPOSE, NEWEST_DOCKERFILE, block, changed};
use crate::support::{Shop, Stopwatch, executable, secs};
use std::fs;

const SERVICES: [&str; 3] = ["api_1", "worker_1", "worker_beat_1"];

/// Answers as Dify's api does.
const GUNICORN: &str = "#!/usr/bin/python3
import http.server

class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == '/health' else 404)
        self.end_headers()

http.server.HTTPServer(('0.0.0.0', 5001), Api).serve_forever()
";

#[test]
fn difys_repository_with_the_changed_lines_comes_up_healthy() {
    let name = "difys_repository_with_the_changed_lines_comes_up_healthy";
    let Some(dify) = Shop::with_servers(name, "dify", ["postgres:15-alpine", "redis:6-alpine"]) else { return };
    dify.docker(&["tag", "debian:bookworm-slim", "python:3.12-slim-bookworm"]);
    let root = dify.directory();
    let programs = root.join("api/.venv/bin");
    for directory in [&programs, &root.join("api/docker"), &root.join("docker")] {
        fs::create_dir_all(directory).expect("create a directory of the repository");
    }
    for (program, text) in [("gunicorn", GUNICORN), ("celery", "#!/bin/sh\nexec sleep 1000\n"), ("flask", "#!/bin/sh\necho \"flask $*\"\n")]
    {
        executable(&programs.join(program), text);
    }
    fs::write(root.join("api/docker/entrypoint.sh"), "exit 99\n").expect("write the script that is not used any more");
    // Debian's engine builds without BuildKit, which alone knows this option.
    let dockerfile = changed("api/Dockerfile", NEWEST_DOCKERFILE).replace(" --chmod=755", "");
    fs::write(root.join("api/Dockerfile"), dockerfile).expect("write the Dockerfile");
    let compose = changed("docker/docker-compose.yaml", COMPOSE);
    // As `COMPOSE_WORKER_HEALTHCHECK_DISABLED=false` has it; Debian's compose takes no such key beside others.
    let switch = "      disable: ${COMPOSE_WORKER_HEALTHCHECK_DISABLED:-true}\n";
    let celery = "test: [\"CMD-SHELL\", \"celery -A celery_healthcheck.celery inspect ping\"]";
    assert_eq!((compose.matches(celery).count(), compose.matches(switch).count()), (2, 2), "worker and beat");
    let compose = compose.replace(celery, "test: [\"CMD\", \"/portcullis\", \"healthcheck\"]").replace(switch, "");
    fs::write(root.join("docker/docker-compose.yaml"), compose).expect("write the compose file");

    dify.reported("sh", &["-ec", block("sh")]);
    dify.compose(&["-f", "docker/docker-compose.yaml", "up", "--detach", "--no-build"]);
    for service in SERVICES {
        assert_eq!(dify.container(service).until_health("healthy")["Output"], "healthy\n", "{service}");
        let logs = dify.container(service).logs();
        assert!(logs.contains("flask upgrade-db\n") && logs.contains("the migration is done"), "{service}: {logs}");
    }
    let ready = dify.container("api_1").exec(&["/portcullis", "ready", "api"]);
    assert!(ready.status.success(), "{ready:?}");
    let watch = Stopwatch::start();
    dify.compose(&["-f", "docker/docker-compose.yaml", "stop"]);
    assert!(watch.elapsed() < secs(20), "{:?}", watch.elapsed());
    for service in SERVICES {
        assert_eq!(dify.container(service).state()["ExitCode"], 143, "{}", dify.container(service).logs());
    }
    dify.close();
}
