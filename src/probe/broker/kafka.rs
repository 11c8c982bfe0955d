//! Kafka's `ApiVersions`, the request that a broker answers before any login (Kafka's protocol guide; KIP-35).

use super::{Stream, protocol, receive, send};
use crate::outcome::{ErrorKind, Failure};

/// `ApiVersions`, version 0.
const API_VERSIONS: i16 = 18;

/// `Fetch`: a controller, which also answers but is of no use to clients, does not support it.
const FETCH: i16 = 1;

/// The number that identifies the response.
const NUMBER: i32 = 0x706f_7274;

/// The maximum response: six bytes for each of about eighty requests.
const LONGEST: usize = 16 * 1024;

/// Passes if the broker lists its requests, and fetching messages is one of them.
pub(super) async fn probe(stream: &mut Stream) -> Result<(), Failure> {
    send(stream, &request()).await?;
    let wrong = || protocol("the peer does not speak Kafka's protocol");
    let length = receive(stream, 4).await?;
    let length = length.first_chunk().map_or(0, |length| u32::from_be_bytes(*length)) as usize;
    if !(10..=LONGEST).contains(&length) {
        return Err(wrong());
    }
    judge(&receive(stream, length).await?).unwrap_or_else(|| Err(wrong()))
}

fn request() -> Vec<u8> {
    let client = b"portcullis";
    let parts: [&[u8]; 5] =
        [&API_VERSIONS.to_be_bytes(), &0_i16.to_be_bytes(), &NUMBER.to_be_bytes(), &(client.len() as i16).to_be_bytes(), client];
    let body = parts.concat();
    [&(body.len() as u32).to_be_bytes(), body.as_slice()].concat()
}

/// The meaning of the response; none if it is not a response.
fn judge(answer: &[u8]) -> Option<Result<(), Failure>> {
    let (number, rest) = answer.split_first_chunk()?;
    let (code, rest) = rest.split_first_chunk()?;
    if i32::from_be_bytes(*number) != NUMBER {
        return None;
    }
    match i16::from_be_bytes(*code) {
        0 => {}
        code => return Some(Err(Failure::new(ErrorKind::NotReady, &format!("ApiVersions returned error {code}")))),
    }
    let (count, rest) = rest.split_first_chunk()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    let keys = rest.chunks_exact(6).take(count);
    if keys.len() < count {
        return None;
    }
    let serves = keys.filter_map(<[u8]>::first_chunk).any(|key| i16::from_be_bytes(*key) == FETCH);
    Some(if serves {
        Ok(())
    } else {
        Err(Failure::new(ErrorKind::Protocol, "this is a Kafka controller, not a broker; name the brokers' listener"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(number: i32, code: i16, count: i32, keys: &[i16]) -> Vec<u8> {
        let keys = keys.iter().flat_map(|key| [&key.to_be_bytes()[..], &[0, 0, 0, 9]].concat()).collect::<Vec<u8>>();
        [&number.to_be_bytes()[..], &code.to_be_bytes(), &count.to_be_bytes(), &keys].concat()
    }

    #[test]
    fn a_question_is_as_the_protocol_has_it() {
        assert_eq!(request(), b"\0\0\0\x14\0\x12\0\0port\0\x0aportcullis");
    }

    #[test]
    fn an_answer_is_judged() {
        assert_eq!(judge(&answer(NUMBER, 0, 3, &[0, 1, 18])), Some(Ok(())));
        assert_eq!(judge(&answer(NUMBER, 0, 1, &[18])).unwrap().unwrap_err().kind, ErrorKind::Protocol);
        assert_eq!(judge(&answer(NUMBER, 35, 0, &[])).unwrap().unwrap_err().kind, ErrorKind::NotReady);
        for wrong in [
            answer(1, 0, 1, &[1]),
            answer(NUMBER, 0, 2, &[1]),
            answer(NUMBER, 0, -1, &[1]),
            answer(NUMBER, 0, i32::MAX, &[1]),
            vec![],
            vec![0; 7],
        ] {
            assert_eq!(judge(&wrong), None, "{wrong:?}");
        }
    }
}
