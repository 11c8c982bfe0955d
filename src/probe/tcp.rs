//! Asks whether a port accepts connections.

use std::time::Duration;

use super::dial::dial;
use crate::outcome::Failure;
use crate::plan::target::Address;

/// Passes when one address of the host accepts a connection; it is closed at once.
pub(super) async fn ask(address: &Address, within: Duration) -> Result<(), Failure> {
    dial(address, within).await.map(drop)
}
