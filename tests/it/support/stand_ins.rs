//! Stand-in programs in a separate PATH, which record their calls and do what the environment specifies.

use super::{Dir, Portcullis, chmod};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What parts the words of a call from its environment, and one call from the next.
const MARKS: [&[u8]; 2] = [b"\x1e\0", b"\x1d\0"];

/// Programs that are called in place of the real ones.
///
/// `DO_NAME` in the environment is `bash` that the program NAME runs, and `DO_NAME_WORD` what it runs when WORD is its first argument.
#[derive(Debug)]
pub struct StandIns(Dir);

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The program's name and its arguments.
    pub words: Vec<String>,
    /// Its environment, without what the tests and portcullis need themselves.
    pub env: BTreeMap<String, String>,
}

impl StandIns {
    pub fn new(names: &[&str]) -> Self {
        let stand_ins = Self(Dir::new());
        let log = stand_ins.log();
        let log = log.display();
        let text = format!(
            "name=${{0##*/}}\n{{ printf '%s\\0' \"$name\" \"$@\"; printf '\\036\\0'; /bin/cat /proc/$$/environ; printf '\\035\\0'; }} >{log}.$$\n/bin/cat {log}.$$ >>{log}; /bin/rm {log}.$$\n\
             case ${{1-}} in [a-z]*) word=_$(printf %s \"$1\" | /usr/bin/tr -c 'a-z0-9' _) ;; *) word= ;; esac\n\
             eval \"do=\\${{DO_${{name}}$word:-\\${{DO_$name:-}}}}\"\neval \"$do\"\n"
        );
        for name in names {
            stand_ins.0.script(name, &text);
        }
        stand_ins
    }

    /// `portcullis run --preset PRESET` with nothing but these programs on its PATH.
    pub fn run(&self, preset: &str, arguments: &[&str]) -> Portcullis {
        let words = ["run", "--preset", preset, "--"].into_iter().chain(arguments.iter().copied());
        Portcullis::new().without("PATH").env("PATH", self.0.path()).args(words)
    }

    /// The same, with the system's own programs behind these.
    pub fn run_beside_others(&self, preset: &str, arguments: &[&str]) -> Portcullis {
        self.run(preset, arguments).without("PATH").env("PATH", format!("{}:/usr/bin:/bin", self.0.path().display()))
    }

    /// Where they lie.
    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    /// Takes the permission to execute a program away.
    pub fn not_executable(&self, name: &str) {
        chmod(&self.0.path().join(name), 0o644);
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        let log = std::fs::read(self.log()).unwrap_or_default();
        parts(&log, MARKS[1]).into_iter().filter_map(|call| Some(call_of(parts(call, MARKS[0]).try_into().ok()?))).collect()
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("calls.log")
    }
}

fn call_of([words, environ]: [&[u8]; 2]) -> Call {
    let strings = |bytes: &[u8]| -> Vec<String> {
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        bytes.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    };
    let own = |name: &str| name.starts_with("PORTCULLIS_") || name.starts_with("DO_") || name == "PATH" || name == super::process::MARK;
    let pairs =
        strings(environ).into_iter().filter_map(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    Call { words: strings(words), env: pairs.filter(|(name, _)| !own(name)).collect() }
}

/// What stands before each `mark`, and behind the last one where there is something.
fn parts<'a>(mut bytes: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(end) = bytes.windows(mark.len()).position(|window| window == mark) {
        parts.push(&bytes[..end]);
        bytes = &bytes[end + mark.len()..];
    }
    if !bytes.is_empty() {
        parts.push(bytes);
    }
    parts
}
