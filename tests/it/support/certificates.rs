//! Valid and invalid certificates, made with the openssl command line.

use super::{Dir, chmod};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of certificates; each `NAME` is `NAME.pem` with `NAME.key`.
#[derive(Debug)]
pub struct Certificates(Dir);

/// `ca` signs `server` (localhost and 127.0.0.1), `other` (another name), `cn` (no subjectAltName), `v1` and `client`;
/// `selfca` is an authority's certificate that a server shows as its own.
const SCRIPT: &str = r#"set -e
key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" 2>/dev/null || openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
key ca; openssl req -x509 -new -key ca.key -subj /CN=ca -days 30 -out ca.pem
leaf() { key "$1"; openssl req -new -key "$1.key" -subj "/CN=$2" -out "$1.csr"
  printf 'basicConstraints=CA:FALSE\n%s\n' "$3" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.pem"; }
leaf server localhost 'subjectAltName=DNS:localhost,IP:127.0.0.1'
leaf other elsewhere 'subjectAltName=DNS:elsewhere'
leaf cn localhost ''
leaf client app ''
key v1; openssl req -new -key v1.key -subj /CN=localhost -out v1.csr
openssl x509 -req -in v1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out v1.pem
key selfca; openssl req -x509 -new -key selfca.key -subj /CN=localhost -days 30 -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -out selfca.pem
"#;

impl Certificates {
    pub fn make() -> Self {
        let dir = Dir::new();
        let output = Command::new("bash").args(["-c", SCRIPT]).current_dir(dir.path()).output().expect("run bash");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for entry in std::fs::read_dir(dir.path()).expect("read the certificates").flatten() {
            chmod(&entry.path(), 0o644);
        }
        Self(dir)
    }

    pub fn pem(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.pem"))
    }

    pub fn key(&self, name: &str) -> PathBuf {
        self.path().join(format!("{name}.key"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
