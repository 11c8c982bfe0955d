//! A private redis-server on a free port, and a minimal client.

use super::home::Home;
use super::process::{self, MARK};
use super::{Certificates, Dir, eventually, free_port, secs, unique};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Number(i64),
    Text(String),
    Error(String),
    List(Vec<Reply>),
}

/// The server; killed and forgotten when dropped.
#[derive(Debug)]
pub struct Redis {
    pub port: u16,
    password: Option<String>,
    options: Vec<String>,
    home: Home,
    mark: String,
    dir: Dir,
    child: Option<Child>,
}

impl Redis {
    pub fn start() -> Self {
        Self::reserve().started()
    }

    pub fn with_password(password: &str) -> Self {
        let mut redis = Self::reserve();
        redis.password = Some(password.to_owned());
        redis.started()
    }

    /// A port and a directory, and nothing running yet.
    pub fn reserve() -> Self {
        Self::at(Home::default())
    }

    /// A current Valkey, not yet running; none after leaving the test out.
    pub fn valkey(test: &str) -> Option<Self> {
        Home::current(test).map(Self::at)
    }

    fn at(home: Home) -> Self {
        process::adopt_orphans();
        let (port, mark) = (free_port(), unique("redis"));
        let dir = if home.is_current() { home.dir() } else { Dir::new() };
        Self { port, password: None, options: Vec::new(), home, mark, dir, child: None }
    }

    /// A node of a Cluster whose bus has a free port, too: by default it takes the port 10,000 above, even if that is in use.
    pub fn of_cluster() -> Self {
        Self::cluster_node().started()
    }

    fn cluster_node() -> Self {
        Self::reserve().option(&format!("--cluster-enabled yes --cluster-node-timeout 1000 --cluster-port {}", free_port()))
    }

    /// A Cluster of one node, all slots served, with the password of its users or none.
    pub fn whole_cluster(password: Option<&str>) -> Self {
        let mut node = Self::cluster_node();
        node.password = password.map(str::to_owned);
        let node = node.started();
        let added = node.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        eventually("the cluster is whole", secs(30), || match node.command(&["CLUSTER", "INFO"]) {
            Reply::Text(text) => text.contains("cluster_state:ok").then_some(()),
            other => panic!("{other:?} after {added:?}"),
        });
        node
    }

    /// TLS on this port too; `clients` is whether they need a certificate (`yes`, `no`).
    pub fn speaking_tls(self, certificates: &Certificates, port: u16, clients: &str) -> Self {
        let [cert, key, ca] = [certificates.pem("server"), certificates.key("server"), certificates.pem("ca")];
        self.option(&format!("--tls-port {port} --tls-auth-clients {clients}")).option(&format!(
            "--tls-cert-file {} --tls-key-file {} --tls-ca-cert-file {}",
            cert.display(),
            key.display(),
            ca.display()
        ))
    }

    /// Adds an option of redis-server for the starts to come, e.g. `--appendonly yes`.
    #[must_use]
    pub fn option(mut self, words: &str) -> Self {
        self.options.extend(words.split(' ').map(str::to_owned));
        self
    }

    #[must_use]
    pub fn started(mut self) -> Self {
        self.launch();
        self.until_up();
        self
    }

    /// A Sentinel that watches the master on this port alone.
    pub fn sentinel(name: &str, master: u16) -> Self {
        Self::guarded_sentinel(name, master, None, "")
    }

    /// As `sentinel`, with the password of its default user and further lines of its file.
    pub fn guarded_sentinel(name: &str, master: u16, password: Option<&str>, more: &str) -> Self {
        let mut sentinel = Self::reserve();
        sentinel.password = password.map(str::to_owned);
        let own = password.map_or(String::new(), |password| format!("requirepass \"{password}\"\n"));
        let lines = format!("port {}\nbind 127.0.0.1\n{own}{more}sentinel monitor {name} 127.0.0.1 {master} 1\n", sentinel.port);
        let file = sentinel.dir.file("sentinel.conf", &lines);
        let mut command = Command::new("redis-server");
        command.arg(file).arg("--sentinel").env(MARK, &sentinel.mark).stdout(Stdio::null()).stderr(Stdio::null());
        sentinel.child = Some(command.spawn().expect("start a sentinel"));
        sentinel.until_up();
        sentinel
    }

    /// Sends the server a signal.
    pub fn signal(&self, number: i32) {
        let child = self.child.as_ref().expect("it runs");
        process::send(i32::try_from(child.id()).expect("pid"), number);
    }

    /// Starts the process without waiting for it to answer.
    pub fn launch(&mut self) {
        let current = self.home.is_current();
        let mut command = if current { self.home.program(Path::new("/usr/bin/valkey-server")) } else { Command::new("redis-server") };
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(self.home.inside(self.dir.path()));
        command.args(self.password.iter().flat_map(|password| ["--requirepass", password]));
        command.args(&self.options).env(MARK, &self.mark).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("start redis-server"));
    }

    fn until_up(&self) {
        eventually("redis answers PING", secs(30), || (self.try_command(&["PING"]).ok()? == Reply::Text("PONG".into())).then_some(()));
    }

    /// KILLs it, data in memory lost.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    pub fn restart(&mut self) {
        self.stop();
        self.launch();
        self.until_up();
    }

    /// Where it keeps its data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn url(&self) -> String {
        let userinfo = self.password.as_ref().map_or(String::new(), |password| format!(":{password}@"));
        format!("redis://{userinfo}127.0.0.1:{}/0", self.port)
    }

    /// Sends one command over a fresh connection, after AUTH when there is a password.
    pub fn command(&self, words: &[&str]) -> Reply {
        self.try_command(words).unwrap_or_else(|error| panic!("redis {words:?}: {error}"))
    }

    pub fn try_command(&self, words: &[&str]) -> std::io::Result<Reply> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        if let Some(password) = &self.password {
            send(&mut stream, &["AUTH", password])?;
            read(&mut reader)?;
        }
        send(&mut stream, words)?;
        read(&mut reader)
    }

    /// A string key, or nothing.
    pub fn get(&self, key: &str) -> Option<String> {
        match self.command(&["GET", key]) {
            Reply::Text(text) => Some(text),
            Reply::Nil => None,
            other => panic!("GET {key}: {other:?}"),
        }
    }

    /// Milliseconds to live; -1 without expiry, -2 without key.
    pub fn pttl(&self, key: &str) -> i64 {
        match self.command(&["PTTL", key]) {
            Reply::Number(number) => number,
            other => panic!("PTTL {key}: {other:?}"),
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
        process::end_marked(&self.mark);
    }
}

fn send(stream: &mut TcpStream, words: &[&str]) -> std::io::Result<()> {
    let mut text = format!("*{}\r\n", words.len());
    for word in words {
        text += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(text.as_bytes())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    let number = || rest.parse::<i64>().map_err(std::io::Error::other);
    Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        "-" => Reply::Error(rest.to_owned()),
        ":" => Reply::Number(number()?),
        "$" if rest == "-1" => Reply::Nil,
        "$" => {
            let mut bytes = vec![0; usize::try_from(number()?).expect("length") + 2];
            reader.read_exact(&mut bytes)?;
            Reply::Text(String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned())
        }
        "*" => Reply::List((0..number()?).map(|_| read(reader)).collect::<Result<_, _>>()?),
        other => return Err(std::io::Error::other(format!("reply kind {other:?}"))),
    })
}

mod tests {
    use super::*;

    #[test]
    fn redis_starts_private_and_requires_its_password() {
        let mut redis = Redis::with_password("s3cret");
        redis.command(&["SET", "key", "value", "PX", "60000"]);
        assert_eq!(redis.get("key").as_deref(), Some("value"));
        assert!((1..=60_000).contains(&redis.pttl("key")));
        redis.restart();
        assert_eq!(redis.get("key"), None, "nothing is kept");
    }
}
