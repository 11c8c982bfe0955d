//! `[[files]]`, and the checks before a start: impossible actions and missing files are reported before anything is changed.

use crate::support::{Portcullis, chmod, root, secs};
use std::os::unix::fs::symlink;

const API: &str = "mode = \"api\"\n[checks]\n[modes.api]\ncommand = [\"true\"]\n";

#[test]
fn an_owner_that_needs_root_is_reported_before_anything_is_done() {
    if !root("an_owner_that_needs_root_is_reported_before_anything_is_done") {
        return;
    }
    let run = Portcullis::new();
    chmod(run.dir(), 0o777);
    let (at, made) = (run.dir().display().to_string(), run.dir().join("made"));
    let config = format!(
        "{API}[[files]]\npath = \"{at}/made\"\ndirectory = true\n[[files]]\npath = \"{at}/data\"\ndirectory = true\nowner = \"4711:4711\"\n"
    );
    // Any user may run it if no owner has to be changed.
    let run = run.config(&config).through("setpriv --reuid=1234 --regid=1234 --clear-groups --");
    let output = run.output().exits(78);
    output.says(&["/data to 4711:4711 needs root, and portcullis runs as user 1234; start the container as root"]);
    assert!(!made.exists());
}

#[test]
fn a_misspelt_program_ends_the_start_before_anything_is_waited_for() {
    let waits = "mode = \"api\"\n[checks.target]\nurl = \"tcp://127.0.0.1:1\"\nwait = \"50s\"\n";
    let migrating = "[migrations]\ncommand = [\"slep\", \"1\"]\nlock = \"none\"\n[modes.api]\ncommand = [\"sleep\", \"1\"]\n";
    let run = Portcullis::new();
    let bin = run.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    symlink("/bin/sleep", bin.join("sleep")).unwrap();
    let run = run.without("PATH").env("PATH", &bin).config(&format!("{waits}{migrating}"));
    let output = run.output().exits(127);
    assert!(output.took < secs(10), "{output:?}");
    output.says(&["cannot start slep, the program of the migration: it was not found; did you mean `sleep`?; exit code 127"]);
}
