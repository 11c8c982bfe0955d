//! Targets without a login: files, sockets, names, room on a disk.

use std::path::PathBuf;

use super::Written;
use super::tls::absolute;
use crate::config::interpolate::Text;
use crate::plan::target::{DiskTarget, Target};

impl Written<'_, '_> {
    /// The path of the URL, or the part of that name.
    pub(super) fn file(&self, part: &'static str) -> Option<PathBuf> {
        if let Some(path) = &self.path {
            return Some(absolute(&path.value()));
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
        if !matches!(self.address.path.as_str(), "" | "/") || self.address.port.or(self.port).is_some() {
            self.section.problem(self.key("port"), "has more than `dns://name`");
        }
        self.place(Some(1)).map(|address| Target::Dns(address.host))
    }

    pub(super) fn disk(self) -> Option<Target> {
        let path = self.file("path")?;
        let from_url = self.address.parameters().into_iter().find(|(name, _)| name == "free").map(|(_, value)| value);
        let Some(text) = self.section.nonempty("free").as_ref().map(Text::value).or(from_url) else {
            self.section.problem(self.key("free"), "names no room that has to be free, as `free=1GiB`");
            return None;
        };
        let free = bytes(&text);
        if free.is_none() {
            self.section.problem(self.key("free"), format!("wants `{text}` free, which is no size as `500MiB` or `1GiB`"));
        }
        Some(Target::Disk(DiskTarget { path, free: free? }))
    }
}

/// A size with its unit; a bare number is one of bytes.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "K" | "Ki" | "KiB" => 1 << 10,
        "M" | "Mi" | "MiB" => 1 << 20,
        "G" | "Gi" | "GiB" => 1 << 30,
        "T" | "Ti" | "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    match number.parse::<u64>() {
        Ok(number) => number.checked_mul(factor),
        Err(_) => number.parse::<f64>().ok().map(|number| (number * factor as f64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, size) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("1GiB", Some(1 << 30)),
            ("1.5 KiB", Some(1536)),
            ("2GB", Some(2_000_000_000)),
            ("99999999999999TiB", None),
            ("1 XB", None),
            ("GiB", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), size, "{text}");
        }
    }
}
