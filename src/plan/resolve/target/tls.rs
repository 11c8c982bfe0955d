//! The TLS keys of a section.

use std::path::PathBuf;

use crate::config::interpolate::Text;
use crate::config::problem::suggest;
use crate::config::reader::Section;
use crate::config::target::TargetKeys;
use crate::config::values::Maybe;
use crate::plan::target::{ClientCertificate, SslMode, Tls, Verify};

/// The TLS settings of a section, whatever its kind.
#[derive(Clone, Default)]
pub(super) struct TlsOptions {
    /// `tls = true` or `false`.
    pub wanted: Option<bool>,
    pub insecure: bool,
    pub ca: Option<PathBuf>,
    pub identity: Option<ClientCertificate>,
    /// Nothing older than TLS 1.3.
    pub newest_only: bool,
}

impl TlsOptions {
    pub(super) fn read(section: &Section<'_>, keys: &TargetKeys) -> Self {
        let path = |key: &Maybe<Text>| key.value().map(|path| absolute(&path));
        let (wanted, insecure, ca) = (keys.tls, keys.insecure, path(&keys.ca));
        if insecure && ca.is_some() {
            section.problem("insecure", "verifies nothing, so `ca` has no effect; keep one of them");
        }
        let identity = match (path(&keys.client_certificate), path(&keys.client_key)) {
            (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
            // Both in one file, as many tools keep them.
            (Some(certificate), None) => Some(ClientCertificate { key: certificate.clone(), certificate }),
            (None, Some(_)) => {
                section.problem("client_key", "has no `client_certificate` beside it");
                None
            }
            (None, None) => None,
        };
        Self { wanted, insecure, ca, identity, newest_only: false }
    }

    /// TLS if the scheme or the key `tls` requires it.
    pub(super) fn chosen(&self, section: &Section<'_>, secure: bool) -> Option<Tls> {
        if secure && self.wanted == Some(false) {
            section.problem("tls", "is `false`, but the scheme requires TLS");
        }
        if secure || self.wanted == Some(true) {
            return Some(self.verifying());
        }
        if self.insecure || self.ca.is_some() || self.identity.is_some() {
            let key = ["ca", "client_certificate", "insecure"].into_iter().find(|key| section.has(key)).unwrap_or("tls");
            section.problem(key, "has no effect without TLS; write `tls = true`");
        }
        None
    }

    /// Verification including the name, unless the section says otherwise.
    pub(super) fn verifying(&self) -> Tls {
        let verify = if self.insecure { Verify::Nothing } else { Verify::Full };
        self.with(verify)
    }

    /// As in libpq: `verify-…` verifies, and so does a given authority with any other word.
    pub(super) fn by_mode(&self, section: &Section<'_>, key: &str, word: Option<&str>) -> (SslMode, Tls) {
        const WORDS: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
        let lower = word.map(|word| word.to_ascii_lowercase().replace('_', "-"));
        let mode = match lower.as_deref() {
            None | Some("prefer" | "preferred") => SslMode::Prefer,
            Some("disable" | "disabled") => SslMode::Disable,
            Some("allow") => SslMode::Allow,
            Some("require" | "required" | "no-verify" | "verify-ca" | "verify-full" | "verify-identity") => SslMode::Require,
            Some(unknown) => {
                section.problem(key, format!("has the unknown sslmode `{unknown}`{}", suggest(unknown, WORDS)));
                SslMode::Prefer
            }
        };
        let verify = match lower.as_deref() {
            Some("verify-full" | "verify-identity") => Verify::Full,
            Some("verify-ca") => Verify::Chain,
            // The word of node-postgres: encrypted, without verification.
            Some("no-verify") => Verify::Nothing,
            _ if self.ca.is_some() => Verify::Chain,
            _ => Verify::Nothing,
        };
        (mode, self.with(verify))
    }

    fn with(&self, verify: Verify) -> Tls {
        Tls { verify, ca: self.ca.clone(), identity: self.identity.clone(), newest_only: self.newest_only }
    }
}

/// Relative to the directory in which portcullis was started, because it changes its directory itself.
pub(super) fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path))
}
