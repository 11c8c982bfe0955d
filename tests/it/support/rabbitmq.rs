//! A private RabbitMQ on free ports, run by an unprivileged user below the root of the current servers.

use super::home::Home;
use super::process::{self, MARK};
use super::{Dir, eventually, free_port, secs, unique};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

/// The broker with the user `app`, who may open the virtual host `tasks` and not `/`; killed and forgotten when dropped.
#[derive(Debug)]
pub struct RabbitMq {
    pub port: u16,
    mark: String,
    child: Child,
    _dir: Dir,
}

impl RabbitMq {
    /// Starts it and waits until its port is open; none after leaving the test out.
    pub fn start(test: &str, password: &str) -> Option<Self> {
        let home = Home::current(test)?;
        process::adopt_orphans();
        let (dir, port, mark, node) = (home.dir(), free_port(), unique("rabbitmq"), unique("rabbit"));
        let definitions = format!(
            r#"{{"users": [{{"name": "app", "password": "{password}", "tags": ""}}], "vhosts": [{{"name": "/"}}, {{"name": "tasks"}}],
                "permissions": [{{"user": "app", "vhost": "tasks", "configure": ".*", "write": ".*", "read": ".*"}}]}}"#
        );
        dir.file("definitions.json", &definitions);
        let inside = |name: &str| home.inside(&dir.path().join(name)).display().to_string();
        let config = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\ndefinitions.import_backend = local_filesystem\ndefinitions.local.path = {}\nlog.console = true\nlog.file = false\n",
            inside("definitions.json")
        );
        dir.file("rabbitmq.conf", &config);
        super::postgres::unprivileged_owns(dir.path());
        let log = std::fs::File::create(dir.path().join("log")).expect("create the log");
        let mut command = home.program(Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server"));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin").env("HOME", inside("")).env("LANG", "C.UTF-8").env(MARK, &mark);
        command.env("RABBITMQ_NODENAME", format!("{node}@localhost")).env("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf"));
        command.env("RABBITMQ_MNESIA_BASE", inside("mnesia")).env("RABBITMQ_LOG_BASE", inside("logs"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", inside("plugins")).env("RABBITMQ_DIST_PORT", free_port().to_string());
        command.env("ERL_EPMD_PORT", free_port().to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let child = command.stdout(log.try_clone().expect("duplicate the log")).stderr(Stdio::from(log)).spawn().expect("start RabbitMQ");
        eventually("RabbitMQ listens", secs(120), || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Self { port, mark, child, _dir: dir })
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        process::end_marked(&self.mark);
    }
}
