//! A private MariaDB on a free port, run by an unprivileged user.

use super::postgres::{run, unprivileged, unprivileged_owns};
use super::process::{self, MARK};
use super::{Dir, eventually, free_port, secs, unique};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The server with database `app` and user `app`; killed and forgotten when dropped.
#[derive(Debug)]
pub struct MariaDb {
    pub port: u16,
    mark: String,
    dir: Dir,
    child: Option<Child>,
}

impl MariaDb {
    /// Starts it with further options of mariadbd and waits until it answers.
    pub fn start(password: &str, options: &[&str]) -> Self {
        process::adopt_orphans();
        let dir = Dir::new();
        unprivileged_owns(dir.path());
        let data = format!("--datadir={}", dir.path().join("data").display());
        let mut install = unprivileged(Path::new("mariadb-install-db"));
        run(install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data]));
        let mut server = Self { port: free_port(), mark: unique("mariadb"), dir, child: None };
        let mut command = unprivileged(Path::new("mariadbd"));
        command.args(["--no-defaults", &data, "--bind-address=127.0.0.1"]).arg(format!("--port={}", server.port));
        command.arg(format!("--socket={}", server.socket().display()));
        command.arg(format!("--pid-file={}", server.dir.path().join("pid").display())).args(options);
        let log = std::fs::File::create(server.log()).expect("create the log");
        server.child = Some(command.env(MARK, &server.mark).stdout(Stdio::null()).stderr(log).spawn().expect("start mariadbd"));
        eventually("mariadb answers", secs(60), || server.try_sql("SELECT 1").ok());
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        server.sql(&format!("CREATE DATABASE app; CREATE USER app@'%' IDENTIFIED BY '{quoted}'; GRANT ALL ON app.* TO app@'%'"));
        server
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    pub fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        let socket = format!("--socket={}", self.socket().display());
        let output = Command::new("mariadb").args(["--no-defaults", "-uroot", "-N", "-B", &socket, "-e", sql]).output();
        let output = output.expect("run mariadb");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        process::end_marked(&self.mark);
    }
}
