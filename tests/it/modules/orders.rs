//! Orders to modules on real processes, at moments when nobody expects them: before the process starts, and during a pause.

use super::{HEALTH, lines, run, until, up};
use crate::support::secs;

#[test]
fn a_stop_before_the_process_starts_holds_until_somebody_starts_it() {
    let run = run("[checks.db]\nurl = \"file://DIR/db.up\"\nwait = \"60s\"\n[modules.one]\ncommand = [\"@\", \"one\"]\n\
         [modules.two]\ncommand = [\"@\", \"two\"]\n");
    run.until_status("/livez", 200, secs(20));
    run.beside(["start", "one", "--timeout", "10ms"]).exits(69);
    for name in ["one", "two"] {
        run.beside(["stop", name]).exits(0);
    }
    up(&run, "db");
    until(&run, HEALTH, "UP");
    assert_eq!(lines(&run, &["begin one", "begin two"]), [""; 0]);
    run.beside(["start", "one"]).exits(0);
    run.until_stdout("begin one", secs(20));
    assert_eq!(lines(&run, &["begin one", "begin two"]), ["begin one"]);
}
