//! The key `modes` of files, steps and the migration.

use crate::config::problem::{Problem, suggest};
use crate::config::reader::{Depth, Section};

/// Whether this mode is listed; an empty list means all modes.
pub(super) fn is_for_mode(section: &Section<'_>, root: &Section<'_>, mode: Option<&str>) -> bool {
    let Some(items) = section.list("modes").filter(|_| section.has("modes")) else { return !section.has("modes") };
    let known = root.table_at("modes", Depth::Syntax);
    let mut is_listed = false;
    for item in items {
        let Some(name) = section.context().text(&item, &section.what("modes"), section.depth()).map(|text| text.value()) else { continue };
        if let Some(known) = known.as_ref().filter(|known| known.node(&name).is_none()) {
            let names: Vec<&str> = known.entries().map(|entry| entry.key.as_str()).collect();
            let near = suggest(&name, names.iter().copied());
            section
                .context()
                .problem(Problem::at(&item.origin, format!("{} names the unknown mode `{name}`{near}", section.what("modes"))));
        }
        is_listed |= mode == Some(&name);
    }
    is_listed
}
