//! Reports to `healthcheck` that an ad-hoc command runs, only on the unix socket.
//!
//! The socket name belongs to the service: while a service runs it has the name, and an ad-hoc command beside it (`docker exec`) has no
//! socket. If a service starts later in the same network namespace, the ad-hoc command releases the name on request, so that a shell never
//! prevents a service from starting.

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use crate::clock::Moment;
use crate::sys;
use crate::sys::peer::{Peer, Trust};
use crate::view::own;

/// How long one request may take in total.
const PATIENCE: Duration = Duration::from_millis(250);

/// The maximum number of bytes of a request.
const LONGEST: usize = 1024;

/// The pause after a failed accept: without free descriptors, accepting again at once would only waste time.
const PAUSE: Duration = Duration::from_millis(100);

/// The request for the name.
const YIELD: &[u8] = b"POST /yield HTTP/1.1\r\nHost: portcullis\r\nConnection: close\r\n\r\n";

/// Serves on a separate thread until the process ends or the name is requested.
///
/// # Errors
/// The thread cannot be created.
pub fn start(listener: UnixListener, program: &str) -> io::Result<()> {
    let body = own::render(program);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let answer = head + &body;
    sys::start_thread("health", move || {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    if converse(stream, &answer) {
                        return;
                    }
                }
                Err(_) => std::thread::park_timeout(PAUSE),
            }
        }
    })
}

/// Answers one request; true if it is an authorized request for the name.
fn converse(mut stream: UnixStream, answer: &str) -> bool {
    let end = Moment::now().after(PATIENCE);
    let mut question = Vec::new();
    let mut chunk = [0; 256];
    while question.len() < LONGEST && !question.ends_with(b"\r\n\r\n") {
        let left = end.since(Moment::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return false;
        }
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => question.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return false,
        }
    }
    if question.starts_with(b"POST /yield ") && Peer::of(&stream).is_some_and(|peer| peer.trust() == Trust::Ours) {
        return true;
    }
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let _ = stream.write_all(answer.as_bytes());
    false
}

/// Requests this abstract name from its holder; returns whether that was an ad-hoc command, which releases it.
pub(super) fn request_yield(name: &str) -> bool {
    let connected = SocketAddr::from_abstract_name(name).and_then(|address| UnixStream::connect_addr(&address));
    let Ok(mut stream) = connected else { return false };
    let timeout = Some(PATIENCE);
    if stream.set_read_timeout(timeout).is_err() || stream.set_write_timeout(timeout).is_err() || stream.write_all(YIELD).is_err() {
        return false;
    }
    // A service responds; an ad-hoc command closes the connection without a response.
    matches!(stream.read(&mut [0; 1]), Ok(0))
}
