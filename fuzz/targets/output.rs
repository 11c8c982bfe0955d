//! What children write with `output = "prefix"`: whatever the pieces, no byte is lost and every line bears a name.
//!
//! The first byte of a piece chooses the child; the mark `\xf9\x9f` stands between two pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::passed_on;
use portcullis_fuzz::split;

const NAMES: [&str; 3] = ["a", "worker", "b-2"];

fuzz_target!(|data: &[u8]| {
    let pieces: Vec<(usize, &[u8])> =
        split(data, b"\xf9\x9f").filter_map(|piece| piece.split_first()).map(|(first, rest)| (usize::from(*first) % NAMES.len(), rest)).collect();
    let out = passed_on(&NAMES, &pieces);
    assert!(out.is_empty() || out.ends_with(b"\n"));
    for (child, name) in NAMES.iter().enumerate() {
        let label = format!("{name} | ").into_bytes();
        let mut expected: Vec<u8> = pieces.iter().filter(|(whose, _)| *whose == child).flat_map(|(_, bytes)| bytes.to_vec()).collect();
        if expected.last().is_some_and(|last| *last != b'\n') {
            expected.push(b'\n');
        }
        // A line that is longer than is held back may be broken in two by another child's, which ends it.
        if pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > 60 * 1024 {
            continue;
        }
        let relayed: Vec<u8> =
            out.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(&label[..])).flat_map(<[u8]>::to_vec).collect();
        assert_eq!(String::from_utf8_lossy(&relayed), String::from_utf8_lossy(&expected), "{name}");
    }
});
