//! Tests that are left out are reported where people see it, and fail if everything was requested.

use super::variable;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Leaves a test or a part of it out. Libtest shows nothing that a passing test prints, so it is written past it: into the file that
/// `PORTCULLIS_LEFT_OUT` names, which `scripts/test` shows at its end, else to the real stderr.
///
/// # Panics
/// Under `PORTCULLIS_SLOW=1`, which requests all tests.
#[track_caller]
pub fn left_out(test: &str, why: &str) {
    leave_out(test, why, everything(), variable("PORTCULLIS_LEFT_OUT").as_ref().map(Path::new));
}

/// Whether the slow group was requested; else leaves the test out.
pub fn slow(test: &str) -> bool {
    let requested = everything();
    if !requested {
        left_out(test, "slow; scripts/test --all runs it");
    }
    requested
}

/// Tells whether we are root, else leaves the test out.
#[track_caller]
pub fn root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        left_out(test, "needs root");
    }
    root
}

/// Leaves a test out because something could not be fetched, which is no failure even if everything was requested.
pub fn unreachable(test: &str, why: &str) {
    leave_out(test, why, false, variable("PORTCULLIS_LEFT_OUT").as_ref().map(Path::new));
}

fn everything() -> bool {
    variable("PORTCULLIS_SLOW").is_some_and(|value| value == "1")
}

#[track_caller]
fn leave_out(test: &str, why: &str, everything: bool, list: Option<&Path>) {
    assert!(!everything, "{test} cannot run here, and PORTCULLIS_SLOW=1 asks for everything: {why}");
    let line = format!("left out: {test} ({why})\n");
    let written = match list {
        // One write to the end: tests run side by side, and in several programs.
        Some(list) => File::options().append(true).create(true).open(list).and_then(|mut list| list.write_all(line.as_bytes())),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
    written.unwrap_or_else(|error| panic!("{line}{error}"));
}

mod tests {
    use super::*;
    use crate::support::Dir;
    use std::panic::catch_unwind;

    #[test]
    fn what_is_left_out_is_written_down_and_fails_if_everything_was_requested() {
        let dir = Dir::new();
        let list = dir.path().join("list");
        leave_out("one", "needs root", false, Some(&list));
        leave_out("two", "slow", false, Some(&list));
        let written = "left out: one (needs root)\nleft out: two (slow)\n";
        assert_eq!(std::fs::read_to_string(&list).unwrap(), written);
        let refused = catch_unwind(|| leave_out("three", "no engine", true, Some(&list))).unwrap_err();
        let words = refused.downcast_ref::<String>().unwrap();
        assert!(words.contains("three cannot run here") && words.ends_with("no engine"), "{words}");
        assert_eq!(std::fs::read_to_string(&list).unwrap(), written);
    }
}
