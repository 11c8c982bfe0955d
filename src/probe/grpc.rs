//! Asks a gRPC server for its health (`grpc.health.v1.Health/Check`) with the little HTTP/2 that one call takes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};

use super::bounded::{Allowance, Bounded};
use super::dial::{Duplex, class_of_io, dial_either};
use super::tls;
use crate::outcome::{Class, Failure};
use crate::plan::target::GrpcTarget;

/// The longest frame that a peer may send before it was told another limit (RFC 9113, 4.2).
const LONGEST_FRAME: usize = 16_384;

/// More frames than this before the answer are no answer.
const MOST_FRAMES: usize = 100;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// `grpc-status` as a server may write it in a header block: plainly, or in HPACK's Huffman code (RFC 7541, appendix B).
const STATUS_NAMES: [&[u8]; 2] = [b"\x0bgrpc-status", &[0x88, 0x9a, 0xca, 0xc8, 0xb2, 0x12, 0x34, 0xda, 0x8f]];

/// Passes when the server says SERVING. A new connection each time: whether it takes one is part of the question.
pub(super) async fn ask(target: &GrpcTarget, within: Duration) -> Result<(), Failure> {
    let mut stream: Box<dyn Duplex> = dial_either(&target.address, within).await?;
    if let Some(tls) = &target.tls {
        stream = Box::new(tls::wrap(stream, &target.address.host, Arc::new(tls::config(tls, &[b"h2"])?)).await?);
    }
    let mut stream = BufReader::new(Bounded::new(stream, Allowance::new()));
    stream.write_all(&request(target)).await.map_err(|error| lost(&error))?;
    stream.flush().await.map_err(|error| lost(&error))?;
    let answer = read_answer(&mut stream).await?;
    judge(&answer, &target.service)
}

/// What came back on the one stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    /// The message with its prefix of five bytes.
    message: Vec<u8>,
    /// The trailer `grpc-status`, where it was to be found.
    status: Option<u8>,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

async fn read_answer<S: Duplex>(stream: &mut BufReader<Bounded<S>>) -> Result<Answer, Failure> {
    let mut answer = Answer::default();
    for index in 0..MOST_FRAMES {
        let frame = read_frame(stream).await?;
        if index == 0 && (frame.kind != SETTINGS || frame.flags & ACK != 0) {
            return Err(Failure::new(Class::Protocol, "the peer does not speak HTTP/2"));
        }
        match (frame.kind, frame.stream) {
            (SETTINGS, 0) if frame.flags & ACK == 0 => send(stream, SETTINGS, ACK, 0, &[]).await?,
            (PING, 0) if frame.flags & ACK == 0 => send(stream, PING, ACK, 0, &frame.payload).await?,
            (GOAWAY, 0) => return Err(Failure::new(Class::NotReady, "the server takes no new calls (GOAWAY)")),
            (RST_STREAM, 1) => {
                let code = frame.payload.first_chunk().copied().map(u32::from_be_bytes).unwrap_or_default();
                return Err(Failure::new(Class::Protocol, &format!("the server ended the call without an answer (RST_STREAM {code})")));
            }
            (DATA, 1) => answer.message.extend_from_slice(unpadded(&frame).ok_or_else(garbled)?),
            (HEADERS | CONTINUATION, 1) => answer.status = status_in(&frame.payload).or(answer.status),
            _ => {}
        }
        if answer.message.len() > LONGEST_FRAME {
            return Err(Failure::new(Class::Protocol, "the answer is no health status"));
        }
        if matches!(frame.kind, DATA | HEADERS) && frame.stream == 1 && frame.flags & END_STREAM != 0 {
            return Ok(answer);
        }
    }
    Err(Failure::new(Class::Protocol, "the server sends frames without end"))
}

async fn read_frame<S: Duplex>(stream: &mut BufReader<Bounded<S>>) -> Result<Frame, Failure> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.map_err(|error| lost(&error))?;
    let [long, middle, short, kind, flags, rest @ ..] = head;
    let length = u32::from_be_bytes([0, long, middle, short]) as usize;
    if length > LONGEST_FRAME {
        return Err(Failure::new(Class::Protocol, "the peer does not speak HTTP/2"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.map_err(|error| lost(&error))?;
    Ok(Frame { kind, flags, stream: u32::from_be_bytes(rest) & 0x7fff_ffff, payload })
}

async fn send<S: Duplex>(stream: &mut BufReader<Bounded<S>>, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    frame(&mut bytes, kind, flags, id, payload);
    stream.write_all(&bytes).await.map_err(|error| lost(&error))?;
    stream.flush().await.map_err(|error| lost(&error))
}

/// Preface, settings, the headers of the call and its message, all at once.
fn request(target: &GrpcTarget) -> Vec<u8> {
    let mut headers = vec![0x83, if target.tls.is_some() { 0x87 } else { 0x86 }];
    let authority = if target.address.host.starts_with('/') { "localhost".to_owned() } else { target.address.to_string() };
    // Literals that are not indexed, by the number of their name in HPACK's static table (RFC 7541, 6.2.2 and appendix A).
    literal(&mut headers, &[0x04], b"/grpc.health.v1.Health/Check");
    literal(&mut headers, &[0x01], authority.as_bytes());
    literal(&mut headers, &[0x0f, 31 - 15], b"application/grpc");
    literal(&mut headers, &[0x0f, 58 - 15], concat!("portcullis/", env!("CARGO_PKG_VERSION")).as_bytes());
    literal(&mut headers, b"\x00\x02te", b"trailers");
    let mut body = Vec::new();
    if !target.service.is_empty() {
        body.push(0x0a);
        varint(&mut body, target.service.len());
        body.extend_from_slice(target.service.as_bytes());
    }
    let mut message = vec![0];
    message.extend_from_slice(&(body.len() as u32).to_be_bytes());
    message.extend_from_slice(&body);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    frame(&mut bytes, HEADERS, END_HEADERS, 1, &headers);
    frame(&mut bytes, DATA, END_STREAM, 1, &message);
    bytes
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(payload);
}

fn literal(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    bytes.extend_from_slice(name);
    // An integer with a prefix of seven bits.
    match value.len().checked_sub(127) {
        None => bytes.push(value.len() as u8),
        Some(more) => {
            bytes.push(127);
            varint(bytes, more);
        }
    }
    bytes.extend_from_slice(value);
}

/// Seven bits a byte, the lowest first: the integers of HPACK and of protocol buffers alike.
fn varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 128 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn unpadded(frame: &Frame) -> Option<&[u8]> {
    if frame.flags & PADDED == 0 {
        return Some(&frame.payload);
    }
    let (padding, rest) = frame.payload.split_first()?;
    rest.get(..rest.len().checked_sub(usize::from(*padding))?)
}

/// The value of `grpc-status`, looked for without decoding the rest: on a new connection its name is always written out.
fn status_in(block: &[u8]) -> Option<u8> {
    let value = STATUS_NAMES.iter().find_map(|name| {
        let at = block.windows(name.len()).position(|window| window == *name)?;
        block.get(at..)?.strip_prefix(*name)
    })?;
    let (length, value) = value.split_first()?;
    let value = value.get(..usize::from(length & 0x7f))?;
    let digits = if length & 0x80 == 0 { String::from_utf8_lossy(value).into_owned() } else { huffman_digits(value) };
    digits.parse().ok()
}

/// The digits at the beginning of a text in HPACK's Huffman code: five bits for 0 to 2, six for the others.
fn huffman_digits(bytes: &[u8]) -> String {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number << 1 | bit);
    let mut digits = String::new();
    let mut rest = bits.as_slice();
    loop {
        if let Some((code, behind)) = rest.split_at_checked(5)
            && number(code) < 3
        {
            digits.push(char::from(b'0' | number(code)));
            rest = behind;
        } else if let Some((code, behind)) = rest.split_at_checked(6)
            && let Some(digit) = number(code).checked_sub(0b01_0110)
            && (3..=9).contains(&digit)
        {
            digits.push(char::from(b'0' | digit));
            rest = behind;
        } else {
            return digits;
        }
    }
}

fn judge(answer: &Answer, service: &str) -> Result<(), Failure> {
    let fail = |class, words: &str| Err(Failure::new(class, words));
    let name = if service.is_empty() { "the server" } else { service };
    match answer.status {
        None | Some(0) => {}
        Some(5) => return fail(Class::NotReady, &format!("the health service does not know {name} (NOT_FOUND), check the service's name")),
        Some(12) => return fail(Class::Protocol, "the server has no health service (UNIMPLEMENTED), register grpc.health.v1.Health"),
        Some(code @ (7 | 16)) => return fail(Class::Auth, &format!("the server refuses the call (grpc-status {code})")),
        Some(14) => return fail(Class::NotReady, "the server is unavailable (grpc-status 14)"),
        Some(code) => return fail(Class::Protocol, &format!("the call ended with grpc-status {code}")),
    }
    match answer.message.as_slice() {
        [0, length @ .., 0x08, status] if length == [0, 0, 0, 2] => match status {
            1 => Ok(()),
            2 => fail(Class::NotReady, &format!("{name} is NOT_SERVING")),
            3 => fail(Class::NotReady, &format!("{name} is SERVICE_UNKNOWN, check its name")),
            _ => fail(Class::NotReady, &format!("{name} is UNKNOWN")),
        },
        [0, 0, 0, 0, 0] => fail(Class::NotReady, &format!("{name} is UNKNOWN")),
        [] => {
            fail(Class::Protocol, "the call ended without an answer, check that grpc.health.v1.Health is registered and the service known")
        }
        _ => fail(Class::Protocol, "the answer is no health status"),
    }
}

fn garbled() -> Failure {
    Failure::new(Class::Protocol, "the peer does not speak HTTP/2")
}

fn lost(error: &io::Error) -> Failure {
    Failure::new(class_of_io(error), &format!("calling: {error}")).once_connected()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(message: &[u8], status: Option<u8>) -> Option<Class> {
        judge(&Answer { message: message.to_vec(), status }, "api.Api").err().map(|failure| failure.class)
    }

    #[test]
    fn only_serving_passes() {
        assert_eq!(class(&[0, 0, 0, 0, 2, 8, 1], Some(0)), None);
        assert_eq!(class(&[0, 0, 0, 0, 2, 8, 1], None), None);
        for (message, status, expected) in [
            (&[0, 0, 0, 0, 2, 8, 2][..], Some(0), Class::NotReady),
            (&[0, 0, 0, 0, 2, 8, 3], Some(0), Class::NotReady),
            (&[0, 0, 0, 0, 0], Some(0), Class::NotReady),
            (&[], Some(5), Class::NotReady),
            (&[], Some(12), Class::Protocol),
            (&[], Some(16), Class::Auth),
            (&[], None, Class::Protocol),
            (&[1, 2, 3], None, Class::Protocol),
        ] {
            assert_eq!(class(message, status), Some(expected), "{message:?} {status:?}");
        }
    }

    #[test]
    fn the_status_is_found_in_both_ways_of_writing_its_name() {
        assert_eq!(status_in(b"\x40\x0bgrpc-status\x0212\x00"), Some(12));
        assert_eq!(status_in(b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x010"), Some(0));
        assert_eq!(status_in(b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x81\x6f"), Some(5));
        assert_eq!(status_in(b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f\x82\x08\xbf"), Some(12));
        assert_eq!(status_in(b"\x40\x0bgrpc-status\x02"), None);
        assert_eq!(status_in(b""), None);
    }

    #[test]
    fn numbers_are_written_in_groups_of_seven_bits() {
        let mut bytes = Vec::new();
        varint(&mut bytes, 300);
        assert_eq!(bytes, [0xac, 0x02]);
    }
}
