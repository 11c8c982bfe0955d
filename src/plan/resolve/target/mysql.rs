//! MySQL and MariaDB by URL and by parts, with the parameters of the clients that applications use.

use super::Written;
use super::parameters::{plain, truth};
use super::tls::absolute;
use crate::plan::target::{Address, MysqlTarget, ServerKey, SslMode, Target, Verify};

/// How much of the server's certificate a parameter requires to verify.
#[derive(Default)]
struct Wanted {
    mode: Option<String>,
    verify: Option<Verify>,
}

impl Wanted {
    /// TLS with at least this verification.
    fn at_least(&mut self, verify: Verify) {
        self.mode.get_or_insert_with(|| "require".to_owned());
        if self.verify != Some(Verify::Full) {
            self.verify = Some(verify);
        }
    }
}

impl Written<'_, '_> {
    /// Parameters of the MySQL clients; most of them concern only the client.
    pub(super) fn mysql(mut self) -> Option<Target> {
        let mut wanted = Wanted::default();
        let mut socket = self.keys.path.value();
        let (mut certificate, mut key, mut server_key) = (None, None, ServerKey::default());
        for (name, value) in self.address.parameters() {
            match plain(&name).as_str() {
                "sslmode" => wanted.mode = Some(value),
                "ssl" | "tls" | "usessl" | "requiressl" => self.mysql_flag(&mut wanted, &name, &value),
                // The parameters of Connector/J, MariaDB and the Python clients.
                "verifyservercertificate" | "sslverifycert" | "sslverify" if truth(&value) == Some(true) => wanted.at_least(Verify::Chain),
                "sslverifyidentity" | "sslverifyservercert" if truth(&value) == Some(true) => wanted.at_least(Verify::Full),
                "sslaccept" if value == "strict" => wanted.at_least(Verify::Full),
                "sslaccept" if value == "accept_invalid_certs" => {}
                "ssldisabled" if truth(&value) == Some(true) => wanted.mode = Some("disable".to_owned()),
                "sslca" => self.tls.ca = Some(absolute(&value)),
                "sslcert" => certificate = Some(absolute(&value)),
                "sslkey" => key = Some(absolute(&value)),
                "tlsversion" | "tlsversions" | "enabledtlsprotocols" => {
                    // A list of allowed versions: we use 1.2 and 1.3.
                    let lowest = value.split(',').map(|version| version.trim_matches(['[', ']', ' ', '\'', '"'])).min().unwrap_or_default();
                    self.lowest_tls(&name, lowest);
                }
                "unixsocket" | "socket" => socket = Some(value),
                "user" if self.address.user.is_none() => self.address.user = Some(value),
                "password" if self.address.password.is_none() => self.address.password = Some(value),
                "getserverpublickey" | "allowpublickeyretrieval" => match truth(&value) {
                    Some(false) if server_key == ServerKey::Requested => server_key = ServerKey::None,
                    Some(_) => {}
                    None => self.refused(&name, "it is neither `true` nor `false`"),
                },
                "serverpublickeypath" | "serverrsapublickeyfile" => server_key = ServerKey::File(absolute(&value)),
                "charset" | "connecttimeout" => {}
                _ => self.ignored(&name, &value),
            }
        }
        self.take_identity(certificate, key);
        let word = self.keys.sslmode.value().or(wanted.mode);
        let (sslmode, mut tls) = self.tls.by_mode(self.section, self.key("sslmode"), word.as_deref());
        match wanted.verify {
            Some(_) if sslmode == SslMode::Disable => self.section.problem("url", "requires verified TLS and no TLS at the same time"),
            Some(verify) if tls.verify != Verify::Full => tls.verify = verify,
            _ => {}
        }
        let address = match socket {
            Some(path) if path.starts_with('/') => Address { host: path, port: 0 },
            Some(_) => {
                self.section.problem(self.key("path"), "names a socket whose path does not begin with `/`");
                return None;
            }
            None => self.place(Some(3306))?,
        };
        let (user, password, database) = (self.user().unwrap_or_else(|| "root".to_owned()), self.password(), self.database().ok()?);
        Some(Target::Mysql(MysqlTarget { address, user, password, database, tls, sslmode, server_key }))
    }

    /// `ssl=`, `tls=` and so on: a boolean, a mode, or an object of options (Node's mysql2).
    fn mysql_flag(&self, wanted: &mut Wanted, name: &str, value: &str) {
        // `tls=true` verifies in Go's driver; the others only encrypt.
        let go = plain(name) == "tls";
        match (truth(value), value.to_ascii_lowercase().as_str()) {
            (Some(true), _) if go => wanted.at_least(Verify::Full),
            (Some(true), _) => wanted.mode = Some("require".to_owned()),
            (Some(false), _) if plain(name) == "requiressl" => {}
            (Some(false), _) => wanted.mode = Some("disable".to_owned()),
            (None, "skip-verify") => wanted.mode = Some("no-verify".to_owned()),
            (None, "preferred" | "prefer" | "required" | "require") => wanted.mode = Some(value.to_owned()),
            (None, text) if text.starts_with('{') => match serde_json::from_str::<serde_json::Value>(value) {
                Ok(options) if options.get("rejectUnauthorized").and_then(serde_json::Value::as_bool) == Some(false) => {
                    wanted.mode = Some("no-verify".to_owned());
                }
                Ok(options) if options.get("ca").is_none() => {
                    let identity = options.get("verifyIdentity").and_then(serde_json::Value::as_bool) == Some(true);
                    wanted.at_least(if identity { Verify::Full } else { Verify::Chain });
                }
                _ => self.refused(name, "its TLS options are not supported here; write `sslmode` and `ca`"),
            },
            _ => self.refused(name, "it names options of the application; write `sslmode` and `ca`"),
        }
    }
}
