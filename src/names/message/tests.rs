//! Which parts of an answer are trusted, and that no answer does harm.

use proptest::prelude::*;

use super::*;

/// A record as bytes; the owner is written by the caller.
fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let (kind, length) = (kind.to_be_bytes(), (data.len() as u16).to_be_bytes());
    [owner, &kind, &[0, 1], &[0, 0, 0, 5], &length, data].concat()
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name.split('.').flat_map(|part| [&[part.len() as u8], part.as_bytes()].concat()).collect();
    bytes.push(0);
    bytes
}

/// The name of the question, by the pointer to it.
const QUERY_NAME: [u8; 2] = [0xc0, 12];

/// An answer to the question with this code and these records, which are counted as `count`.
fn answer(question: &DnsQuery, code: u8, count: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = question.bytes().to_vec();
    (bytes[2], bytes[3]) = (0x81, 0x80 | code);
    bytes[6..8].copy_from_slice(&count.to_be_bytes());
    bytes[8..12].fill(0);
    bytes.extend(records.concat());
    bytes
}

fn question() -> DnsQuery {
    DnsQuery::new("db.example", Family::V4, false).unwrap()
}

fn result(records: &[Vec<u8>]) -> DnsResult {
    let question = question();
    question.read(&answer(&question, 0, records.len() as u16, records)).unwrap().result
}

fn addresses(found: &[[u8; 4]]) -> DnsResult {
    DnsResult::Addresses(found.iter().copied().map(IpAddr::from).collect())
}

#[test]
fn addresses_come_from_the_end_of_the_chain() {
    let (real, other) = (encoded("real.example"), encoded("other.example"));
    assert_eq!(
        result(&[record(&QUERY_NAME, 1, &[10, 0, 0, 1]), record(&QUERY_NAME, 1, &[10, 0, 0, 2])]),
        addresses(&[[10, 0, 0, 1], [10, 0, 0, 2]])
    );
    let chain = [record(&QUERY_NAME, 5, &real), record(&real, 5, &other), record(&other, 1, &[10, 0, 0, 3])];
    assert_eq!(result(&chain), addresses(&[[10, 0, 0, 3]]));
    assert_eq!(result(&chain.iter().rev().cloned().collect::<Vec<_>>()), addresses(&[[10, 0, 0, 3]]), "in any order");
    assert_eq!(
        result(&[record(&QUERY_NAME, 16, &[1, b'x']), record(&QUERY_NAME, 1, &[10, 0, 0, 4])]),
        addresses(&[[10, 0, 0, 4]]),
        "beside a TXT"
    );
    assert_eq!(result(&[record(&encoded("DB.Example"), 1, &[10, 0, 0, 5])]), addresses(&[[10, 0, 0, 5]]), "in any case");
    assert_eq!(result(&[]), DnsResult::Nothing);
    assert_eq!(result(&[record(&QUERY_NAME, 5, &real)]), DnsResult::Nothing, "an alias alone");
}

#[test]
fn lies_are_not_believed() {
    let (real, evil) = (encoded("real.example"), encoded("evil.example"));
    assert_eq!(result(&[record(&evil, 1, &[6, 6, 6, 6])]), DnsResult::Nothing, "another name's address");
    assert_eq!(
        result(&[record(&QUERY_NAME, 5, &real), record(&QUERY_NAME, 1, &[6, 6, 6, 6])]),
        DnsResult::Nothing,
        "an alias with an address of its own"
    );
    assert_eq!(
        result(&[record(&QUERY_NAME, 5, &real), record(&real, 5, &encoded("db.example"))]),
        DnsResult::Nothing,
        "a chain in a circle"
    );
    assert_eq!(result(&[record(&QUERY_NAME, 5, &QUERY_NAME)]), DnsResult::Nothing, "an alias of itself");
    assert_eq!(result(&[record(&QUERY_NAME, 1, &[6, 6, 6])]), DnsResult::Nothing, "an address that is too short");
    assert_eq!(result(&[record(&QUERY_NAME, 28, &[6; 16])]), DnsResult::Nothing, "another family's address");
    let long: Vec<_> = (0..30).map(|n| record(&encoded(&format!("n{n}")), 5, &encoded(&format!("n{}", n + 1)))).collect();
    let long = [vec![record(&QUERY_NAME, 5, &encoded("n0"))], long, vec![record(&encoded("n30"), 1, &[6, 6, 6, 6])]].concat();
    assert_eq!(result(&long), DnsResult::Nothing, "a chain of thirty");
    let many: Vec<_> = (0..500_u16).map(|n| record(&QUERY_NAME, 1, &[10, 9, n.to_be_bytes()[0], n.to_be_bytes()[1]])).collect();
    assert!(matches!(result(&many), DnsResult::Addresses(found) if found.len() == MOST));
}

#[test]
fn answers_to_other_queries_are_ignored() {
    let query = question();
    let good = answer(&query, 0, 1, &[record(&QUERY_NAME, 1, &[10, 0, 0, 1])]);
    assert!(query.read(&good).is_some());
    for (index, value, why) in
        [(0, good[0] ^ 1, "another id"), (2, 0x01, "a question"), (2, 0xa1, "another opcode"), (13, b'e', "another name")]
    {
        let mut bytes = good.clone();
        bytes[index] = value;
        assert_eq!(query.read(&bytes), None, "{why}");
    }
    let other = DnsQuery::new("db.example", Family::V6, false).unwrap();
    assert_eq!(query.read(&answer(&other, 0, 0, &[])), None, "another family and id");
    let mut none = answer(&query, 1, 0, &[])[..12].to_vec();
    none[5] = 0;
    assert_eq!(query.read(&none).map(|answer| answer.result), Some(DnsResult::Refused("FORMERR")), "a refusal that repeats nothing");
    none[3] = 0x80;
    assert_eq!(query.read(&none), None, "an answer to nothing");
}

#[test]
fn counts_that_promise_more_than_there_is_are_no_harm() {
    let query = question();
    for count in [2, 0xffff] {
        let bytes = answer(&query, 0, count, &[record(&QUERY_NAME, 1, &[10, 0, 0, 1])]);
        let read = query.read(&bytes).unwrap().result;
        assert!(read == addresses(&[[10, 0, 0, 1]]) || read == DnsResult::Nothing, "{read:?}");
    }
    let mut bytes = answer(&query, 3, 0, &[]);
    assert_eq!(query.read(&bytes).unwrap().result, DnsResult::Missing);
    bytes[2] |= 0x02;
    assert!(query.read(&bytes).unwrap().truncated);
    for (code, word) in [(2, "SERVFAIL"), (4, "NOTIMP"), (5, "REFUSED"), (11, "with an unknown code")] {
        assert_eq!(query.read(&answer(&query, code, 0, &[])).unwrap().result, DnsResult::Refused(word));
    }
}

#[test]
fn edns_is_requested_if_configured() {
    let plain = question();
    let longer = DnsQuery::new("db.example", Family::V4, true).unwrap();
    assert_eq!(longer.bytes().len(), plain.bytes().len() + 11);
    assert_eq!(longer.bytes()[11], 1, "one additional record");
    let ids: std::collections::BTreeSet<_> = (0..16).map(|_| question().bytes()[..2].to_vec()).collect();
    assert!(ids.len() > 8, "the ids are not random: {ids:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let query = question();
        let _ = query.read(&bytes);
        // With the right head, so that what follows is looked at.
        let mut answer = answer(&query, 0, 0xffff, &[bytes]);
        answer[8..12].fill(0xff);
        let _ = query.read(&answer);
    }

    #[test]
    fn a_bent_answer_yields_its_address_or_none(at in 0_usize..90, value in any::<u8>(), length in 0_usize..90) {
        let query = question();
        let real = encoded("real.example");
        let mut bytes = answer(&query, 0, 2, &[record(&QUERY_NAME, 5, &real), record(&real, 1, &[10, 0, 0, 1])]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(length);
        if let Some(DnsMessage { result: DnsResult::Addresses(found), .. }) = query.read(&bytes) {
            prop_assert_eq!(found.len(), 1);
        }
    }
}
