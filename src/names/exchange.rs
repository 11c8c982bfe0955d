//! One query, until a name server answers: the next server after a second of silence, TCP if a response does not fit.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::message::{DnsMessage, DnsQuery, DnsResult, Family};
use super::resolv::{ResolverOption, Settings};

/// After this time without a response the next server is queried, or the same one again. Later responses still count: the C libraries wait
/// for 5 s, which is longer than the timeout of a check.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest packet that is read over UDP.
const LONGEST: usize = 4096;

/// The result of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum QueryOutcome {
    /// The response of a server, and which one.
    Answered(DnsResult, SocketAddr),
    /// No server answered; with the error of the kernel.
    Silent(Option<String>),
    /// No socket could be opened.
    Internal(String),
}

/// Queries the servers in turn. `queries_sent` counts them.
pub(super) async fn query(name: &str, family: Family, settings: &Settings, queries_sent: &AtomicU32) -> QueryOutcome {
    let first = if settings.has(ResolverOption::Rotate) { fastrand::usize(..settings.servers.len().max(1)) } else { 0 };
    let round = settings.servers.iter().cycle().skip(first).take(settings.servers.len());
    let mut turns = std::iter::repeat_n(round, settings.attempts).flatten().copied();
    let mut open = JoinSet::new();
    // Servers that returned an error, or are unreachable: they are not queried again.
    let (mut done, mut outcome) = (Vec::new(), QueryOutcome::Silent(None));
    let mut due = Instant::now();
    let mut left = true;
    loop {
        if left && due <= Instant::now() {
            match turns.find(|server| !done.contains(server)) {
                Some(server) => {
                    let Some(question) = DnsQuery::new(name, family, settings.has(ResolverOption::Edns)) else {
                        return QueryOutcome::Internal("no query is possible for this name".to_owned());
                    };
                    queries_sent.fetch_add(1, Ordering::Relaxed);
                    due = Instant::now() + PATIENCE.min(settings.timeout);
                    let (time, tcp) = (settings.timeout, settings.has(ResolverOption::Tcp));
                    open.spawn(async move { (server, one(server, &question, time, tcp).await) });
                }
                None => left = false,
            }
        }
        if open.is_empty() && !left {
            return outcome;
        }
        tokio::select! {
            Some(answered) = open.join_next() => {
                let Ok((server, answered)) = answered else { continue };
                match answered {
                    Ok(Some(DnsMessage { result: DnsResult::Refused(word), .. })) => outcome = QueryOutcome::Answered(DnsResult::Refused(word), server),
                    Ok(Some(DnsMessage { result, .. })) => return QueryOutcome::Answered(result, server),
                    // No response may mean a lost packet.
                    Ok(None) => continue,
                    Err(Fault::Ours(error)) => return QueryOutcome::Internal(error.to_string()),
                    Err(Fault::Way(error)) => {
                        if matches!(outcome, QueryOutcome::Silent(_)) {
                            outcome = QueryOutcome::Silent(Some(format!("{}: {error}", server.ip())));
                        }
                    }
                }
                done.push(server);
                due = Instant::now();
            }
            () = sleep_until(due), if left => {}
        }
    }
}

/// Why a server could not be queried.
enum Fault {
    /// There is no socket.
    Ours(io::Error),
    /// The kernel reports that the server is unreachable.
    Way(io::Error),
}

/// Queries one server once; none if it does not respond.
async fn one(server: SocketAddr, question: &DnsQuery, time: Duration, tcp: bool) -> Result<Option<DnsMessage>, Fault> {
    if tcp {
        return timeout(time, over_tcp(server, question)).await.unwrap_or(Ok(None));
    }
    let Ok(answer) = timeout(time, over_udp(server, question)).await else { return Ok(None) };
    let answer = answer?;
    if !answer.truncated {
        return Ok(Some(answer));
    }
    match timeout(time, over_tcp(server, question)).await {
        Ok(Ok(Some(whole))) => Ok(Some(whole)),
        // A partial response is better than nothing; one without any address does not count.
        _ if matches!(answer.result, DnsResult::Addresses(_)) => Ok(Some(answer)),
        Ok(Err(fault)) => Err(fault),
        _ => Ok(None),
    }
}

/// Each query has its own socket, and so its own port. The kernel accepts packets only from the server's address, and everything that is
/// not a response to the query is ignored (RFC 5452).
async fn over_udp(server: SocketAddr, question: &DnsQuery) -> Result<DnsMessage, Fault> {
    let any: SocketAddr = if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await.map_err(Fault::Ours)?;
    socket.connect(server).await.map_err(Fault::Way)?;
    socket.send(question.bytes()).await.map_err(Fault::Way)?;
    let mut buffer = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(Fault::Way)?;
        if let Some(answer) = buffer.get(..length).and_then(|bytes| question.read(bytes)) {
            return Ok(answer);
        }
    }
}

/// None if it is not a response to the query.
async fn over_tcp(server: SocketAddr, question: &DnsQuery) -> Result<Option<DnsMessage>, Fault> {
    let exchanged = async {
        let mut stream = TcpStream::connect(server).await?;
        // The length goes first, in the same packet as the rest, because some servers read only one packet (RFC 7766, 8).
        let mut bytes = (question.bytes().len() as u16).to_be_bytes().to_vec();
        bytes.extend(question.bytes());
        stream.write_all(&bytes).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok(question.read(&answer))
    };
    exchanged.await.map_err(Fault::Way)
}
