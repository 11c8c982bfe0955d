//! The programs of a directory, as the commands of a step: in the order of their names, executable or with an interpreter for the end of
//! their names.

mod version;

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::plan::argv::{Argv, Word};
use crate::plan::step::{HookOrder, HooksPlan};
use crate::plan::{CommandPlan, ProcessPlan};

/// The maximum depth of directories: more is a loop of mounts.
const DEEPEST: usize = 32;

/// A command for each program, in the order of their names; none for a missing directory.
///
/// # Errors
/// The directory cannot be read; the text continues a sentence after "it".
pub fn commands(plan: &HooksPlan) -> Result<Vec<ProcessPlan>, String> {
    let mut files = Vec::new();
    collect(&plan.directory, plan, 0, &mut files)?;
    files.sort_unstable();
    if plan.order == HookOrder::Version {
        let bytes = |path: &PathBuf| path.as_os_str().as_bytes().to_vec();
        files.sort_by(|a, b| version::compare(&bytes(a), &bytes(b)));
    }
    Ok(files.into_iter().filter_map(|file| command(plan, &file)).collect())
}

fn collect(directory: &Path, plan: &HooksPlan, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("cannot read the directory {}: {error}; check its path and mode", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && depth == 0 => return Ok(()),
        entries => entries.map_err(unreadable)?,
    };
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Links are followed: Kubernetes mounts a ConfigMap's files as links.
        let Ok(found) = fs::metadata(&path) else { continue };
        if found.is_dir() && plan.descend && depth < DEEPEST && !name.starts_with("..") {
            collect(&path, plan, depth + 1, files)?;
        } else if found.is_file() && plan.pattern.as_ref().is_none_or(|pattern| matches(pattern.as_bytes(), name.as_bytes())) {
            files.push(path);
        }
    }
    Ok(())
}

/// The command of one file; none, with a log line, for one that cannot be run.
fn command(plan: &HooksPlan, file: &Path) -> Option<ProcessPlan> {
    let word = Word::plain(file.to_string_lossy());
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_executable = fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
    let interpreter = plan.interpreters.iter().filter(|(end, _)| name.ends_with(end.as_str())).max_by_key(|(end, _)| end.len());
    let words = match interpreter {
        _ if is_executable => vec![word],
        Some((_, interpreter)) => interpreter.words().iter().cloned().chain([word]).collect(),
        None => {
            warn!("{} is skipped: it is not executable, and there is no `interpreter` for the end of its name", file.display());
            return None;
        }
    };
    let argv = Argv::new(words)?;
    let process = plan.process.clone();
    Some(ProcessPlan { command: CommandPlan { argv, ..process.command }, ..process })
}

/// Whether a name matches a pattern of `*` (any characters) and `?` (one).
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', pattern)), _) => (0..=name.len()).any(|skipped| matches(pattern, name.get(skipped..).unwrap_or_default())),
        (Some((b'?', pattern)), Some((_, name))) => matches(pattern, name),
        (Some((wanted, pattern)), Some((found, name))) => wanted == found && matches(pattern, name),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    use super::*;

    fn hooks(directory: &Path) -> HooksPlan {
        HooksPlan {
            directory: directory.to_owned(),
            pattern: None,
            order: HookOrder::Name,
            interpreters: BTreeMap::new(),
            descend: false,
            process: ProcessPlan::new(Argv::new(vec![Word::plain("")]).unwrap()),
        }
    }

    fn shown(plan: &HooksPlan) -> Vec<String> {
        let words =
            |process: ProcessPlan| process.command.argv.words().iter().map(|word| word.value().to_owned()).collect::<Vec<_>>().join(" ");
        let root = format!("{}/", plan.directory.display());
        commands(plan).unwrap().into_iter().map(words).map(|shown| shown.replace(&root, "")).collect()
    }

    #[test]
    fn an_executable_is_found_by_name() {
        let directory = std::env::temp_dir().join(format!("portcullis-hooks-{}", std::process::id()));
        fs::create_dir_all(directory.join("sub")).unwrap();
        for (name, mode) in [("20-b", 0o755), ("10-a", 0o755), ("30-c.php", 0o644), ("notes.txt", 0o644), ("Z", 0o755), ("sub/deep", 0o755)]
        {
            fs::write(directory.join(name), "").unwrap();
            fs::set_permissions(directory.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink(directory.join("Z"), directory.join("40-link")).unwrap();
        symlink("/nonexistent", directory.join("50-dangling")).unwrap();
        let plain = hooks(&directory);
        assert_eq!(shown(&plain), ["10-a", "20-b", "40-link", "Z"]);
        assert_eq!(shown(&HooksPlan { pattern: Some("?0-*".to_owned()), ..plain.clone() }), ["10-a", "20-b", "40-link"]);
        assert_eq!(shown(&HooksPlan { descend: true, ..plain.clone() }), ["10-a", "20-b", "40-link", "Z", "sub/deep"]);
        fs::rename(directory.join("10-a"), directory.join("9-a")).unwrap();
        assert_eq!(shown(&plain), ["20-b", "40-link", "9-a", "Z"]);
        assert_eq!(shown(&HooksPlan { order: HookOrder::Version, ..plain.clone() }), ["9-a", "20-b", "40-link", "Z"]);
        fs::rename(directory.join("9-a"), directory.join("10-a")).unwrap();
        let php = Argv::new(["php", "-q"].map(Word::plain).to_vec()).unwrap();
        let interpreted = HooksPlan { interpreters: BTreeMap::from([(".php".to_owned(), php)]), ..plain.clone() };
        assert_eq!(shown(&interpreted), ["10-a", "20-b", "php -q 30-c.php", "40-link", "Z"]);
        assert!(shown(&hooks(Path::new("/nonexistent"))).is_empty());
        assert!(commands(&hooks(&directory.join("Z"))).unwrap_err().contains("cannot read the directory"));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_pattern_is_matched_whole() {
        for (pattern, name, expected) in
            [("*", "x", true), ("*.sh", "a.sh", true), ("*.sh", "a.sh.bak", false), ("?", "", false), ("a*b*c", "axbxc", true)]
        {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
