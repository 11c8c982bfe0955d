//! A private MySQL 9 on a free port, copied from one template, run by an unprivileged user below the root of the current servers.

use super::home::Home;
use super::postgres::{run, unprivileged_owns};
use super::process::{self, MARK};
use super::{Dir, eventually, free_port, secs, unique};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The server with database `app` and user `app`; killed and forgotten when dropped.
#[derive(Debug)]
pub struct MySql {
    pub port: u16,
    home: Home,
    mark: String,
    dir: Dir,
    options: Vec<String>,
    child: Option<Child>,
}

impl MySql {
    /// Starts it with further options of mysqld and waits until it answers; none after leaving the test out.
    pub fn start(test: &str, password: &str, options: &[&str]) -> Option<Self> {
        let home = Home::current(test)?;
        process::adopt_orphans();
        let dir = home.dir();
        run(Command::new("cp").arg("-a").arg(template(&home)).arg(dir.path().join("data")));
        unprivileged_owns(dir.path());
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { port: free_port(), home, mark: unique("mysql"), dir, options, child: None };
        server.launch();
        let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
        server.sql(&format!("CREATE DATABASE app; CREATE USER app@'%' IDENTIFIED BY '{quoted}'; GRANT ALL ON app.* TO app@'%'"));
        Some(server)
    }

    fn launch(&mut self) {
        let mut command = self.home.program(Path::new("/usr/sbin/mysqld"));
        let inside = |name: &str| self.home.inside(&self.dir.path().join(name)).display().to_string();
        command.arg("--no-defaults").arg(format!("--datadir={}", inside("data"))).arg(format!("--port={}", self.port));
        command.arg(format!("--socket={}", inside("s"))).arg(format!("--pid-file={}", inside("pid")));
        command.args(["--bind-address=127.0.0.1", "--mysqlx=OFF", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"]);
        command.args(["--innodb-buffer-pool-size=32M", "--performance-schema=OFF", "--secure-file-priv="]).args(&self.options);
        let log = std::fs::File::create(self.dir.path().join("log")).expect("create the log");
        self.child = Some(command.env(MARK, &self.mark).stdout(Stdio::null()).stderr(log).spawn().expect("start mysqld"));
        eventually("mysql answers", secs(60), || self.try_sql("SELECT 1").ok());
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// The unix socket, as this machine sees it.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// The server's own file, as it made it in its data, e.g. `public_key.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    pub fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub fn try_sql(&self, sql: &str) -> Result<String, String> {
        let mut command = self.home.program(Path::new("/usr/bin/mysql"));
        let socket = format!("--socket={}", self.home.inside(&self.socket()).display());
        let output = command.args(["--no-defaults", "-uroot", "-N", "-B", &socket, "-e", sql]).output().expect("run mysql");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Drop for MySql {
    fn drop(&mut self) {
        self.end();
        process::end_marked(&self.mark);
    }
}

/// One initialization; its result is kept beside the build, where the next run finds it.
fn template(home: &Home) -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let mut requested = home.program(Path::new("/usr/sbin/mysqld"));
        let version = requested.args(["--no-defaults", "--version"]).output().expect("ask mysqld for its version").stdout;
        let version: String = String::from_utf8_lossy(&version).chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mysql-template-1-{version}"));
        if !kept.exists() {
            let dir = home.dir();
            let data = dir.path().join("data");
            let mut initialize = home.program(Path::new("/usr/sbin/mysqld"));
            initialize.args(["--no-defaults", "--initialize-insecure", "--skip-log-bin", "--secure-file-priv="]);
            run(initialize.arg(format!("--datadir={}", home.inside(&data).display())));
            let near = kept.with_extension(unique("new"));
            run(Command::new("cp").arg("-a").arg(&data).arg(&near));
            if std::fs::rename(&near, &kept).is_err() {
                drop(std::fs::remove_dir_all(&near));
            }
        }
        kept
    })
}
