//! Targets without a login: files, sockets, names, disk space.

use std::path::PathBuf;

use super::Written;
use super::tls::absolute;
use crate::config::values::Size;
use crate::plan::target::{DiskTarget, Target};

impl Written<'_, '_> {
    /// The path of the URL, or the part of that name.
    pub(super) fn file(&self, part: &'static str) -> Option<PathBuf> {
        if let Some(path) = self.keys.path.value() {
            return Some(absolute(&path));
        }
        match self.address.file() {
            Ok(path) => Some(path),
            Err(why) => {
                self.section.problem(self.key(part), why);
                None
            }
        }
    }

    pub(super) fn dns(self) -> Option<Target> {
        if !matches!(self.address.path.as_str(), "" | "/") || self.port().is_some() {
            self.section.problem(self.key("port"), "has more than `dns://name`");
        }
        self.place(Some(1)).map(|address| Target::Dns(address.host))
    }

    pub(super) fn disk(self) -> Option<Target> {
        let path = self.file("path")?;
        if let Some(free) = self.keys.free.0 {
            return Some(Target::Disk(DiskTarget { path, free: free.0 }));
        }
        let Some((_, text)) = self.address.parameters().into_iter().find(|(name, _)| name == "free") else {
            self.section.problem(self.key("free"), "does not say how much space has to be free, for example `free=1GiB`");
            return None;
        };
        let Some(free) = Size::parse(&text) else {
            self.section.problem("url", format!("requires `{text}` to be free, which is not a size such as `500MiB` or `1GiB`"));
            return None;
        };
        Some(Target::Disk(DiskTarget { path, free: free.0 }))
    }
}
