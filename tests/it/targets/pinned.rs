//! A certificate that is configured as trusted is trusted only for its purpose, as in curl with `--cacert`.

use crate::support::{Certificates, Portcullis, eventually, free_port, secs};
use std::process::{Child, Command, Stdio};

/// Certificates that sign themselves, and one that a leaf has signed.
const SCRIPT: &str = r#"set -e
own() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -x509 -new -key "$1.key" -subj /CN=localhost -days 30 -addext subjectAltName=DNS:localhost -addext "$2" -out "$1.pem"; }
own leaf basicConstraints=critical,CA:FALSE
printf 'basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:localhost\n' > client.ext
openssl ecparam -name prime256v1 -genkey -noout -out clients.key
openssl req -new -key clients.key -subj /CN=localhost -out clients.csr
openssl x509 -req -in clients.csr -signkey clients.key -days 30 -extfile client.ext -out clients.pem
openssl ecparam -name prime256v1 -genkey -noout -out byleaf.key
openssl req -new -key byleaf.key -subj /CN=localhost -out byleaf.csr
printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost\n' > byleaf.ext
openssl x509 -req -in byleaf.csr -CA leaf.pem -CAkey leaf.key -CAcreateserial -days 30 -extfile byleaf.ext -out byleaf.pem
"#;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn serve(certificates: &Certificates, name: &str) -> (Server, u16) {
    let port = free_port();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")]);
    command.arg("-cert").arg(certificates.pem(name)).arg("-key").arg(certificates.key(name));
    let server = Server(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start openssl"));
    eventually("openssl listens", secs(30), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()));
    (server, port)
}

#[test]
fn a_trusted_certificate_is_valid_only_for_its_purpose() {
    let certificates = Certificates::make();
    let made = Command::new("bash").args(["-c", SCRIPT]).current_dir(certificates.path()).output().expect("run bash");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for (shown, trusted, refused) in [
        ("server", "ca", None),
        ("leaf", "leaf", None),
        ("clients", "clients", Some("is not for servers")),
        ("byleaf", "leaf", Some("it signs no others")),
        ("server", "server", None),
        ("server", "leaf", Some("it signs no others")),
    ] {
        let (_server, port) = serve(&certificates, shown);
        let ca = certificates.pem(trusted).display().to_string();
        let url = format!("https://localhost:{port}/");
        let output = Portcullis::new().args(["wait", "--timeout", "0s", "--ca", &ca, &url]).output();
        match refused {
            None => drop(output.exits(0)),
            Some(why) => drop(output.exits(69).says(&[why])),
        }
    }
}
