//! MongoDB's wire protocol for `hello` and `ping`, which a server answers without a login (OP_MSG; BSON 1.1).

use super::{Stream, protocol, receive, send};
use crate::outcome::{ErrorKind, Failure};

/// A message with one document.
const OP_MSG: i32 = 2013;

/// The maximum response; real ones are much shorter.
const LONGEST: usize = 48 * 1024;

/// A value of a document, as far as it is parsed.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(f64),
    Bool(bool),
    Text(String),
    Other,
}

/// Passes if the server accepts reads or writes and answers a ping.
pub(super) async fn probe(stream: &mut Stream) -> Result<(), Failure> {
    let hello = command(stream, 1, "hello").await?;
    let is = |name: &str| hello.iter().any(|(known, value)| known == name && *value == Value::Bool(true));
    if !is("isWritablePrimary") && !is("secondary") {
        let words = "the server is neither a primary nor a secondary yet: its replica set is starting, recovering or not initiated";
        return Err(Failure::new(ErrorKind::NotReady, words));
    }
    command(stream, 2, "ping").await.map(drop)
}

/// Runs a command without arguments on the database `admin`; anything but `ok` is a failure.
async fn command(stream: &mut Stream, number: i32, name: &str) -> Result<Vec<(String, Value)>, Failure> {
    send(stream, &message(number, name)).await?;
    let head = receive(stream, 16).await?;
    let field = |index: usize| head.chunks_exact(4).nth(index)?.first_chunk().map(|bytes| i32::from_le_bytes(*bytes));
    let length = field(0).and_then(|length| usize::try_from(length).ok()).filter(|length| (21..=LONGEST).contains(length));
    let (Some(length), Some(OP_MSG), true) = (length, field(3), field(2) == Some(number)) else {
        return Err(protocol("the peer does not speak MongoDB's protocol (OP_MSG, MongoDB 3.6 and later)"));
    };
    let body = receive(stream, length.saturating_sub(16)).await?;
    // Flags, and a section of kind 0 that is the document.
    let fields = match body.as_slice() {
        [_, _, _, _, 0, document @ ..] => fields(document),
        _ => None,
    };
    let fields = fields.ok_or_else(|| protocol("the answer is not a document"))?;
    let value = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    if value("ok") == Some(Value::Number(1.0)) {
        return Ok(fields);
    }
    let words = if let Some(Value::Text(words)) = value("errmsg") { words } else { "the command failed".to_owned() };
    let kind = match value("code") {
        // Unauthorized, AuthenticationFailed, AuthenticationRestrictionUnmet.
        Some(Value::Number(13.0 | 18.0 | 8000.0)) => ErrorKind::Auth,
        // ShutdownInProgress, NotYetInitialized, InterruptedAtShutdown, PrimarySteppedDown, InterruptedDueToReplStateChange.
        Some(Value::Number(91.0 | 94.0 | 11600.0 | 189.0 | 11602.0)) => ErrorKind::NotReady,
        _ => ErrorKind::Protocol,
    };
    Err(Failure::new(kind, &format!("{name}: {words}")))
}

fn message(number: i32, name: &str) -> Vec<u8> {
    let fields = [b"\x10", name.as_bytes(), b"\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0"].concat();
    let document = [&size(&fields, 4).to_le_bytes(), fields.as_slice()].concat();
    let body = [&[0; 5], document.as_slice()].concat();
    let head = [size(&body, 16), number, 0, OP_MSG].map(i32::to_le_bytes).concat();
    [head, body].concat()
}

/// The length of this and everything before it.
const fn size(bytes: &[u8], before: i32) -> i32 {
    (bytes.len() as i32).saturating_add(before)
}

/// The top-level fields of a document; none if it is not a document.
fn fields(document: &[u8]) -> Option<Vec<(String, Value)>> {
    let length = usize::try_from(i32::from_le_bytes(*document.first_chunk()?)).ok()?;
    let mut rest = document.get(4..length.checked_sub(1)?)?;
    let mut fields = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let end = after.iter().position(|byte| *byte == 0)?;
        let (name, data) = after.split_at_checked(end)?;
        let (name, data) = (String::from_utf8_lossy(name).into_owned(), data.get(1..)?);
        let counted = || data.first_chunk().and_then(|bytes| usize::try_from(i32::from_le_bytes(*bytes)).ok());
        let (value, size) = match kind {
            0x01 => (Value::Number(f64::from_le_bytes(*data.first_chunk()?)), 8),
            0x02 => {
                let size = counted()?.checked_add(4)?;
                (Value::Text(String::from_utf8_lossy(data.get(4..size.checked_sub(1)?)?).into_owned()), size)
            }
            0x03 | 0x04 => (Value::Other, counted()?),
            0x05 => (Value::Other, counted()?.checked_add(5)?),
            0x07 => (Value::Other, 12),
            0x08 => (Value::Bool(*data.first()? == 1), 1),
            0x09 | 0x11 => (Value::Other, 8),
            0x0a => (Value::Other, 0),
            0x10 => (Value::Number(i32::from_le_bytes(*data.first_chunk()?).into()), 4),
            0x12 => (Value::Number(i64::from_le_bytes(*data.first_chunk()?) as f64), 8),
            0x13 => (Value::Other, 16),
            _ => return None,
        };
        fields.push((name, value));
        rest = data.get(size..)?;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_is_as_the_protocol_has_it() {
        // MongoDB's manual, "OP_MSG": header, flags, kind 0, {ping: 1, $db: "admin"}.
        let expected = b"\x33\0\0\0\x02\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\x1e\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0";
        assert_eq!(message(2, "ping"), expected);
        let sent = fields(&message(2, "ping")[21..]).unwrap();
        assert_eq!(sent, [("ping".to_owned(), Value::Number(1.0)), ("$db".to_owned(), Value::Text("admin".to_owned()))]);
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields(&bytes);
            let _ = fields(&[&size(&bytes, 5).to_le_bytes(), bytes.as_slice(), &[0]].concat());
        }
    }
}
