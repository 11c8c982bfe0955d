//! Checks trusted certificates like OpenSSL, and so curl and libpq: validity period, usable for servers, allowed to sign others.
//!
//! webpki accepts every given certificate as an authority, without these checks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, OtherError};
use x509_cert::certificate::{Certificate, Version};
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};

/// Why a trusted certificate is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Unreadable,
    Expired,
    NotYet,
    /// It is not for servers.
    NoServer,
    /// It may not sign other certificates.
    NoAuthority,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "the trusted certificate cannot be read; create another one",
            Self::Expired => "the trusted certificate has expired; renew it, or check the clock",
            Self::NotYet => "the trusted certificate is not valid yet; check the clock",
            Self::NoServer => "the trusted certificate is not for servers, according to its key usage; create one for servers (serverAuth)",
            Self::NoAuthority => {
                "the trusted certificate does not belong to an authority (CA:FALSE), so it signs no others; name that of the authority, or the server's own"
            }
        })
    }
}

impl std::error::Error for Unfit {}

impl From<Unfit> for rustls::Error {
    fn from(unfit: Unfit) -> Self {
        CertificateError::Other(OtherError(Arc::new(unfit))).into()
    }
}

impl Unfit {
    /// Extracts this reason from a failed verification.
    pub(super) fn of(error: &rustls::Error) -> Option<Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref().copied(),
            _ => None,
        }
    }
}

/// Whether a server may use exactly this trusted certificate.
pub(super) fn serves(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Unfit> {
    let certificate = read(certificate)?;
    in_time(&certificate, now)?;
    let extension = certificate.tbs_certificate();
    let usages = extension.get_extension::<ExtendedKeyUsage>().map_err(|_| Unfit::Unreadable)?;
    let keys = extension.get_extension::<KeyUsage>().map_err(|_| Unfit::Unreadable)?;
    // RFC 5280, 4.2.1.12 and 4.2.1.3: without the extension the use is not limited.
    let is_for_servers =
        usages.is_none_or(|(_, usages)| usages.0.iter().any(|usage| [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(usage)));
    let of_tls = KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment | KeyUsages::KeyAgreement;
    let keys_serve = keys.is_none_or(|(_, keys)| !keys.0.is_disjoint(of_tls));
    if is_for_servers && keys_serve { Ok(()) } else { Err(Unfit::NoServer) }
}

/// Whether certificates signed by this one are trusted.
pub(super) fn signs(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Unfit> {
    let certificate = read(certificate)?;
    in_time(&certificate, now)?;
    let body = certificate.tbs_certificate();
    let basic = body.get_extension::<BasicConstraints>().map_err(|_| Unfit::Unreadable)?;
    let keys = body.get_extension::<KeyUsage>().map_err(|_| Unfit::Unreadable)?;
    let may = keys.map(|(_, keys)| keys.0.contains(KeyUsages::KeyCertSign));
    // Certificates before version 3 do not contain it: a self-signed one counts as an authority, as in OpenSSL.
    let is_old_root = || body.version() == Version::V1 && body.subject() == body.issuer();
    let is_authority = basic.map_or_else(|| may == Some(true) || is_old_root(), |(_, basic)| basic.ca);
    if is_authority && may != Some(false) { Ok(()) } else { Err(Unfit::NoAuthority) }
}

fn read(certificate: &CertificateDer<'_>) -> Result<Certificate, Unfit> {
    Certificate::from_der(certificate).map_err(|_| Unfit::Unreadable)
}

fn in_time(certificate: &Certificate, now: UnixTime) -> Result<(), Unfit> {
    let (validity, now) = (certificate.tbs_certificate().validity(), Duration::from_secs(now.as_secs()));
    if now > validity.not_after.to_unix_duration() {
        return Err(Unfit::Expired);
    }
    if now < validity.not_before.to_unix_duration() { Err(Unfit::NotYet) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    /// A time within the validity of all of them, which is ten years from November 2026 on.
    const NOW: u64 = 1_830_000_000;

    fn looked_at(pem: &[u8], seconds: u64) -> (Result<(), Unfit>, Result<(), Unfit>) {
        let certificate = CertificateDer::from_pem_slice(pem).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        (serves(&certificate, now), signs(&certificate, now))
    }

    #[test]
    fn a_trusted_certificate_is_valid_only_for_its_purpose_and_period() {
        let leaf = include_bytes!("fitness/leaf.pem");
        let authority = include_bytes!("fitness/authority.pem");
        assert_eq!(looked_at(leaf, NOW), (Ok(()), Err(Unfit::NoAuthority)));
        assert_eq!(looked_at(include_bytes!("fitness/client.pem"), NOW), (Err(Unfit::NoServer), Err(Unfit::NoAuthority)));
        assert_eq!(looked_at(authority, NOW), (Err(Unfit::NoServer), Ok(())));
        assert_eq!(looked_at(include_bytes!("fitness/old.pem"), NOW), (Ok(()), Ok(())));
        for pem in [&leaf[..], &authority[..]] {
            assert_eq!(looked_at(pem, 4_000_000_000), (Err(Unfit::Expired), Err(Unfit::Expired)));
            assert_eq!(looked_at(pem, 1_000_000_000), (Err(Unfit::NotYet), Err(Unfit::NotYet)));
        }
        let cut = CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01]);
        assert_eq!(serves(&cut, UnixTime::now()), Err(Unfit::Unreadable));
    }
}
