//! A Dify whose APIs are asked one by one, each client with its keys.

use std::fmt;
use std::time::Duration;

pub use crate::config::dify::{Api, DifyClient};
use crate::secret::Secret;

/// A Dify and what is asked of it.
#[derive(Clone, Debug, PartialEq)]
pub struct DifyTarget {
    /// Scheme, host, port and the path before `/v1`, without a slash at the end.
    pub url: String,
    /// Who logs in at the console; none: nobody does.
    pub account: Option<DifyAccount>,
    /// The clients, in the order of the report.
    pub clients: Vec<ClientPlan>,
    /// How many calls are under way at a time, at least 1.
    pub at_once: usize,
    /// How long each call may take.
    pub timeout: Duration,
}

/// Who logs in at the console.
#[derive(Clone, Debug, PartialEq)]
pub struct DifyAccount {
    /// The address.
    pub email: String,
    /// The password as it is sent.
    pub password: Secret,
}

/// One client, what it asks, and by which keys.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientPlan {
    /// Which one.
    pub client: DifyClient,
    /// What it asks, in the order of the report.
    pub apis: Vec<Api>,
    /// Its keys.
    pub keys: Keys,
}

/// Where the keys of a client come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// They were written; one that is empty is not configured.
    Written(Vec<Option<Secret>>),
    /// The account looks them up.
    Discovered,
    /// It asks with the account's session.
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
