//! PostgreSQL and MySQL by URL and by parts.

use super::Written;
use super::tls::absolute;
use crate::config::interpolate::Text;
use crate::config::problem::suggest;
use crate::plan::target::{Address, Identity, MysqlTarget, PostgresTarget, ServerRole, Target};

/// Parameters of a PostgreSQL URL that change nothing about whether the server answers.
const IDLE_PARAMETERS: [&str; 7] =
    ["application_name", "client_encoding", "connect_timeout", "options", "sslcompression", "sslsni", "channel_binding"];

/// libpq's words for what a server has to be.
const ROLES: [(&str, ServerRole); 6] = [
    ("any", ServerRole::Any),
    ("read-write", ServerRole::ReadWrite),
    ("read-only", ServerRole::ReadOnly),
    ("primary", ServerRole::Primary),
    ("standby", ServerRole::Standby),
    ("prefer-standby", ServerRole::Any),
];

impl Written<'_, '_> {
    /// As libpq reads it: parameters of the query stand above the rest of the URL, the database defaults to the role's name.
    pub(super) fn postgres(mut self) -> Option<Target> {
        let mut sslmode = None;
        let mut role = self.section.word("role", &ROLES).unwrap_or_default();
        let mut database = self.database().ok()?;
        let (mut certificate, mut key) = (None, None);
        for (name, value) in self.address.parameters() {
            match name.as_str() {
                "sslmode" => sslmode = Some(value),
                // The system's are what is trusted without any.
                "sslrootcert" if value == "system" => {}
                "sslrootcert" => self.tls.ca = Some(absolute(&value)),
                "sslcert" => certificate = Some(absolute(&value)),
                "sslkey" => key = Some(absolute(&value)),
                "target_session_attrs" => match ROLES.iter().find(|(word, _)| *word == value) {
                    Some((_, meaning)) => role = *meaning,
                    None => {
                        let known = suggest(&value, ROLES.map(|(word, _)| word));
                        self.section.problem("url", format!("has the unknown target_session_attrs `{value}`{known}"));
                    }
                },
                "host" => self.address.host = value,
                "port" => match value.parse() {
                    Ok(port) => self.address.port = Some(port),
                    Err(_) => self.section.problem("url", "has a parameter `port` that is not a number from 1 to 65535"),
                },
                "user" => self.address.user = Some(value),
                "password" => self.address.password = Some(value),
                "dbname" if self.database.is_none() => database = Some(value),
                idle if IDLE_PARAMETERS.contains(&idle) || idle.starts_with("keepalives") => {}
                ssl if ssl.starts_with("ssl") => {
                    self.section.problem("url", format!("has the parameter `{ssl}`, which is not supported yet"))
                }
                other => self.ignored(other),
            }
        }
        self.take_identity(certificate, key);
        let word = self.sslmode.as_ref().map(Text::value).or(sslmode);
        let (sslmode, tls) = self.tls.by_mode(self.section, self.key("sslmode"), word.as_deref());
        let user = self.user().unwrap_or_else(|| "postgres".to_owned());
        let database = database.filter(|database| !database.is_empty()).unwrap_or_else(|| user.clone());
        let password = self.password();
        Some(Target::Postgres(PostgresTarget { address: self.place(Some(5432))?, user, password, database, tls, sslmode, role }))
    }

    /// Parameters as the clients of MySQL name them; most of them are about the client alone.
    pub(super) fn mysql(mut self) -> Option<Target> {
        let mut sslmode = None;
        let mut socket = self.path.as_ref().map(Text::value);
        let (mut certificate, mut key) = (None, None);
        for (name, value) in self.address.parameters() {
            match name.to_ascii_lowercase().replace('_', "-").as_str() {
                "sslmode" | "ssl-mode" => sslmode = Some(value),
                "ssl-ca" => self.tls.ca = Some(absolute(&value)),
                "ssl-cert" => certificate = Some(absolute(&value)),
                "ssl-key" => key = Some(absolute(&value)),
                "unix-socket" | "socket" => socket = Some(value),
                "charset" | "connect-timeout" => {}
                other => self.ignored(other),
            }
        }
        self.take_identity(certificate, key);
        let word = self.sslmode.as_ref().map(Text::value).or(sslmode);
        let (sslmode, tls) = self.tls.by_mode(self.section, self.key("sslmode"), word.as_deref());
        let address = match socket {
            Some(path) if path.starts_with('/') => Address { host: path, port: 0 },
            Some(_) => {
                self.section.problem(self.key("path"), "names a socket whose path does not begin with `/`");
                return None;
            }
            None => self.place(Some(3306))?,
        };
        let (user, password, database) = (self.user().unwrap_or_else(|| "root".to_owned()), self.password(), self.database().ok()?);
        Some(Target::Mysql(MysqlTarget { address, user, password, database, tls, sslmode }))
    }

    fn take_identity(&mut self, certificate: Option<std::path::PathBuf>, key: Option<std::path::PathBuf>) {
        if let Some(certificate) = certificate {
            self.tls.identity = Some(Identity { key: key.unwrap_or_else(|| certificate.clone()), certificate });
        } else if key.is_some() {
            self.section.problem("url", "names the key of a client certificate without the certificate");
        }
    }
}
