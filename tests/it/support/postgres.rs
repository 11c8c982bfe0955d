//! A private PostgreSQL on a free port, copied from one template, run by an unprivileged user.

use super::home::Home;
use super::process::{self, MARK};
use super::{Certificates, Dir, chmod, eventually, free_port, secs, unique};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A password that holds what breaks URLs, shells and connection strings.
pub const PASSWORD: &str = r#"p@ss:w/rd%#?& "'"#;

/// The server with database `app`, user `app`; killed and forgotten when dropped.
#[derive(Debug)]
pub struct Postgres {
    pub port: u16,
    home: Home,
    mark: String,
    dir: Dir,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Postgres {
    /// Starts and waits until it answers.
    pub fn start() -> Self {
        Self::reserve().started()
    }

    /// A current one, started; none after leaving the test out.
    pub fn current(test: &str) -> Option<Self> {
        Home::current(test).map(|home| Self::at(home).started())
    }

    /// Data and a port, and nothing running yet.
    pub fn reserve() -> Self {
        Self::at(Home::default())
    }

    fn at(home: Home) -> Self {
        process::adopt_orphans();
        let dir = home.dir();
        let data = dir.path().join("data");
        run(Command::new("cp").arg("-a").arg(template(&home)).arg(&data));
        unprivileged_owns(dir.path());
        Self { port: free_port(), home, mark: unique("postgres"), dir, settings: Vec::new(), child: None }
    }

    fn started(mut self) -> Self {
        self.launch();
        self.until_up();
        self
    }

    /// Adds a setting for the starts to come.
    pub fn setting(&mut self, setting: impl Into<String>) {
        self.settings.push(setting.into());
    }

    /// Speaks TLS with this certificate from the next start on.
    pub fn certificate(&mut self, certificates: &Certificates, name: &str) {
        let data = self.dir.path().join("data");
        for (from, to) in [(certificates.pem(name), "server.crt"), (certificates.key(name), "server.key")] {
            let to = data.join(to);
            std::fs::copy(from, &to).expect("copy a certificate");
            chmod(&to, 0o600);
        }
        unprivileged_owns(&data);
        if !self.settings.iter().any(|setting| setting == "ssl=on") {
            self.setting("ssl=on");
        }
    }

    /// Is a standby from the next start on.
    pub fn standby(&mut self) {
        let signal = self.dir.path().join("data/standby.signal");
        std::fs::write(&signal, "").expect("write standby.signal");
        unprivileged_owns(&signal);
    }

    /// Replaces who may log in how, from the next start on.
    pub fn access(&self, lines: &str) {
        std::fs::write(self.dir.path().join("data/pg_hba.conf"), lines).expect("write pg_hba.conf");
    }

    /// Starts the process without waiting for it to answer.
    pub fn launch(&mut self) {
        let mut command = self.home.program(&binary(&self.home, "postgres"));
        command.arg("-D").arg(self.home.inside(&self.dir.path().join("data"))).args(["-p", &self.port.to_string()]);
        command.arg("-k").arg(self.home.inside(self.dir.path()));
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "autovacuum=off", "max_wal_size=4GB"] {
            command.args(["-c", setting]);
        }
        command.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        command.env(MARK, &self.mark).stdout(Stdio::null()).stderr(self.log());
        self.child = Some(command.spawn().expect("start postgres"));
    }

    fn log(&self) -> Stdio {
        let file = std::fs::File::options().append(true).create(true).open(self.dir.path().join("log"));
        Stdio::from(file.expect("open the server log"))
    }

    /// Launches it again when it has given up: what a crash left in shared memory may still be held by a process that is ending.
    pub fn insist(&mut self) {
        let gave_up = self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some()));
        if gave_up {
            self.launch();
        }
    }

    pub fn until_up(&self) {
        eventually("postgres answers SELECT 1", secs(60), || self.try_psql("app", "SELECT 1").ok());
    }

    /// Ends it as an administrator does (`pg_ctl stop -m fast`).
    pub fn stop(&mut self) {
        self.end(2);
    }

    /// Ends it as a power cut does: the next start has to recover.
    pub fn crash(&mut self) {
        self.end(9);
        process::end_marked(&self.mark);
    }

    fn end(&mut self, signal: i32) {
        if let Some(mut child) = self.child.take() {
            process::send(i32::try_from(child.id()).expect("pid"), signal);
            child.wait().expect("wait for postgres");
        }
    }

    /// The pid of the process that replays the log, while there is one.
    pub fn recovering(&self) -> Option<i32> {
        let postmaster = i32::try_from(self.child.as_ref()?.id()).expect("pid");
        process::children(postmaster).into_iter().find(|pid| process::command_line(*pid).contains("startup"))
    }

    /// Whether the port takes connections, whatever is said over them.
    pub fn accepts(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// Runs SQL as superuser over the private socket; unaligned rows, trimmed.
    pub fn psql(&self, sql: &str) -> String {
        self.try_psql("app", sql).unwrap_or_else(|error| panic!("psql {sql}: {error}"))
    }

    /// As `psql`, with what psql said when it failed.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new("psql");
        command.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string(), "-U", "postgres", "-d", database]);
        let output = command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().expect("run psql");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// A shell command line that runs SQL read from stdin; no password needed on the private socket.
    pub fn psql_line(&self) -> String {
        format!("psql -h {} -p {} -U postgres -d app -X -A -t -q -v ON_ERROR_STOP=1", self.dir.path().display(), self.port)
    }

    /// The target as a file writes it, with the password percent-encoded.
    pub fn url(&self) -> String {
        self.url_with(PASSWORD)
    }

    pub fn url_with(&self, password: &str) -> String {
        format!("postgres://app:{}@127.0.0.1:{}/app", percent(password), self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end(3);
        process::end_marked(&self.mark);
    }
}

/// Percent-encodes everything but letters and digits.
pub fn percent(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The program of the newest installed server, or of the current one.
fn binary(home: &Home, name: &str) -> PathBuf {
    if home.is_current() {
        return Path::new("/usr/lib/postgresql/18/bin").join(name);
    }
    let entries = std::fs::read_dir("/usr/lib/postgresql").expect("postgresql is installed");
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()).unwrap_or(0);
    let newest = entries.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(version);
    newest.expect("a version of postgresql").join("bin").join(name)
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// PostgreSQL refuses root: as root its programs run as nobody, and die with the thread that started them.
pub fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).current_dir("/");
    command
}

pub fn unprivileged_owns(path: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", "65534:65534"]).arg(path));
    }
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One `initdb` a run of the tests; its result is kept beside the build, where the next run finds it.
fn template(home: &Home) -> &'static Path {
    static OWN: OnceLock<PathBuf> = OnceLock::new();
    static CURRENT: OnceLock<PathBuf> = OnceLock::new();
    let template = if home.is_current() { &CURRENT } else { &OWN };
    template.get_or_init(|| {
        let version = binary(home, "x").to_string_lossy().replace('/', "_");
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-template-1{version}"));
        if !kept.exists() {
            let made = make_template(home);
            let data = made.path().join("data");
            let near = kept.with_extension(unique("new"));
            run(Command::new("cp").arg("-a").arg(&data).arg(&near));
            if std::fs::rename(&near, &kept).is_err() {
                drop(std::fs::remove_dir_all(&near));
            }
        }
        kept
    })
}

fn make_template(home: &Home) -> Dir {
    let dir = home.dir();
    let data = dir.path().join("data");
    let mut initdb = home.program(&binary(home, "initdb"));
    initdb.arg("-D").arg(home.inside(&data)).args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", "--wal-segsize=4"]);
    run(&mut initdb);
    let access = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(data.join("pg_hba.conf"), access).expect("write pg_hba.conf");
    chmod(&data.join("pg_hba.conf"), 0o644);
    let quoted = PASSWORD.replace('\'', "''");
    let setup = format!("CREATE ROLE app LOGIN PASSWORD '{quoted}';\nCREATE DATABASE app OWNER app;\n");
    let mut single = home.program(&binary(home, "postgres"));
    single.args(["--single", "-D"]).arg(home.inside(&data)).args(["-c", "fsync=off", "postgres"]);
    single.stdin(Stdio::from(std::fs::File::open(dir.file("setup.sql", &setup)).expect("open setup.sql")));
    run(&mut single);
    dir
}

mod tests {
    use super::*;

    #[test]
    fn postgres_starts_private_and_recovers_after_a_crash() {
        let mut server = Postgres::start();
        assert_eq!(server.psql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7); SELECT n FROM kept"), "7");
        server.crash();
        assert!(!server.accepts());
        server.launch();
        server.until_up();
        assert_eq!(server.psql("SELECT n FROM kept"), "7");
        server.stop();
        assert!(!server.accepts());
    }

    #[test]
    fn postgres_accepts_only_the_right_password_over_tcp() {
        let server = Postgres::start();
        let login = |password: &str| {
            let mut command = Command::new("psql");
            command.args(["-h", "127.0.0.1", "-U", "app", "-d", "app", "-w", "-X", "-c", "SELECT 1", "-p", &server.port.to_string()]);
            command.env("PGPASSWORD", password).output().expect("run psql")
        };
        assert!(login(PASSWORD).status.success());
        assert!(String::from_utf8_lossy(&login("wrong").stderr).contains("password authentication failed"));
    }
}
