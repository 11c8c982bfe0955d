//! Checks the health of a gRPC server (`grpc.health.v1.Health/Check`) in one call over HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use h2::client::{Builder, SendRequest};
use hyper::body::Bytes;
use hyper::http::{HeaderMap, Request, StatusCode};

use super::bounded::{Allowance, Bounded};
use super::dial::{Duplex, dial_either, kind_of_io};
use super::tls;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::GrpcTarget;

/// The maximum response; a health status has seven bytes.
const LONGEST_MESSAGE: usize = 16_384;

/// The longest header block that the server may send, in bytes.
const LONGEST_HEADERS: u32 = 16_384;

/// Passes if the server returns SERVING. It opens a new connection each time, because accepting one is part of the check.
pub(super) async fn probe(target: &GrpcTarget, within: Duration) -> Result<(), Failure> {
    let mut stream: Box<dyn Duplex> = dial_either(&target.address, within).await?;
    if let Some(tls) = &target.tls {
        stream = Box::new(tls::wrap(stream, &target.address.host, Arc::new(tls::config(tls, &[b"h2"])?)).await?);
    }
    let stream = Bounded::new(stream, Allowance::new());
    let mut settings = Builder::new();
    settings.enable_push(false).max_header_list_size(LONGEST_HEADERS).initial_window_size(LONGEST_MESSAGE as u32);
    let (sender, mut connection) = settings.handshake::<_, Bytes>(stream).await.map_err(|error| failure(&error))?;
    let call = call(sender, target);
    tokio::pin!(call);
    // The connection transports the frames of the call. Its end also ends the call, which has the reason.
    let answer = tokio::select! {
        biased;
        answer = &mut call => answer,
        ended = &mut connection => match ended {
            Err(error) => Err(error),
            Ok(()) => call.await,
        },
    };
    judge(&answer.map_err(|error| failure(&error))?, &target.service)
}

/// The response of the server.
#[derive(Debug, Default, PartialEq, Eq)]
struct GrpcReply {
    /// The message with its prefix of five bytes.
    message: Vec<u8>,
    /// `grpc-status`, from the trailers or from a response without a message.
    status: Option<u32>,
}

async fn call(sender: SendRequest<Bytes>, target: &GrpcTarget) -> Result<GrpcReply, h2::Error> {
    let mut sender = sender.ready().await?;
    let (response, mut body) = sender.send_request(head(target), false)?;
    body.send_data(message(&target.service), true)?;
    let response = response.await?;
    let mut answer = GrpcReply { message: Vec::new(), status: status_in(response.headers()).or_else(|| status_of_http(response.status())) };
    let mut body = response.into_body();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        answer.message.extend_from_slice(&piece);
        if answer.message.len() > LONGEST_MESSAGE {
            return Ok(answer);
        }
    }
    if let Some(trailers) = body.trailers().await? {
        answer.status = status_in(&trailers).or(answer.status);
    }
    Ok(answer)
}

/// The header of the call (gRPC over HTTP2, Requests).
fn head(target: &GrpcTarget) -> Request<()> {
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    let authority = if target.address.host.starts_with('/') { "localhost".to_owned() } else { target.address.to_string() };
    let build = |authority: &str| {
        Request::post(format!("{scheme}://{authority}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("user-agent", concat!("portcullis/", env!("CARGO_PKG_VERSION")))
            .header("te", "trailers")
            .body(())
    };
    // The configuration refuses hosts that are not valid in a URL; if there is one all the same, the call is made without it.
    build(&authority).or_else(|_| build("localhost")).unwrap_or_default()
}

/// `HealthCheckRequest` in the length-prefixed form of gRPC: the service is its first field.
fn message(service: &str) -> Bytes {
    let mut body = Vec::new();
    if !service.is_empty() {
        body.push(0x0a);
        varint(&mut body, service.len());
        body.extend_from_slice(service.as_bytes());
    }
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(&body);
    message.into()
}

/// A varint of protocol buffers: seven bits per byte, the lowest first.
fn varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 128 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn status_in(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The gRPC status for an HTTP status without `grpc-status`, for example from a proxy (gRPC, http-grpc-status-mapping).
fn status_of_http(status: StatusCode) -> Option<u32> {
    match status.as_u16() {
        200 => None,
        401 => Some(16),
        403 => Some(7),
        404 => Some(12),
        429 | 502 | 503 | 504 => Some(14),
        400 => Some(13),
        _ => Some(2),
    }
}

fn judge(answer: &GrpcReply, service: &str) -> Result<(), Failure> {
    let fail = |kind, words: &str| Err(Failure::new(kind, words));
    let name = if service.is_empty() { "the server" } else { service };
    match answer.status {
        None | Some(0) => {}
        Some(5) => {
            return fail(ErrorKind::NotReady, &format!("the health service does not know {name} (NOT_FOUND), check the service's name"));
        }
        Some(12) => return fail(ErrorKind::Protocol, "the server has no health service (UNIMPLEMENTED), register grpc.health.v1.Health"),
        Some(code @ (7 | 16)) => return fail(ErrorKind::Auth, &format!("the server refuses the call (grpc-status {code})")),
        Some(14) => return fail(ErrorKind::NotReady, "the server is unavailable (grpc-status 14)"),
        Some(code) => return fail(ErrorKind::Protocol, &format!("the call ended with grpc-status {code}")),
    }
    match answer.message.as_slice() {
        [0, length @ .., 0x08, status] if length == [0, 0, 0, 2] => match status {
            1 => Ok(()),
            2 => fail(ErrorKind::NotReady, &format!("{name} is NOT_SERVING")),
            3 => fail(ErrorKind::NotReady, &format!("{name} is SERVICE_UNKNOWN, check its name")),
            _ => fail(ErrorKind::NotReady, &format!("{name} is UNKNOWN")),
        },
        [0, 0, 0, 0, 0] => fail(ErrorKind::NotReady, &format!("{name} is UNKNOWN")),
        [] => fail(
            ErrorKind::Protocol,
            "the call ended without an answer, check that grpc.health.v1.Health is registered and the service known",
        ),
        _ => fail(ErrorKind::Protocol, "the answer is not a health status"),
    }
}

/// Why a call ended without a response.
fn failure(error: &h2::Error) -> Failure {
    if let Some(io) = error.get_io() {
        // A connection that ends inside a frame has no error number: the codec above the socket says so.
        if io.kind() == std::io::ErrorKind::Other
            && io.raw_os_error().is_none()
            && io.get_ref().is_none_or(|inner| !inner.is::<rustls::Error>())
        {
            return Failure::new(ErrorKind::Refused, "calling: the connection was closed in the middle of an answer").once_connected();
        }
        return Failure::new(kind_of_io(io), &format!("calling: {io}")).once_connected();
    }
    match error.reason() {
        Some(_) if error.is_go_away() && error.is_remote() => Failure::new(ErrorKind::NotReady, "the server accepts no new calls (GOAWAY)"),
        Some(reason) if error.is_reset() && error.is_remote() => {
            Failure::new(ErrorKind::Protocol, &format!("the server ended the call without an answer (RST_STREAM {})", u32::from(reason)))
        }
        _ => Failure::new(ErrorKind::Protocol, "the peer does not speak HTTP/2"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(message: &[u8], status: Option<u32>) -> Option<ErrorKind> {
        judge(&GrpcReply { message: message.to_vec(), status }, "api.Api").err().map(|failure| failure.kind)
    }

    #[test]
    fn only_serving_passes() {
        assert_eq!(kind(&[0, 0, 0, 0, 2, 8, 1], Some(0)), None);
        assert_eq!(kind(&[0, 0, 0, 0, 2, 8, 1], None), None);
        for (message, status, expected) in [
            (&[0, 0, 0, 0, 2, 8, 2][..], Some(0), ErrorKind::NotReady),
            (&[0, 0, 0, 0, 2, 8, 3], Some(0), ErrorKind::NotReady),
            (&[0, 0, 0, 0, 0], Some(0), ErrorKind::NotReady),
            (&[], Some(5), ErrorKind::NotReady),
            (&[], Some(12), ErrorKind::Protocol),
            (&[], Some(14), ErrorKind::NotReady),
            (&[], Some(16), ErrorKind::Auth),
            (&[], None, ErrorKind::Protocol),
            (&[1, 2, 3], None, ErrorKind::Protocol),
        ] {
            assert_eq!(kind(message, status), Some(expected), "{message:?} {status:?}");
        }
    }

    #[test]
    fn a_proxy_that_answers_for_the_server_is_handled_as_by_grpcs_clients() {
        for (http, status) in [(200, None), (401, Some(16)), (403, Some(7)), (404, Some(12)), (503, Some(14)), (500, Some(2))] {
            assert_eq!(status_of_http(StatusCode::from_u16(http).unwrap()), status, "{http}");
        }
    }

    #[test]
    fn the_message_holds_the_service_behind_its_length() {
        assert_eq!(message(""), [0, 0, 0, 0, 0].as_slice());
        assert_eq!(message("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b'].as_slice());
        assert_eq!(&message(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }
}
