//! The client of HTTP checks, with our own name resolution and TLS configuration, and the classification of its errors.

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

/// The maximum number of headers; the client limits their size to 400 KiB.
const MOST_HEADERS: usize = 1000;

/// A client that keeps no connections, with `within` as connect timeout. A proxy is used only if the target requires that of the
/// environment (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`).
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
        .map_err(|error| Failure::new(ErrorKind::Internal, &format!("the HTTP client cannot be created: {}", words_of_chain(&error))))
}

/// Resolves names like all other checks, within a time.
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

/// Why a request failed, and whether there was a connection.
pub(in crate::probe) struct ExchangeError {
    pub failure: Failure,
    pub connected: bool,
}

impl ExchangeError {
    /// Classifies an error of the client. Its own text contains the URL, whose query may contain a key, so only its causes are used.
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

/// Classifies an error on an existing connection.
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

/// The error of rustls anywhere in the chain of causes: a client certificate is refused only after the handshake.
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
