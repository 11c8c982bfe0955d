//! `files`: variables from files of `NAME=value` lines.

use super::{VariableChanges, hidden};
use crate::config::quoting;
use crate::config::reader::Section;
use crate::config::source::{Environment, read_secret};
use crate::plan::argv::Word;
use crate::plan::resolve::items;

impl VariableChanges {
    /// What each of `files` sets, one after another; one that is not there is passed over, as `[ -f ]` passes it over.
    pub(super) fn source_files(&mut self, section: &Section<'_>, seen: &mut Environment) {
        let context = section.context();
        for (path, _) in items::read(section, "files", section.depth()) {
            let path = context.environment.place(path);
            if !std::fs::metadata(&path).is_ok_and(|found| found.is_file()) {
                context.remark(&format!("{}, which `files` in [env] names, is no file that is there; it is passed over", path.display()));
                continue;
            }
            let read = read_secret(&path).and_then(|text| {
                quoting::variables(&text, &mut |name| Ok(seen.lookup(name)?.map(|found| found.value).unwrap_or_default()))
            });
            match read {
                Ok(set) => {
                    for (name, value) in set {
                        let value = hidden(&name, Word::plain(&value));
                        seen.set(&name, value.value(), value.shown() != value.value());
                        self.set(&name, value);
                    }
                }
                Err(why) => section.problem("files", format!("names {}, which cannot be taken: {why}", path.display())),
            }
        }
    }
}
