//! Helper children: `sh` scripts that print `ready` and then what happens to them.

/// Blocks without a child of its own; a trapped signal interrupts it at once.
const BLOCK: &str = "mkfifo wait.$$; exec 3<>wait.$$; rm wait.$$\n";

/// Prints `ready`, then `got N` for each of the signals; TERM ends it with `code`.
pub fn talker(signals: &[i32], code: i32) -> String {
    let mut script = String::from(BLOCK);
    for signal in signals {
        script += &format!("trap 'echo got {signal}' {signal}\n");
    }
    script += &format!("trap 'echo got 15; exit {code}' 15\necho ready\nwhile :; do read line <&3; done\n");
    script
}

/// Prints `ready` and ends on TERM with 0.
pub fn polite() -> String {
    talker(&[], 0)
}

/// Prints `ready` and ignores TERM.
pub fn stubborn() -> String {
    format!("{BLOCK}trap '' 15\necho ready\nwhile :; do read line <&3; done\n")
}
