//! Opens a TLS session with a server over an existing stream, and explains failures in plain words.

mod fitness;

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial::{Duplex, kind_of_io};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{ClientCertificate, Tls, Verify};
use fitness::{Unfit, serves, signs};

/// The cryptography provider of this program, set explicitly so that no other crate can choose a default.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| {
        // Also for code that uses the process-wide provider; this fails only if it is already set.
        let _ = ring::default_provider().install_default();
        Arc::new(ring::default_provider())
    });
    Arc::clone(provider)
}

/// Opens TLS over `stream` with the server named `host`.
pub(super) async fn wrap<S: Duplex>(stream: S, host: &str, config: Arc<ClientConfig>) -> Result<TlsStream<S>, Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::new(ErrorKind::Tls, &format!("{host} is not a name that a certificate can contain")))?;
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| failure(&error))
}

/// The TLS configuration; reads the files of `tls`.
pub(super) fn config(tls: &Tls, protocols: &[&[u8]]) -> Result<ClientConfig, Failure> {
    let versions = if tls.newest_only { &[&TLS13][..] } else { rustls::DEFAULT_VERSIONS };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .map_err(|error| Failure::new(ErrorKind::Internal, &error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Judge::new(tls)?));
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = read_identity(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let words = format!("{} does not fit {}: {error}", identity.key.display(), identity.certificate.display());
                Failure::new(ErrorKind::Tls, &words)
            })?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// A configuration that trusts no server, for a client that needs one without using it.
pub(super) fn trusting_none() -> Result<ClientConfig, Failure> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(ErrorKind::Internal, &error.to_string()))?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn read_identity(identity: &ClientCertificate) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Failure> {
    let key = PrivateKeyDer::from_pem_file(&identity.key).map_err(|error| unreadable("the private key", &identity.key, &error))?;
    Ok((read_certificates(&identity.certificate)?, key))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unreadable = |error| unreadable("certificates", path, &error);
    let found: Vec<_> = CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if found.is_empty() {
        return Err(Failure::new(ErrorKind::Tls, &format!("{} contains no certificate in PEM", path.display())));
    }
    Ok(found)
}

fn unreadable(what: &str, path: &Path, error: &dyn Error) -> Failure {
    Failure::new(ErrorKind::Tls, &format!("cannot read {what} of {}: {error}", path.display()))
}

/// The system's trusted certificates, read once; in an image without any, the built-in ones of Mozilla.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let (now, certificates) = (UnixTime::now(), rustls_native_certs::load_native_certs().certs);
        store.add_parsable_certificates(certificates.into_iter().filter(|certificate| signs(certificate, now).is_ok()));
        if store.is_empty() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(store)
    });
    Arc::clone(roots)
}

/// Verifies as much of a server's certificate as is configured.
#[derive(Debug)]
struct Judge {
    verify: Verify,
    /// None if nothing is verified.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates of the configured file: one of them may be the server's own, as in OpenSSL.
    own: Vec<CertificateDer<'static>>,
    /// Why one of them is not an authority; reported if none of them is.
    unfit: Option<Unfit>,
    provider: Arc<CryptoProvider>,
}

impl Judge {
    fn new(tls: &Tls) -> Result<Self, Failure> {
        let provider = provider();
        let mut judge = Self { verify: tls.verify, chain: None, own: Vec::new(), unfit: None, provider: Arc::clone(&provider) };
        if tls.verify == Verify::Nothing {
            return Ok(judge);
        }
        let roots = match &tls.ca {
            Some(path) => {
                judge.own = read_certificates(path)?;
                let mut store = RootCertStore::empty();
                let now = UnixTime::now();
                for certificate in &judge.own {
                    match signs(certificate, now) {
                        Ok(()) => _ = store.add_parsable_certificates([certificate.clone()]),
                        Err(unfit) => judge.unfit = Some(unfit),
                    }
                }
                Arc::new(store)
            }
            None => system_roots(),
        };
        // Without any authority the file may still contain the server's own certificate.
        if !roots.is_empty() {
            let chain = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            judge.chain = Some(chain.map_err(|error| Failure::new(ErrorKind::Tls, &error.to_string()))?);
        }
        Ok(judge)
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.verify == Verify::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        if self.own.iter().any(|own| own == end_entity) {
            serves(end_entity, now)?;
            if self.verify == Verify::Full {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let Some(chain) = &self.chain else {
            return Err(self.unfit.map_or_else(|| CertificateError::UnknownIssuer.into(), rustls::Error::from));
        };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is verified last, so everything else is valid.
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }))
                if self.verify == Verify::Chain =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // A certificate that rustls cannot parse (X.509 v1) does not matter if nothing is verified.
        match verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms) {
            Err(rustls::Error::InvalidCertificate(_)) if self.verify == Verify::Nothing => Ok(HandshakeSignatureValid::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms) {
            Err(rustls::Error::InvalidCertificate(_)) if self.verify == Verify::Nothing => Ok(HandshakeSignatureValid::assertion()),
            verdict => verdict,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Classifies an error of a handshake, or of an established session.
pub(super) fn failure(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Failure::new(ErrorKind::Tls, &words(error)),
        None => Failure::new(kind_of_io(error), &format!("TLS handshake: {error}")).once_connected(),
    }
}

/// The text of an error of rustls, with an explanation.
pub(super) fn words(error: &rustls::Error) -> String {
    if let Some(unfit) = Unfit::of(error) {
        return unfit.to_string();
    }
    match hint(error) {
        Some(hint) => format!("{error}: {hint}"),
        None => error.to_string(),
    }
}

fn hint(error: &rustls::Error) -> Option<&'static str> {
    use rustls::Error as E;
    let refused = "the server refuses our client certificate or requires one; configure a client certificate and its key";
    Some(match error {
        E::InvalidCertificate(problem) => return certificate_hint(problem),
        E::InvalidMessage(_) => "the server does not speak TLS on this port",
        E::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied,
        ) => refused,
        E::AlertReceived(AlertDescription::HandshakeFailure) => {
            "the server has no cipher in common with us, or requires a client certificate"
        }
        E::AlertReceived(AlertDescription::ProtocolVersion) | E::PeerIncompatible(_) => {
            "the server has no version of TLS from 1.2 on in common with us"
        }
        E::AlertReceived(AlertDescription::UnrecognisedName) => "the server does not know this host name",
        _ => return None,
    })
}

fn certificate_hint(problem: &CertificateError) -> Option<&'static str> {
    Some(match problem {
        CertificateError::UnknownIssuer => "no trusted authority signed it; name the file of the authority that did (`ca`, `sslrootcert`)",
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "it names no host at all, or only in its common name (CN), which is ignored; create one with a subjectAltName"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it belongs to another host; connect by a name that it contains, or verify only the authority (`verify-ca`)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired; renew it, or check the clock",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet; check the clock",
        other => {
            let text = format!("{other:?}");
            if text.contains("CaUsedAsEndEntity") {
                "the server shows the certificate of an authority (CA:TRUE) as its own, for example `openssl req -x509` makes it; name that very \
                 certificate as `ca` (`sslrootcert`), or make one with CA:FALSE"
            } else if text.contains("UnsupportedCertVersion") {
                "it is of X.509 version 1, without extensions; create one of version 3 with a subjectAltName, or verify nothing (`require`)"
            } else {
                return None;
            }
        }
    })
}
