//! Helper children: `bash` scripts that print `ready` and then the events that they get.

/// What [`WAIT`] reads from.
const BLOCK: &str = "mkfifo wait.$$; exec 3<>wait.$$; rm wait.$$\n";

/// Waits without a child of its own; a trapped signal interrupts it at once. The read has a limit because a signal that comes between
/// the shell's last look at its traps and the read itself is only seen after it; `sh` has no such limit.
const WAIT: &str = "while :; do read -t 0.1 line <&3; done\n";

/// Prints `ready`, then `got N` for each of the signals; TERM ends it with `code`.
pub fn talker(signals: &[i32], code: i32) -> String {
    let mut script = String::from(BLOCK);
    for signal in signals {
        script += &format!("trap 'echo got {signal}' {signal}\n");
    }
    script += &format!("trap 'echo got 15; exit {code}' 15\necho ready\n{WAIT}");
    script
}

/// Prints `ready` and ends on TERM with 0.
pub fn polite() -> String {
    talker(&[], 0)
}

/// Prints `ready` and ignores TERM.
pub fn stubborn() -> String {
    format!("{BLOCK}trap '' 15\necho ready\n{WAIT}")
}
