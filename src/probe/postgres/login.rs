//! One login to one PostgreSQL, with or without TLS, that sends the password only if allowed.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::config::{ChannelBinding, SslMode as DriverSslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Connection};

use super::binding::{Bound, Spoken, of_certificate};
use super::failure;
use super::guard::{Guard, guard};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{Address, PostgresHost, PostgresTarget, SslMode, Verify};
use crate::probe::bounded::{Allowance, Bounded};
use crate::probe::dial::{Duplex, dial, dial_unix, kind_of_io, notice_loss};
use crate::probe::tls;

/// How long sent data may stay unacknowledged before the kernel drops the connection: a lock is lost well before its lease ends
/// (`docs/decisions.md`, 1).
const LOSS: Duration = Duration::from_secs(10);

/// The ALPN protocol name for direct TLS (PostgreSQL: SSL session encryption).
const ALPN: &[u8] = b"postgresql";

/// The driver's two halves of a connection, and its response limit.
pub(super) type LoggedIn = (Client, Connection<Guard, Bound<Guard>>, Allowance);

/// A login that failed.
struct Refusal {
    failure: Failure,
    /// Whether the server has no rule for this client, which may differ with encryption (SQLSTATE 28000).
    no_rule: bool,
    encrypted: bool,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, no_rule: false, encrypted: false }
    }
}

/// Whether a login uses TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encrypt {
    No,
    IfOffered,
    Yes,
}

/// Connects and logs in, with or without TLS in libpq's order.
pub(super) async fn log_in(target: &PostgresTarget, host: &PostgresHost, name: &str, within: Duration) -> Result<LoggedIn, Failure> {
    let once = |encrypt| once(target, host, name, within, encrypt);
    let login = match target.sslmode {
        _ if host.address.host.starts_with('/') => once(Encrypt::No).await,
        SslMode::Disable => once(Encrypt::No).await,
        SslMode::Require => once(Encrypt::Yes).await,
        SslMode::Allow => match once(Encrypt::No).await {
            Err(Refusal { no_rule: true, .. }) => once(Encrypt::Yes).await,
            other => other,
        },
        SslMode::Prefer => match once(Encrypt::IfOffered).await {
            // If the name has to be verified, there is no fallback without TLS.
            Err(Refusal { no_rule: true, encrypted: true, .. } | Refusal { failure: Failure { kind: ErrorKind::Tls, .. }, .. })
                if target.tls.verify != Verify::Full && !target.demands.channel_binding =>
            {
                once(Encrypt::No).await
            }
            other => other,
        },
    };
    login.map_err(|refusal| refusal.failure)
}

async fn once(target: &PostgresTarget, host: &PostgresHost, name: &str, within: Duration, encrypt: Encrypt) -> Result<LoggedIn, Refusal> {
    let demands = target.demands;
    let address = &host.address;
    let mut stream: Box<dyn Duplex> = if address.host.starts_with('/') {
        Box::new(dial_unix(&PathBuf::from(&address.host).join(format!(".s.PGSQL.{}", address.port))).await?)
    } else {
        let there = host.at.map(|at| Address { host: at.to_string(), port: address.port });
        let stream = dial(there.as_ref().unwrap_or(address), within).await?;
        notice_loss(&stream, LOSS);
        Box::new(stream)
    };
    let encrypted = encrypt != Encrypt::No && (demands.direct_tls || offers_tls(&mut stream).await?);
    let mut config = Config::new();
    config.ssl_mode(DriverSslMode::Disable).channel_binding(ChannelBinding::Disable);
    let mut spoken = Spoken::default();
    if encrypted {
        let protocols: &[&[u8]] = if demands.direct_tls { &[ALPN] } else { &[] };
        let secured = tls::wrap(stream, &address.host, Arc::new(tls::config(&target.tls, protocols)?)).await?;
        let session = secured.get_ref().1;
        if demands.direct_tls && session.alpn_protocol() != Some(ALPN) {
            return Err(Failure::new(ErrorKind::Tls, "the server uses TLS at once, but does not identify itself as PostgreSQL").into());
        }
        if demands.channel_binding {
            let certificate = session.peer_certificates().and_then(<[_]>::first);
            spoken = Spoken(certificate.and_then(|certificate| of_certificate(certificate)));
            if spoken.0.is_none() {
                let words = "the signature of the server's certificate names no hash, so channel_binding=require is not possible";
                return Err(Failure::new(ErrorKind::Tls, words).into());
            }
            // The driver gets the existing TLS session as if it had opened it.
            config.ssl_mode(DriverSslMode::Require).ssl_negotiation(SslNegotiation::Direct).channel_binding(ChannelBinding::Require);
        }
        stream = Box::new(secured);
    } else if encrypt == Encrypt::Yes {
        return Err(Failure::new(ErrorKind::Tls, "the server does not offer TLS, which sslmode requires").into());
    } else if demands.channel_binding {
        return Err(Failure::new(ErrorKind::Tls, "the connection is not encrypted, which channel_binding=require needs").into());
    }
    config.user(&target.user).dbname(&target.database).application_name(name);
    // Without a password the driver would fail by itself; with an empty one the server responds.
    config.password(target.password.as_ref().map_or("", |password| password.expose()));
    if let Some(options) = &target.options {
        config.options(options);
    }
    let allowance = Allowance::new();
    let (stream, breach) = guard(Bounded::new(stream, allowance.clone()), demands.methods);
    let (client, connection) = config.connect_raw(stream, spoken).await.map_err(|error| {
        let no_rule = error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
        let unbound = demands.channel_binding && error.to_string().contains("authentication");
        let failure = match breach.get() {
            Some(words) => Failure::new(ErrorKind::Auth, words),
            None if unbound => {
                Failure::new(ErrorKind::Auth, "the server does not bind the login to its certificate, which channel_binding=require needs")
            }
            None => failure(&error),
        };
        Refusal { failure, no_rule, encrypted }
    })?;
    Ok((client, connection, allowance))
}

/// Requests TLS (`SSLRequest`); the response is one byte, and nothing else may arrive before encryption begins.
async fn offers_tls(stream: &mut Box<dyn Duplex>) -> Result<bool, Failure> {
    let lost = |error: io::Error| Failure::new(kind_of_io(&error), &format!("requesting TLS: {error}")).once_connected();
    stream.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await.map_err(lost)?;
    match stream.read_u8().await.map_err(lost)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        b'E' => Err(Failure::new(ErrorKind::NotReady, "the server answers with an error before it can offer TLS")),
        _ => Err(Failure::new(ErrorKind::Protocol, "the peer does not speak PostgreSQL")),
    }
}
