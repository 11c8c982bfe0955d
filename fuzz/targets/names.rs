//! What a name server answers: addresses of the family that was asked for, or none.
//!
//! The first byte chooses the family and the name; the rest is the answer, whose number is set to the question's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::resolved;

const NAMES: [&str; 3] = ["db", "db.default.svc.cluster.local.", "a.example"];

fuzz_target!(|data: &[u8]| {
    let Some((first, answer)) = data.split_first() else { return };
    let six = first & 1 == 1;
    let name = NAMES[usize::from(first >> 1) % NAMES.len()];
    let Some(addresses) = resolved(name, six, &mut answer.to_vec()) else { return };
    assert!(addresses.iter().all(|address| address.is_ipv6() == six), "{addresses:?}");
    assert!(addresses.len() <= 1024, "{}", addresses.len());
});
