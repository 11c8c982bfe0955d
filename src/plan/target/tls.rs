//! When TLS is used, the trusted authorities, and the client certificate.

use std::path::PathBuf;

/// How a server is verified. Files are read for each connection, so that renewed ones are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// What is verified of the server's certificate.
    pub verify: Verify,
    /// Trusted certificates (PEM) instead of the system's; it may contain the server's own certificate.
    pub ca: Option<PathBuf>,
    /// The client certificate.
    pub identity: Option<ClientCertificate>,
    /// Whether only TLS 1.3 is allowed; otherwise 1.2 and 1.3.
    pub newest_only: bool,
}

impl Tls {
    /// Whether a session proves the identity of the server: its name was verified, or a configured authority signed it. The system's
    /// authorities sign for any server.
    pub const fn proves_the_server(&self) -> bool {
        match self.verify {
            Verify::Nothing => false,
            Verify::Chain => self.ca.is_some(),
            Verify::Full => true,
        }
    }
}

/// What is verified of a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: an attacker in between can read the traffic.
    Nothing,
    /// That a trusted authority signed it, for any name.
    Chain,
    /// That a trusted authority signed it for the host's name.
    #[default]
    Full,
}

/// A client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate and its intermediates (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// When TLS is used for a database (libpq's `sslmode`; [`Tls::verify`] says what is verified).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the server refuses the login without it.
    Allow,
    /// If the server offers it.
    #[default]
    Prefer,
    /// Always.
    Require,
}
