//! When TLS is spoken, whom it trusts, and as whom it introduces itself.

use std::path::PathBuf;

/// How a server is verified. Files are read when a connection is made, so that renewed ones are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// What is verified of the server's certificate.
    pub verify: Verify,
    /// Trusted certificates (PEM) in place of the system's; a server's own certificate in it is trusted as such.
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    pub identity: Option<ClientCertificate>,
    /// Whether nothing older than TLS 1.3 is spoken; never less than 1.2 is.
    pub newest_only: bool,
}

impl Tls {
    /// Whether a session proves who the server is: its name was looked at, or an authority of our own signed it. Those of the system sign for
    /// anybody.
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
    /// Nothing: anybody in between can listen.
    Nothing,
    /// That a trusted authority signed it, whatever name it bears.
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

/// When TLS is spoken to a database (libpq's `sslmode`; what is verified stands in [`Tls::verify`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Never.
    Disable,
    /// When the server refuses the login without.
    Allow,
    /// When the server offers it.
    #[default]
    Prefer,
    /// Always.
    Require,
}
