//! Unsupported parameters of a URL: ignored with a notice, unless they require security that would then be missing.

use super::Written;
use crate::plan::target::ClientCertificate;

/// Words in the names of parameters that require encryption, verification of the server, or an authentication method.
const SOUNDS_OF_SECURITY: [&str; 10] = ["ssl", "tls", "cert", "crl", "verify", "gss", "binding", "requir", "fingerprint", "publickey"];

/// Names that look like it but can be ignored safely: our ciphers are strong, our key needs no passphrase, we send the name that we connect to, and a
/// client without its certificate is refused.
const HARMLESS: [&str; 21] = [
    "sslcompression",
    "sslsni",
    "sslpassword",
    "sslpasswordcallback",
    "sslkeylogfile",
    "sslmaxprotocolversion",
    "sslidentity",
    "sslinline",
    "sslcipher",
    "sslciphers",
    "tlsciphersuites",
    "sslfactory",
    "sslfactoryarg",
    "sslhostnameverifier",
    "sslcheckhostname",
    "sslresponsetimeout",
    "gsslib",
    "gssdelegation",
    "jaasapplicationname",
    "uselibpqcompat",
    "tlssessioncachesize",
];

/// Values with which such a parameter requires nothing.
const NOTHING: [&str; 10] = ["", "0", "false", "no", "off", "none", "disable", "disabled", "allow", "prefer"];

/// A name in lower case, without `-` and `_`, because the clients write them differently.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_ascii_lowercase()
}

/// Whether an unknown parameter requires security.
fn requests_security(name: &str, value: &str) -> bool {
    let name = plain(name);
    let sounds = SOUNDS_OF_SECURITY.iter().any(|word| name.contains(word));
    sounds && !HARMLESS.contains(&name.as_str()) && !NOTHING.contains(&value.to_ascii_lowercase().as_str())
}

/// A boolean in the syntax of the clients; none for another word.
pub(super) fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}

impl Written<'_, '_> {
    /// Reports that a parameter of the URL is ignored, or that its requirement is not supported.
    pub(super) fn ignored(&self, name: &str, value: &str) {
        if requests_security(name, value) {
            self.refused(name, "it requires security and is not supported here; use the keys of the target instead, or remove it");
        } else {
            self.section.context().notice(format!("{}: the parameter `{name}` is ignored", self.section.what("url")));
        }
    }

    /// A parameter that would be unsafe to ignore.
    pub(super) fn refused(&self, name: &str, why: &str) {
        self.section.problem(self.place_of_query(), format!("has the parameter `{name}`: {why}"));
    }

    /// The key in which the parameters were written.
    fn place_of_query(&self) -> &'static str {
        if self.section.has("query") && !self.section.has("url") { "query" } else { self.key("url") }
    }

    /// Uses a client certificate of the parameters instead of that of the section.
    pub(super) fn take_identity(&mut self, certificate: Option<std::path::PathBuf>, key: Option<std::path::PathBuf>) {
        if let Some(certificate) = certificate {
            self.tls.identity = Some(ClientCertificate { key: key.unwrap_or_else(|| certificate.clone()), certificate });
        } else if key.is_some() {
            self.section.problem(self.place_of_query(), "names the key of a client certificate without the certificate");
        }
    }

    /// A minimum version of TLS: up to 1.2 it always holds, 1.3 is applied, an unknown one is refused.
    pub(super) fn lowest_tls(&mut self, name: &str, value: &str) {
        match plain(value).trim_start_matches("tls").trim_start_matches("version.tls").trim_start_matches('v') {
            "1" | "1.0" | "1.1" | "1.2" | "10" | "11" | "12" | "" => {}
            "1.3" | "13" => self.tls.newest_only = true,
            _ => self.refused(name, "it is not a version of TLS such as `TLSv1.2` or `TLSv1.3`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_for_security_are_recognized() {
        for (name, value) in [
            ("sslmod", "require"),
            ("ssl_validate_ocsp", "true"),
            ("tlsCAFile", "/ca.pem"),
            ("fail_if_no_peer_cert", "true"),
            ("verify", "verify_peer"),
            ("requirepeer", "postgres"),
            ("serverSslCert", "/ca.pem"),
        ] {
            assert!(requests_security(name, value), "{name}");
        }
        for (name, value) in [
            ("sslpassword", "x"),
            ("ssl_ciphers", "HIGH"),
            ("ssl_something", "false"),
            ("pool_size", "5"),
            ("socket_timeout", "1"),
            ("authSource", "admin"),
            ("target", "x"),
            ("tlsmode", "DISABLED"),
        ] {
            assert!(!requests_security(name, value), "{name}");
        }
    }
}
