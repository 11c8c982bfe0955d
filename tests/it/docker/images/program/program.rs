//! A program of an image that has no shell: it says when and how it was called, and stays, or ends, as its environment says.
//!
//! `SLOW`, `STAYS` and `FAILS` are words, parted by commas, of the calls that take a second, never end, or end with 1.

use std::env::{args, var};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn main() {
    let call = args().collect::<Vec<_>>().join(" ");
    let is = |name: &str| var(name).unwrap_or_default().split(',').any(|word| !word.is_empty() && call.contains(word));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    println!("call begin {} {call}", now());
    if is("SLOW") {
        std::thread::sleep(Duration::from_secs(1));
    }
    while is("STAYS") {
        std::thread::park();
    }
    println!("call end {} {call}", now());
    std::process::exit(i32::from(is("FAILS")));
}
