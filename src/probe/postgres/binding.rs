//! Binds a login to the certificate of the server (RFC 5929, `tls-server-end-point`), over an existing TLS stream.

use std::future::{Ready, ready};
use std::io;

use ring::digest::{Algorithm, SHA256, SHA384, SHA512, digest};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use crate::hooked_stream::{HookedStream, StreamHook};

/// The hash of a certificate for channel binding; none if its signature names no hash in use (RFC 5929, 4.1).
pub(super) fn of_certificate(certificate: &[u8]) -> Option<Vec<u8>> {
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, ... }, ... } (RFC 5280, 4.1)
    let (0x30, fields, _) = element(certificate)? else { return None };
    let (0x30, _, rest) = element(fields)? else { return None };
    let (0x30, algorithm, _) = element(rest)? else { return None };
    let (0x06, identifier, _) = element(algorithm)? else { return None };
    Some(digest(hash_of(identifier)?, certificate).as_ref().to_vec())
}

/// The hash of a signature's algorithm; MD5 and SHA-1 are replaced by SHA-256, as in the RFC.
fn hash_of(identifier: &[u8]) -> Option<&'static Algorithm> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA_WITH_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    const ECDSA_WITH_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
    if identifier == ECDSA_WITH_SHA1 {
        return Some(&SHA256);
    }
    match (identifier.strip_prefix(RSA), identifier.strip_prefix(ECDSA_WITH_SHA2)) {
        (Some([4 | 5 | 11]), _) | (_, Some([2])) => Some(&SHA256),
        (Some([12]), _) | (_, Some([3])) => Some(&SHA384),
        (Some([13]), _) | (_, Some([4])) => Some(&SHA512),
        _ => None,
    }
}

/// The first element of DER: its tag, its contents, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(length, _)| length.len() <= 3)?;
        (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

/// The channel binding, passed to the driver with an existing TLS stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Spoken(pub Option<Vec<u8>>);

/// A stream and its channel binding.
pub(super) type Bound<S> = HookedStream<S, Spoken>;

impl<S> StreamHook<S> for Spoken {}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsConnect<S> for Spoken {
    type Stream = Bound<S>;
    type Error = io::Error;
    type Future = Ready<io::Result<Bound<S>>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(Bound::new(stream, self)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Bound<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.hook.0.clone().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty body signed with the algorithm of this identifier.
    fn certificate(identifier: &[u8]) -> Vec<u8> {
        let algorithm = [&[0x06, identifier.len() as u8][..], identifier].concat();
        let algorithm = [&[0x30, algorithm.len() as u8][..], &algorithm].concat();
        let fields = [&[0x30, 0x81, 0x02, 0x05, 0x00][..], &algorithm].concat();
        [&[0x30, 0x82, 0x00, fields.len() as u8][..], &fields].concat()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let rsa = |last| [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last];
        for (last, length) in [(4, 32), (5, 32), (11, 32), (12, 48), (13, 64)] {
            assert_eq!(of_certificate(&certificate(&rsa(last))).unwrap().len(), length, "{last}");
        }
        // RSASSA-PSS names its hash elsewhere, Ed25519 has none.
        assert_eq!(of_certificate(&certificate(&rsa(10))), None);
        assert_eq!(of_certificate(&certificate(&[0x2b, 0x65, 0x70])), None);
        let whole = certificate(&rsa(11));
        (0..whole.len()).for_each(|length| assert_eq!(of_certificate(&whole[..length]), None));
    }
}
