//! Probes message brokers and MongoDB with a minimal part of their protocols; one address has to respond.

mod amqp;
mod kafka;
mod mongodb;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bounded::{Allowance, Bounded};
use super::dial::{Duplex, dial_either, kind_of_io};
use super::first::first_of;
use super::tls;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{Address, BrokerTarget, Protocol};

/// A stream to a broker with a limit for its response.
type Stream = Bounded<Box<dyn Duplex>>;

/// Passes if one address responds. It opens a new connection each time, because accepting one is part of the check.
pub(super) async fn probe(target: &BrokerTarget, within: Duration) -> Result<(), Failure> {
    if let [only] = target.addresses.as_slice() {
        return one(target, only, within).await;
    }
    let target = Arc::new(target.clone());
    let probe = |address: Address| {
        let target = Arc::clone(&target);
        async move { one(&target, &address, within).await }
    };
    first_of(target.addresses.clone(), within, probe).await
}

async fn one(target: &BrokerTarget, address: &Address, within: Duration) -> Result<(), Failure> {
    let mut stream = dial_either(address, within).await?;
    if let Some(tls) = &target.tls {
        stream = Box::new(tls::wrap(stream, &address.host, Arc::new(tls::config(tls, &[])?)).await?);
    }
    let mut stream = Bounded::new(stream, Allowance::new());
    match &target.protocol {
        Protocol::Amqp { user, password, vhost } => amqp::probe(&mut stream, user, password, vhost).await,
        Protocol::Mongodb => mongodb::probe(&mut stream).await,
        Protocol::Kafka => kafka::probe(&mut stream).await,
    }
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> Result<(), Failure> {
    stream.write_all(bytes).await.map_err(|error| lost(&error))?;
    stream.flush().await.map_err(|error| lost(&error))
}

async fn receive(stream: &mut Stream, length: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.map_err(|error| lost(&error))?;
    Ok(bytes)
}

fn lost(error: &io::Error) -> Failure {
    if error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) {
        return tls::failure(error);
    }
    Failure::new(kind_of_io(error), &format!("talking to the server: {error}")).once_connected()
}

fn protocol(words: &str) -> Failure {
    Failure::new(ErrorKind::Protocol, words)
}
