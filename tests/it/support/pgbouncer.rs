//! A private pgbouncer in transaction mode in front of a PostgreSQL.

use super::home::Home;
use super::postgres::{PASSWORD, unprivileged_owns};
use super::process::{self, MARK};
use super::{Dir, Postgres, eventually, free_port, secs, unique};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

/// The pooler; killed and forgotten when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    pub port: u16,
    mark: String,
    child: Child,
    _dir: Dir,
}

impl PgBouncer {
    /// Few server sessions, so that clients have to share them.
    pub fn before(server: &Postgres) -> Self {
        Self::with(server, "default_pool_size = 3\n")
    }

    /// With these further lines of its file.
    pub fn with(server: &Postgres, settings: &str) -> Self {
        Self::at(&Home::default(), server, settings)
    }

    /// A current one with these further lines of its file; none after leaving the test out.
    pub fn current(test: &str, server: &Postgres, settings: &str) -> Option<Self> {
        Home::current(test).map(|home| Self::at(&home, server, settings))
    }

    fn at(home: &Home, server: &Postgres, settings: &str) -> Self {
        process::adopt_orphans();
        let (dir, port, mark) = (home.dir(), free_port(), unique("pgbouncer"));
        let users = dir.file("users.txt", &format!("\"app\" \"{}\"\n", PASSWORD.replace('"', "\"\"")));
        let file = dir.file(
            "pgbouncer.ini",
            &format!(
                "[databases]\napp = host=127.0.0.1 port={} dbname=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
                 auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\nunix_socket_dir =\n{settings}",
                server.port,
                home.inside(&users).display()
            ),
        );
        unprivileged_owns(dir.path());
        let mut command = home.program(Path::new("/usr/sbin/pgbouncer"));
        let child =
            command.arg(home.inside(&file)).env(MARK, &mark).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start pgbouncer");
        eventually("pgbouncer listens", secs(30), || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { port, mark, child, _dir: dir }
    }

    /// The target as a file writes it.
    pub fn url(&self) -> String {
        format!("postgres://app:{}@127.0.0.1:{}/app", super::postgres::percent(PASSWORD), self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        process::end_marked(&self.mark);
    }
}
