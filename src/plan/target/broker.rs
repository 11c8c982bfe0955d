//! Message brokers and MongoDB: addresses, protocol and login.

use std::fmt;

use super::{Address, Tls};
use crate::secret::Secret;

/// A broker or a MongoDB; one of its addresses has to respond.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerTarget {
    /// The addresses, at least one.
    pub addresses: Vec<Address>,
    /// The protocol.
    pub protocol: Protocol,
    /// How TLS is used; none: no TLS.
    pub tls: Option<Tls>,
}

/// The protocol of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// AMQP 0-9-1, up to the opening of a virtual host.
    Amqp {
        /// The user.
        user: String,
        /// The user's password.
        password: Secret,
        /// The virtual host.
        vhost: String,
    },
    /// MongoDB's wire protocol: `hello`, then `ping`; without a login.
    Mongodb,
    /// Kafka's protocol: `ApiVersions`; without a login.
    Kafka,
}

impl BrokerTarget {
    /// The name of the kind.
    pub const fn kind(&self) -> &'static str {
        match self.protocol {
            Protocol::Amqp { .. } => "amqp",
            Protocol::Mongodb => "mongodb",
            Protocol::Kafka => "kafka",
        }
    }
}

impl fmt::Display for BrokerTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = if self.tls.is_some() && matches!(self.protocol, Protocol::Amqp { .. }) { "s" } else { "" };
        write!(f, "{}{secure}://", self.kind())?;
        if let Protocol::Amqp { user, .. } = &self.protocol {
            write!(f, "{user}@")?;
        }
        for (index, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if index > 0 { "," } else { "" })?;
        }
        match &self.protocol {
            Protocol::Amqp { vhost, .. } => write!(f, "/{}", vhost.replace('/', "%2F")),
            _ => Ok(()),
        }
    }
}
