//! The programs of a server: those of this machine, or current ones below a root that `scripts/fresh-servers` made.

use super::left_out::{slow, unreachable};
use super::postgres::{unprivileged, unprivileged_owns};
use super::{Dir, variable};
use std::path::{Path, PathBuf};
use std::process::Command;

/// This machine itself, or the root into which its servers are put by `chroot`.
#[derive(Clone, Debug, Default)]
pub struct Home(Option<PathBuf>);

impl Home {
    /// The root of the current servers; none after leaving the test out, which is no failure where they could not be fetched.
    pub fn current(test: &str) -> Option<Self> {
        if !slow(test) {
            return None;
        }
        let root = variable("PORTCULLIS_FRESH").map(PathBuf::from);
        if root.is_none() {
            unreachable(test, "the current servers of Debian unstable were not to be had");
        }
        root.map(|root| Self(Some(root)))
    }

    /// Whether it is the root of the current servers.
    pub fn is_current(&self) -> bool {
        self.0.is_some()
    }

    /// The program, run by an unprivileged user, and killed with the thread that started it.
    pub fn program(&self, program: &Path) -> Command {
        let Some(root) = &self.0 else { return unprivileged(program) };
        let mut command = Command::new("chroot");
        command.arg(root).args(["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig", "KILL", "--"]);
        command.arg(program);
        command
    }

    /// A directory of one test that the program can see; the unprivileged user's own once it holds what it shall.
    pub fn dir(&self) -> Dir {
        let dir = self.0.as_ref().map_or_else(Dir::new, |root| Dir::below(&root.join("srv")));
        unprivileged_owns(dir.path());
        dir
    }

    /// A path as the program sees it.
    pub fn inside(&self, path: &Path) -> PathBuf {
        let below = self.0.as_ref().and_then(|root| path.strip_prefix(root).ok());
        below.map_or_else(|| path.to_owned(), |below| Path::new("/").join(below))
    }
}

mod tests {
    use super::super::{MySql, PgBouncer, Postgres, Redis};

    #[test]
    fn current_servers_start_and_are_those_of_today() {
        let test = "support::home::current_servers_start_and_are_those_of_today";
        let Some(postgres) = Postgres::current(test) else { return };
        assert_eq!(postgres.psql("SELECT current_setting('server_version_num')::int / 10000"), "18");
        let pooler = PgBouncer::current(test, &postgres, "default_pool_size = 3\n").expect("as PostgreSQL");
        let url = pooler.url();
        let version = std::process::Command::new("psql").args([&url, "-X", "-A", "-t", "-c", "SELECT 7"]).output().expect("run psql");
        assert_eq!(String::from_utf8_lossy(&version.stdout).trim(), "7", "{version:?}");
        let mysql = MySql::start(test, "secret", &[]).expect("as PostgreSQL");
        assert!(mysql.sql("SELECT version()").starts_with("9."), "{}", mysql.sql("SELECT version()"));
        let valkey = Redis::valkey(test).expect("as PostgreSQL").started();
        assert!(format!("{:?}", valkey.command(&["INFO", "server"])).contains("server_name:valkey"));
    }
}
