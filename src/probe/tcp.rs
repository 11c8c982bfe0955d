//! Probes whether a port accepts connections.

use std::time::Duration;

use super::dial::{RefusedSocket, dial_again};
use crate::outcome::Failure;
use crate::plan::target::Address;

/// A check of a port.
#[derive(Debug)]
pub(super) struct TcpProbe {
    address: Address,
    refused: RefusedSocket,
}

impl TcpProbe {
    pub(super) fn new(address: Address) -> Self {
        Self { address, refused: RefusedSocket::default() }
    }

    /// Passes if one address of the host accepts a connection, which is closed at once.
    pub(super) async fn probe(&mut self, within: Duration) -> Result<(), Failure> {
        dial_again(&self.address, within, &mut self.refused).await.map(drop)
    }
}
