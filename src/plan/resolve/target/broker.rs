//! Message brokers and MongoDB by URL and by parts.

use percent_encoding::percent_decode_str;

use super::Written;
use super::tls::absolute;
use crate::plan::target::{Address, BrokerTarget, Protocol, Target, Tls};
use crate::secret::Secret;

impl Written<'_, '_> {
    /// `amqp://user:password@host/vhost`; without a path the virtual host is `/`, as in kombu and RabbitMQ's own clients.
    pub(super) fn amqp(mut self) -> Option<Target> {
        for (name, value) in self.address.parameters() {
            match name.as_str() {
                "cacertfile" => self.tls.ca = Some(absolute(&value)),
                "auth_mechanism" if !value.eq_ignore_ascii_case("plain") => {
                    self.section.problem("url", "requires another auth_mechanism than `plain`, which is not supported");
                }
                "certfile" | "keyfile" => {
                    self.section.problem("url", "names a client certificate; use the keys `client_certificate` and `client_key`")
                }
                // All other parameters concern the client: heartbeats, limits, names. Verification stays on, whatever `verify` says.
                _ => {}
            }
        }
        let tls = self.tls.chosen(self.section, self.secure);
        let vhost = self.database_part().unwrap_or_else(|| {
            let path = self.address.path.strip_prefix('/').unwrap_or_default();
            percent_decode_str(path).decode_utf8_lossy().into_owned()
        });
        if vhost.len() > 255 {
            self.section.problem(self.key("database"), "names a virtual host of more than 255 bytes");
        }
        let vhost = if vhost.is_empty() { "/".to_owned() } else { vhost };
        let user = self.user().unwrap_or_else(|| "guest".to_owned());
        let password = self.password().unwrap_or_else(|| Secret::new("guest"));
        let protocol = Protocol::Amqp { user, password, vhost };
        self.broker(if tls.is_some() { 5671 } else { 5672 }, protocol, tls)
    }

    /// The TLS options of MongoDB's connection string are read; no login is attempted.
    pub(super) fn mongodb(mut self) -> Option<Target> {
        for (name, value) in self.address.parameters() {
            let on = value.eq_ignore_ascii_case("true");
            match name.to_ascii_lowercase().as_str() {
                "tls" | "ssl" => self.tls.wanted = Some(on),
                "tlscafile" => self.tls.ca = Some(absolute(&value)),
                "tlsinsecure" | "tlsallowinvalidcertificates" => self.tls.insecure |= on,
                tls if tls.starts_with("tls") || tls.starts_with("ssl") => {
                    self.section.problem("url", format!("has the parameter `{tls}`, which is not supported"));
                }
                _ => {}
            }
        }
        let tls = self.tls.chosen(self.section, false);
        self.without_login();
        self.broker(27017, Protocol::Mongodb, tls)
    }

    /// `kafka://a:9092,b:9092`.
    pub(super) fn kafka(self) -> Option<Target> {
        if !matches!(self.address.path.as_str(), "" | "/") {
            self.section.problem("url", "has more than `kafka://host:port`");
        }
        let tls = self.tls.chosen(self.section, false);
        self.without_login();
        self.broker(9092, Protocol::Kafka, tls)
    }

    fn without_login(&self) {
        if self.user().is_some() || self.password().is_some() {
            let what = self.section.what("url");
            self.section.context().notice(format!("{what}: no login is attempted; only what the server answers without one is checked"));
        }
    }

    fn broker(self, port: u16, protocol: Protocol, tls: Option<Tls>) -> Option<Target> {
        let mut addresses = vec![self.place(Some(port))?];
        addresses.extend(self.address.more.iter().map(|(host, own)| Address { host: host.clone(), port: own.unwrap_or(port) }));
        Some(Target::Broker(BrokerTarget { addresses, protocol, tls }))
    }
}
