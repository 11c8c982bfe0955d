//! Asks one target once, within a deadline.

pub mod dial;
mod http;
pub mod postgres;
pub mod redis;
mod tcp;

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::outcome::{Class, Failure, Outcome};
use crate::plan::target::{Address, Target};
use dial::shown;

/// A target with the connection that is kept between two questions.
#[derive(Debug)]
pub struct Probe(Kind);

#[derive(Debug)]
enum Kind {
    Tcp(Address),
    Http(http::HttpProbe),
    Postgres(postgres::PostgresProbe),
    Redis(redis::RedisProbe),
}

impl Probe {
    /// A probe of `target` that has no connection yet.
    pub fn new(target: &Target) -> Self {
        Self(match target.clone() {
            Target::Tcp(address) => Kind::Tcp(address),
            Target::Http(target) => Kind::Http(http::HttpProbe::new(target)),
            Target::Postgres(target) => Kind::Postgres(postgres::PostgresProbe::new(target)),
            Target::Redis(target) => Kind::Redis(redis::RedisProbe::new(target)),
        })
    }

    /// Asks once. After `within` the question is dropped together with its connection, whatever state that is in,
    /// so a peer that accepts and then stays silent is a [`Class::Timeout`] like any other.
    pub async fn ask(&mut self, within: Duration) -> Outcome {
        let began = Instant::now();
        // Connecting gets a little less, so that its own words come before these.
        let result = timeout(within, self.once(within.mul_f64(0.95))).await;
        let result = result.unwrap_or_else(|_| Err(Failure::new(Class::Timeout, &format!("no answer within {}", shown(within)))));
        Outcome { result, elapsed: began.elapsed().min(within), parts: Vec::new() }
    }

    /// While a question is open its connection belongs to the question's future: dropping that closes it.
    async fn once(&mut self, within: Duration) -> Result<(), Failure> {
        match &mut self.0 {
            Kind::Tcp(address) => tcp::ask(address, within).await,
            Kind::Http(probe) => probe.ask().await,
            Kind::Postgres(probe) => probe.ask(within).await,
            Kind::Redis(probe) => probe.ask(within).await,
        }
    }
}
