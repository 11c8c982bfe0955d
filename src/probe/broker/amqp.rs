//! AMQP 0-9-1 up to the opening of a virtual host, which detects a wrong login and a wrong host (specification, 2.2.4).

use super::{Stream, protocol, receive, send};
use crate::outcome::{ErrorKind, Failure};
use crate::secret::Secret;

/// The first bytes of a client: the name and the version of the protocol.
const HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The class of all methods here, `connection`, and the methods.
const CONNECTION: u16 = 10;
const START: u16 = 10;
const START_OK: u16 = 11;
const TUNE: u16 = 30;
const TUNE_OK: u16 = 31;
const OPEN: u16 = 40;
const OPEN_OK: u16 = 41;
const CLOSE: u16 = 50;
const CLOSE_OK: u16 = 51;

/// Kinds of frames, and the byte at the end of each.
const METHOD: u8 = 1;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xce;

/// The maximum frame size before the tuning: the greeting of RabbitMQ has only 500 bytes.
const LONGEST: usize = 64 * 1024;

/// The maximum number of frames of a response.
const MOST_FRAMES: usize = 8;

/// Passes if the broker accepts the login and opens the virtual host; then closes the session.
pub(super) async fn probe(stream: &mut Stream, user: &str, password: &Secret, vhost: &str) -> Result<(), Failure> {
    send(stream, &HEADER).await?;
    expect(stream, START).await?;
    method(stream, START_OK, &start_ok(user, password)).await?;
    let tune = expect(stream, TUNE).await?;
    // The broker's own limits, and no heartbeat.
    let limits = tune.get(..6).ok_or_else(|| protocol("the broker's limits are incomplete"))?;
    method(stream, TUNE_OK, &[limits, &[0, 0]].concat()).await?;
    method(stream, OPEN, &[short(vhost), vec![0, 0]].concat()).await?;
    expect(stream, OPEN_OK).await?;
    // Without a proper close the broker would log a lost client.
    method(stream, CLOSE, &[0, 200, 0, 0, 0, 0, 0]).await?;
    let _ = expect(stream, CLOSE_OK).await;
    Ok(())
}

fn short(text: &str) -> Vec<u8> {
    // The plan limits names to 255 bytes.
    let bytes = text.as_bytes().get(..usize::from(u8::MAX)).unwrap_or(text.as_bytes());
    [&[bytes.len() as u8], bytes].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// The client's name, the login by PLAIN (RFC 4616), and the capability to receive a refusal as text.
fn start_ok(user: &str, password: &Secret) -> Vec<u8> {
    let capabilities = [short("authentication_failure_close"), b"t\x01".to_vec()].concat();
    let properties = [
        [short("product"), b"S".to_vec(), long(b"portcullis")].concat(),
        [short("capabilities"), b"F".to_vec(), long(&capabilities)].concat(),
    ];
    let login = [b"\0", user.as_bytes(), b"\0", password.expose().as_bytes()].concat();
    [long(&properties.concat()), short("PLAIN"), long(&login), short("en_US")].concat()
}

async fn method(stream: &mut Stream, method: u16, arguments: &[u8]) -> Result<(), Failure> {
    let payload = [&CONNECTION.to_be_bytes(), &method.to_be_bytes(), arguments].concat();
    send(stream, &[&[METHOD, 0, 0], long(&payload).as_slice(), &[END]].concat()).await
}

/// The arguments of the next expected method.
async fn expect(stream: &mut Stream, wanted: u16) -> Result<Vec<u8>, Failure> {
    for _ in 0..MOST_FRAMES {
        let head = receive(stream, 7).await?;
        let [kind, _, _, length @ ..] = head.as_slice() else { break };
        if head.starts_with(b"AMQP") {
            return Err(protocol("the broker speaks another version of AMQP than 0-9-1"));
        }
        let length = length.first_chunk().map_or(usize::MAX, |length| u32::from_be_bytes(*length) as usize);
        if !matches!(*kind, METHOD | HEARTBEAT) || length > LONGEST {
            break;
        }
        let payload = receive(stream, length.saturating_add(1)).await?;
        match payload.as_slice() {
            [.., END] if *kind == HEARTBEAT => {}
            [0, 10, high, low, arguments @ .., END] => match u16::from_be_bytes([*high, *low]) {
                CLOSE => return Err(refusal(arguments)),
                method if method == wanted => return Ok(arguments.to_vec()),
                _ => break,
            },
            _ => break,
        }
    }
    Err(protocol("the peer does not speak AMQP 0-9-1"))
}

/// The reason of a broker that closes the connection: a code and a text.
fn refusal(arguments: &[u8]) -> Failure {
    let [high, low, length, rest @ ..] = arguments else { return protocol("the broker's refusal is incomplete") };
    let code = u16::from_be_bytes([*high, *low]);
    let words = String::from_utf8_lossy(rest.get(..usize::from(*length)).unwrap_or(rest)).into_owned();
    let kind = match code {
        530 if words.contains("not found") => ErrorKind::Missing,
        530 if words.contains("limit") => ErrorKind::NotReady,
        403 | 530 => ErrorKind::Auth,
        // It is shutting down, lacks memory or disk space, or the virtual host is not up yet.
        320 | 506 | 541 => ErrorKind::NotReady,
        _ => ErrorKind::Protocol,
    };
    Failure::new(kind, &format!("{code} {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_a_class_and_the_brokers_words() {
        let close = |code: u16, words: &str| refusal(&[&code.to_be_bytes()[..], &short(words), &[0; 4]].concat());
        let missing = close(530, "NOT_ALLOWED - vhost x not found");
        assert_eq!((missing.kind, missing.private.as_str()), (ErrorKind::Missing, "530 NOT_ALLOWED - vhost x not found"));
        assert_eq!(close(530, "NOT_ALLOWED - access to vhost '/' refused for user 'a'").kind, ErrorKind::Auth);
        assert_eq!(
            close(530, "NOT_ALLOWED - access to vhost '/' refused for user 'a': connection limit (1) is reached").kind,
            ErrorKind::NotReady
        );
        assert_eq!(close(403, "ACCESS_REFUSED - Login was refused").kind, ErrorKind::Auth);
        assert_eq!(close(541, "INTERNAL_ERROR").kind, ErrorKind::NotReady);
        assert_eq!(refusal(&[1]).kind, ErrorKind::Protocol);
    }
}
