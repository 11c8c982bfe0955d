//! Private servers, helper children and the builder that runs portcullis.

pub mod certificates;
pub mod child;
pub mod compose;
pub mod dify_server;
pub mod docker;
pub mod grpc;
pub mod home;
pub mod hostile;
pub mod http;
pub mod kubelet;
pub mod left_out;
pub mod mariadb;
pub mod mysql;
pub mod network;
pub mod pgbouncer;
pub mod portcullis;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod rabbitmq;
pub mod redis;
pub mod refusing;
pub mod secure;
pub mod stand_ins;
pub mod terminal;
pub mod wait;

pub use certificates::Certificates;
pub use compose::Shop;
pub use docker::Engine;
pub use grpc::Grpc;
pub use hostile::{Hostile, Impostor, Manner, Socket};
pub use http::Http;
pub use left_out::{left_out, root, slow};
pub use mariadb::MariaDb;
pub use mysql::MySql;
pub use pgbouncer::PgBouncer;
pub use portcullis::{Exit, Portcullis, Running};
pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::Redis;
pub use secure::{Opening, Secure};
pub use stand_ins::StandIns;
pub use terminal::Terminal;
pub use wait::{Stopwatch, eventually, never, secs};

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A name that no other test of this or a parallel run uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{number}", std::process::id())
}

/// A loopback port below the ephemeral range, so that no outgoing connection can take it before its server does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..2000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (std::process::id().wrapping_mul(97).wrapping_add(step) % 20_000);
        let port = u16::try_from(port).expect("below 32768");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free loopback port between 12000 and 32000");
}

/// An address of the loopback network that no other test of this or a parallel run has: all its ports are free, those that programs know by
/// heart too.
pub fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = (std::process::id() % (1 << 17)) * 64 + NEXT.fetch_add(1, Ordering::Relaxed) % 64;
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + number)
}

/// A variable that steers the tests themselves.
#[allow(clippy::disallowed_methods, reason = "the one place in the tests that reads the environment")]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A directory of one test, gone when dropped. Readable for all, because servers run under another user.
#[derive(Debug)]
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// A directory elsewhere.
    pub fn below(parent: &Path) -> Self {
        let path = parent.join(unique("portcullis-it"));
        std::fs::create_dir_all(&path).expect("create the directory of the test");
        chmod(&path, 0o755);
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file and hands back its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("write a file of the test");
        path
    }

    /// Writes an executable `sh` script and hands back its path.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        executable(&self.0.join(name), format!("#!/bin/bash\n{text}"))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Writes a program and hands back its path. Another process writes it: if this one had it open for writing, the child that another test forks
/// at that moment would have it open, too, until its exec, and nobody could execute it ("Text file busy").
pub fn executable(path: &Path, content: impl AsRef<[u8]>) -> PathBuf {
    use std::io::Write;
    let script = ["-c", "cat >\"$0\" && chmod 755 \"$0\""];
    let mut writer = std::process::Command::new("/bin/sh").args(script).arg(path).stdin(std::process::Stdio::piped()).spawn().expect("sh");
    writer.stdin.take().expect("a pipe").write_all(content.as_ref()).expect("write a program of the test");
    assert!(writer.wait().expect("sh").success(), "{}", path.display());
    path.to_owned()
}

pub fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}
