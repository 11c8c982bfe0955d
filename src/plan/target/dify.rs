//! A Dify whose APIs are monitored, each client with its keys.

use std::fmt;
use std::time::Duration;

pub use crate::config::dify::{Api, DifyClient};
use crate::secret::Secret;

/// A Dify and the APIs to call.
#[derive(Clone, Debug, PartialEq)]
pub struct DifyTarget {
    /// Scheme, host, port and the path before `/v1`, without a slash at the end.
    pub url: String,
    /// The console account; none: no login.
    pub account: Option<DifyAccount>,
    /// The clients, in the order of the report.
    pub clients: Vec<ClientPlan>,
    /// How many calls run in parallel, at least 1.
    pub at_once: usize,
    /// How long each call may take.
    pub timeout: Duration,
}

/// The console account.
#[derive(Clone, Debug, PartialEq)]
pub struct DifyAccount {
    /// The address.
    pub email: String,
    /// The password in the form that is sent.
    pub password: Secret,
}

/// One client, its methods and its keys.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientPlan {
    /// The client.
    pub client: DifyClient,
    /// Its methods, in the order of the report.
    pub apis: Vec<Api>,
    /// Its keys.
    pub keys: Keys,
}

/// The source of a client's keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// The configuration; an empty key is not configured.
    Written(Vec<Option<Secret>>),
    /// The account looks them up.
    Discovered,
    /// It uses the session of the account.
    Session,
}

impl fmt::Display for DifyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        for (index, plan) in self.clients.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { " " } else { ", " }, plan.client.word())?;
        }
        Ok(())
    }
}
