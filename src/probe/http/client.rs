//! The client of HTTP checks: names by our own resolution, TLS by our own configuration, and what its errors mean.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::Duration;

use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use rustls::ClientConfig;
use url::{Position, Url};

use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::Address;
use crate::probe::dial::{kind_of_chain, kind_of_io, resolve, shown, words_of_chain};
use crate::probe::tls;

/// The most headers that are read; the client bounds the head at 400 KiB.
const MOST_HEADERS: usize = 1000;

/// A client that keeps no connection and gives each `within` that time to come about. A proxy is asked only where the one of the environment
/// is wanted (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
pub(in crate::probe) fn build(tls: ClientConfig, environment_proxy: bool, within: Duration) -> Result<Client, Failure> {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(OwnNames(within.mul_f64(0.95)))
        .connect_timeout(within)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .pool_max_idle_per_host(0)
        .http1_max_headers(MOST_HEADERS)
        .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
    let builder = if environment_proxy { builder } else { builder.no_proxy() };
    builder
        .build()
        .map_err(|error| Failure::new(ErrorKind::Internal, &format!("the HTTP client cannot be made: {}", words_of_chain(&error))))
}

/// Resolves names as every other check does, within a time.
#[derive(Debug)]
struct OwnNames(Duration);

impl Resolve for OwnNames {
    fn resolve(&self, name: Name) -> Resolving {
        let within = self.0;
        Box::pin(async move {
            // The client sets the port.
            let address = Address { host: name.as_str().to_owned(), port: 0 };
            let found = resolve(&address, within).await.map_err(Unresolved)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Carries our own failure through the client's error.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.private.as_str())]
struct Unresolved(Failure);

/// Why an exchange failed, and whether there was a connection by then.
pub(in crate::probe) struct ExchangeError {
    pub failure: Failure,
    pub connected: bool,
}

impl ExchangeError {
    /// What an error of the client means. Its own text names the URL, whose query may hold a key, so only its causes are told.
    pub(in crate::probe) fn of(error: &reqwest::Error, url: &Url, within: Duration) -> Self {
        let connecting = |kind, words: &dyn std::fmt::Display| {
            let place = &url[Position::BeforeHost..Position::AfterPort];
            Self { failure: Failure::new(kind, &format!("connecting to {place}: {words}")), connected: false }
        };
        let connected = |failure| Self { failure, connected: true };
        if let Some(Unresolved(failure)) = cause(error) {
            return Self { failure: failure.clone(), connected: false };
        }
        if error.is_connect() && tls_words(error).is_none() {
            return match cause::<io::Error>(error) {
                _ if error.is_timeout() => connecting(ErrorKind::Timeout, &format_args!("no answer within {}", shown(within))),
                // The TLS layer wraps the errors of the stream below it.
                Some(outer) => match outer.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
                    Some(handshake) => connected(tls::failure(handshake)),
                    None => connecting(kind_of_io(outer), outer),
                },
                None => connecting(ErrorKind::Protocol, &error.source().map(words_of_chain).unwrap_or_default()),
            };
        }
        connected(response_failure(error))
    }
}

/// What an error means on a connection that was there.
pub(in crate::probe) fn response_failure(error: &reqwest::Error) -> Failure {
    if let Some(words) = tls_words(error) {
        return Failure::new(ErrorKind::Tls, &words);
    }
    let Some(error) = cause::<hyper::Error>(error) else {
        return Failure::new(ErrorKind::Protocol, &error.source().map(words_of_chain).unwrap_or_default());
    };
    let closed = error.is_incomplete_message() || error.is_canceled();
    let kind = kind_of_chain(error).unwrap_or(if closed { ErrorKind::Refused } else { ErrorKind::Protocol });
    Failure::new(kind, &words_of_chain(error)).once_connected()
}

/// The first cause of this type.
fn cause<E: Error + 'static>(error: &reqwest::Error) -> Option<&E> {
    successors(error.source(), |cause| (*cause).source()).find_map(|cause| cause.downcast_ref())
}

/// What rustls says, wherever in the chain of causes it stands: a client's certificate is judged after the handshake.
fn tls_words(error: &reqwest::Error) -> Option<String> {
    successors(error.source(), |cause| (*cause).source()).find_map(|cause| {
        let mut inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        while let Some(io) = inner.and_then(|inner| inner.downcast_ref::<io::Error>()) {
            inner = io.get_ref();
        }
        let rustls = cause.downcast_ref::<rustls::Error>().or_else(|| inner?.downcast_ref());
        rustls.map(tls::words)
    })
}
