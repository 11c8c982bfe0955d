//! Detects the version of the application in the image, and warns if the preset is for another one.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::config::node::Entry;
use crate::config::preset::find;
use crate::config::preset::version::{Version, written};
use crate::config::preset_keys::PresetTable;
use crate::config::reader::{Context, Depth};
use crate::config::source::open_file;

/// How much of a file is read.
const LARGEST: u64 = 256 * 1024;

/// Reads `[preset]` and compares; `chosen` is the name of the preset. A difference is a notice; a missing file is ignored.
pub fn look<'e>(section: &Entry, chosen: Option<&str>, context: &'e Context<'e>) {
    let environment = context.environment;
    let Some(mut section) = context.open(&section.node, "preset", Depth::Whole) else { return };
    let PresetTable { version_files, needs } = section.declared();
    let Some(chosen) = chosen else { return };
    let named = version_files
        .iter()
        .map(|rule| (rule.file.value(), rule.after.value()))
        .find_map(|(file, after)| version_in(&environment.place(&file), &after).map(|version| (file, version)));
    if let Some((file, version)) = named {
        let family = chosen.split('@').next().unwrap_or_default();
        let wanted = format!("{family}@{version}");
        match find(&wanted) {
            Ok((own, _)) if own == chosen => {}
            Ok(_) => context.notice(format!("{file} says version {version}, and the preset {chosen} is another's: take {wanted}")),
            Err(why) => context.notice(format!("{file} says version {version}, and the preset {chosen} is another's: {why}")),
        }
    }
    for (file, least) in needs.iter().map(|need| (need.file.value(), need.least.value())) {
        let Some((found, version)) = installed(&environment.place(&file)) else { continue };
        if Version::parse(&version) < Version::parse(&least) {
            let found = found.display();
            context.notice(format!("{found} is version {version}, and the preset {chosen} needs {least} or newer"));
        }
    }
}

/// The version after `after` in the first line that begins with it.
fn version_in(path: &Path, after: &str) -> Option<String> {
    let mut text = Vec::new();
    open_file(path).ok()?.take(LARGEST).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| written(line.trim_start().strip_prefix(after)?)).map(str::to_owned)
}

/// The path that matches this pattern, and the version in its name.
fn installed(pattern: &Path) -> Option<(PathBuf, String)> {
    let mut found = vec![(PathBuf::new(), None)];
    for part in pattern {
        let part = part.to_str()?;
        let Some((before, after)) = part.split_once('*') else {
            for (path, _) in &mut found {
                path.push(part);
            }
            continue;
        };
        let mut below = Vec::new();
        for (path, _) in found {
            for name in std::fs::read_dir(&path).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
                if let Some(any) = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)) {
                    below.push((path.join(&name), Some(any.to_owned())));
                }
            }
        }
        found = below;
    }
    found.into_iter().find_map(|(path, any)| any.filter(|any| Version::parse(any).is_some()).map(|version| (path, version)))
}
