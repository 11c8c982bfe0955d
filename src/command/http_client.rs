//! Finds the running portcullis and sends it one HTTP request over a plain socket, without an HTTP library.

pub(super) mod endpoint;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::clock::Moment;
use crate::config::source::Environment;
use crate::plan::resolve::health_address;
use endpoint::{Endpoint, Held, ServerLocation, Stream};

/// How often a request is repeated if the connection was closed without a response.
const AGAIN: u32 = 10;

/// The pause before it is repeated.
const PAUSE: Duration = Duration::from_millis(10);

/// A parsed response.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: u16,
    pub(super) body: String,
}

/// A request, and how much of the response is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct HttpRequest<'a> {
    /// `GET`, or `POST` for a control request.
    pub(super) method: &'static str,
    /// Path and query.
    pub(super) target: &'a str,
    /// Whole header lines.
    pub(super) headers: &'a str,
    /// The maximum number of bytes of the response, including its header.
    pub(super) longest: usize,
    /// The deadline of the response.
    pub(super) end: Moment,
}

/// The endpoint: from the command line, else the environment, else the file, else the default.
pub(super) fn find(
    location: &ServerLocation,
    file: Option<&OsStr>,
    environment: impl Fn(&str) -> Option<OsString>,
    file_settings: impl FnOnce(Option<&OsStr>) -> Option<ServerLocation>,
) -> Result<Vec<Endpoint>, String> {
    let variable = |name| environment(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
    if *location != ServerLocation::default() {
        return location.endpoints(false);
    }
    let place = ServerLocation { listen: variable("PORTCULLIS_HEALTH__LISTEN"), socket: variable("PORTCULLIS_HEALTH__SOCKET") };
    // Values that only the configuration's reader understands, such as a list, are left to it; it also reads the environment.
    if place != ServerLocation::default()
        && let Ok(endpoints) = place.endpoints(true)
    {
        return Ok(endpoints);
    }
    file_settings(file).unwrap_or_default().endpoints(true)
}

/// The same for a subcommand with this environment; `location` are the options of its command line.
pub(super) fn endpoints(location: &ServerLocation, config: Option<&Path>, environment: &Environment) -> Result<Vec<Endpoint>, String> {
    let variable = |name: &str| environment.get(name).map(OsString::from);
    find(location, config.map(Path::as_os_str), variable, |file| Some(settings(file, environment)))
}

/// The endpoint in the configuration: from the `[health]` table of `file`, else of the one that `run` would use.
pub(super) fn settings(file: Option<&OsStr>, environment: &Environment) -> ServerLocation {
    let address = health_address(file.map(Path::new), environment);
    let listen: Vec<String> = address.listen.iter().map(ToString::to_string).collect();
    let socket = address.socket.map(|name| name.to_string()).unwrap_or_default();
    ServerLocation { listen: Some(listen.join(",")), socket: Some(socket) }
}

/// Sends the request to the first endpoint that answers; if none does, returns the reason for each.
///
/// A unix socket that is held by a user other than root or our own ends the attempt: nothing is sent, and no other endpoint is tried.
pub(super) fn first(endpoints: &[Endpoint], question: HttpRequest<'_>) -> Result<HttpResponse, String> {
    let mut failures = Vec::new();
    for endpoint in endpoints {
        match patiently(endpoint, question) {
            Ok(answer) => return Ok(answer),
            Err(error) => match Held::of(&error) {
                // The owner of that socket may have our port, too.
                Some(held) if held.is_certain() => return Err(format!("no answer from {endpoint}: {held}")),
                Some(held) => failures.push(format!("{endpoint}: {held}")),
                None => failures.push(format!("{endpoint}: {}", error.kind())),
            },
        }
    }
    Err(format!("no answer from {}", failures.join(", ")))
}

/// In a flood of connections the server closes those without a request so far, possibly ours; the request can then safely be repeated.
fn patiently(endpoint: &Endpoint, question: HttpRequest<'_>) -> io::Result<HttpResponse> {
    let mut left = AGAIN;
    loop {
        match one(endpoint, question) {
            Err(error) if left > 0 && closed(error.kind()) && question.end.since(Moment::now()) > PAUSE => {
                left -= 1;
                std::thread::park_timeout(PAUSE);
            }
            other => return other,
        }
    }
}

/// The errors that mean that the peer closed the connection without a response.
fn closed(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
}

fn one(endpoint: &Endpoint, question: HttpRequest<'_>) -> io::Result<HttpResponse> {
    let left = || Some(question.end.since(Moment::now())).filter(|left| !left.is_zero()).ok_or(io::ErrorKind::TimedOut);
    let mut stream: Stream = endpoint.connect(left()?)?;
    stream.set_timeout(left()?)?;
    let HttpRequest { method, target, headers, .. } = question;
    let head = format!("{method} {target} HTTP/1.1\r\nHost: portcullis\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).map_err(timed_out)?;
    let mut bytes = Vec::with_capacity(2048);
    let mut chunk = [0; 2048];
    while bytes.len() < question.longest {
        stream.set_timeout(left()?)?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Only the part before the reset arrives.
            Err(error) if closed(error.kind()) && !bytes.is_empty() => break,
            Err(error) => return Err(timed_out(error)),
        }
    }
    if bytes.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    parse(&bytes).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// An expired socket timeout appears as `WouldBlock`.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

fn parse(bytes: &[u8]) -> Option<HttpResponse> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(HttpResponse { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// The result with a server that closes its first connections after the request, and how many it got.
    fn request_counted(closes: usize) -> (Result<HttpResponse, String>, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            for number in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = [0; 1024];
                // Half of them are closed with the question unread, which resets the connection.
                if number % 2 == 0 || number == closes {
                    let count = stream.read(&mut question).unwrap();
                    assert!(question.get(..count).unwrap().starts_with(b"GET /livez "));
                }
                if number == closes {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nok").unwrap();
                }
                if number == closes || number == AGAIN as usize {
                    return number;
                }
            }
            0
        });
        let end = Moment::now().after(Duration::from_secs(30));
        let answer = first(&[endpoint], HttpRequest { method: "GET", target: "/livez", headers: "", longest: 1024, end });
        (answer, server.join().unwrap())
    }

    #[test]
    fn a_query_that_was_lost_is_sent_again() {
        let (answer, count) = request_counted(5);
        assert_eq!((answer.unwrap().status, count), (200, 5));
    }

    #[test]
    fn a_server_that_never_answers_is_reported_after_a_few_attempts() {
        let (answer, count) = request_counted(usize::MAX);
        let problem = answer.unwrap_err();
        assert!(problem.contains("unexpected end of file") || problem.contains("connection reset"), "{problem}");
        assert_eq!(count, AGAIN as usize);
    }
}
