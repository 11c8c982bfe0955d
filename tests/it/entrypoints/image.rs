//! The image of a case as a separate tree: stand-ins, files and users, and only what the stand-ins need from this machine.

use super::case::{Case, Cases, Entry, Rule, Script};
use crate::support::{Dir, chmod, executable};
use nix::unistd::mkfifo;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where bash, portcullis and their libraries lie for all images.
pub fn shared() -> &'static Path {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(Shared::new).dir.path()
}

#[derive(Debug)]
struct Shared {
    dir: Dir,
}

impl Shared {
    fn new() -> Self {
        let dir = Dir::new();
        let portcullis = crate::support::portcullis::binary();
        executable(&dir.path().join("bash"), fs::read("/bin/bash").expect("bash"));
        if fs::hard_link(&portcullis, dir.path().join("portcullis")).is_err() {
            executable(&dir.path().join("portcullis"), fs::read(&portcullis).expect("portcullis"));
        }
        let linked = Command::new("ldd").arg("/bin/bash").arg(&portcullis).output().expect("ldd");
        let lines = String::from_utf8_lossy(&linked.stdout).into_owned();
        let mut paths = String::new();
        for path in lines.split_whitespace().filter(|word| word.starts_with("/lib")) {
            fs::copy(path, dir.path().join(path.rsplit('/').next().unwrap())).expect("copy a library");
            paths.push_str(&format!("{path}\n"));
        }
        dir.file("libraries", &paths);
        Self { dir }
    }
}

/// The tree.
#[derive(Debug)]
pub struct Tree(Dir);

impl Tree {
    pub fn new(cases: &Cases, case: &Case) -> Self {
        let tree = Self(Dir::new());
        for directory in ["box/calls", "box/turns", "box/quiet", "tmp", "run"] {
            tree.directory(directory);
            chmod(&tree.0.path().join(directory), 0o1777);
        }
        for directory in ["box/shared", "box/says", "proc", "dev", "etc", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/local/bin"] {
            tree.directory(directory);
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{name}"), tree.0.path().join(name)).expect("link a directory of programs");
        }
        symlink("shared/bash", tree.0.path().join("box/bash")).expect("link bash");
        symlink("box/shared/portcullis", tree.0.path().join("portcullis")).expect("link portcullis");
        for path in fs::read_to_string(shared().join("libraries")).unwrap().lines() {
            let link = tree.0.path().join("usr").join(path.trim_start_matches('/'));
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            drop(symlink(format!("/box/shared/{}", path.rsplit('/').next().unwrap()), link));
        }
        mkfifo(&tree.0.path().join("box/hold"), nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("make a pipe");
        chmod(&tree.0.path().join("box/hold"), 0o666);
        tree.accounts(&cases.image.accounts);
        tree.directory(&cases.image.directory);
        let files = cases.image.files.iter().filter(|(path, _)| !case.files.contains_key(*path)).chain(&case.files);
        for (path, entry) in files.filter(|(path, _)| !case.missing.contains(path)) {
            tree.entry(path, entry);
        }
        for program in cases.image.programs.iter().chain(&cases.image.quiet).chain(&case.programs) {
            let path = if program.starts_with('/') { PathBuf::from(program) } else { Path::new("/usr/local/bin").join(program) };
            if !case.missing.contains(&path) {
                tree.program(&path, &super::helper("stand_in.sh"));
            }
        }
        for program in &cases.image.quiet {
            let name = Path::new(program).file_name().unwrap().to_str().unwrap();
            tree.text(format!("box/quiet/{name}"), "");
        }
        tree.rules(case.does.iter().chain(&cases.image.does));
        tree
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    fn below(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.path().join(path.strip_prefix("/").unwrap_or(path))
    }

    fn directory(&self, path: impl AsRef<Path>) {
        fs::create_dir_all(self.below(path)).expect("create a directory of the image");
    }

    pub fn text(&self, path: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.below(path);
        fs::create_dir_all(path.parent().unwrap()).expect("create a directory of the image");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    fn program(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.below(path);
        fs::create_dir_all(path.parent().unwrap()).expect("create a directory of the image");
        executable(&path, text);
    }

    /// The script's files in /box/script, and what changes the user in its image.
    pub fn script(&self, script: &Script, dir: &Path) {
        for path in &script.paths {
            let from = dir.join(path);
            let text = fs::read_to_string(&from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
            self.program(Path::new("box/script").join(path), &text);
        }
        self.program("box/driver", &script.driver);
        for name in ["gosu", "su-exec", "s6-setuidgid"] {
            self.program(Path::new("usr/local/bin").join(name), &super::helper("as_user.sh"));
        }
    }

    fn accounts(&self, accounts: &[String]) {
        let (mut passwd, mut group) = ("root:x:0:0:root:/root:/bin/sh\n".to_owned(), "root:x:0:\n".to_owned());
        for account in accounts {
            let [name, uid, gid, home] = account.split(':').collect::<Vec<_>>().try_into().expect("name:uid:gid:home");
            passwd.push_str(&format!("{name}:x:{uid}:{gid}::{home}:/bin/sh\n"));
            if gid != "0" {
                group.push_str(&format!("{name}:x:{gid}:\n"));
            }
        }
        self.text("etc/passwd", &passwd);
        self.text("etc/group", &group);
    }

    fn entry(&self, path: &Path, entry: &Entry) {
        match entry {
            Entry::Text(text) => drop(self.text(path, text)),
            Entry::Full { link: Some(link), .. } => {
                self.directory(path.parent().unwrap());
                symlink(link, self.below(path)).expect("make a link of the image");
            }
            Entry::Full { text, mode, owner, socket, .. } => {
                match text {
                    _ if *socket => {
                        self.directory(path.parent().unwrap());
                        drop(UnixListener::bind(self.below(path)).expect("make a socket of the image"));
                    }
                    Some(text) => drop(self.text(path, text)),
                    None => self.directory(path),
                }
                if let Some(owner) = owner {
                    let (uid, gid) = super::ids(owner);
                    chown(self.below(path), Some(uid), Some(gid)).expect("give a file of the image away");
                }
                if let Some(mode) = mode {
                    chmod(&self.below(path), u32::from_str_radix(mode, 8).expect("an octal mode"));
                }
            }
        }
    }

    fn rules<'a>(&self, rules: impl Iterator<Item = &'a Rule>) {
        let mut lines = String::new();
        for (index, rule) in rules.enumerate() {
            lines.push_str(&format!("{index}\t{}\t{}\t{}\t{}\n", rule.exit, rule.stays, rule.first, rule.call));
            self.text(format!("box/says/{index}"), &rule.says);
        }
        self.text("box/rules", &lines);
    }

    /// What is there afterwards: kind, mode, owner and the first digits of the content's hash, or where a link leads.
    pub fn look(&self, paths: &[PathBuf], random: &[PathBuf]) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        let mut open: Vec<PathBuf> = paths.iter().rev().cloned().collect();
        while let Some(path) = open.pop() {
            let real = self.below(&path);
            let Ok(about) = fs::symlink_metadata(&real) else { continue };
            let owner = format!("{}:{}", about.uid(), about.gid());
            let mode = about.permissions().mode() & 0o7777;
            let what = if about.is_symlink() {
                format!("l {owner} {}", fs::read_link(&real).unwrap().display())
            } else if about.is_dir() {
                let mut below: Vec<_> = fs::read_dir(&real).unwrap().map(|entry| path.join(entry.unwrap().file_name())).collect();
                below.sort_by(|one, other| other.cmp(one));
                open.extend(below);
                format!("d {mode:04o} {owner}")
            } else if random.contains(&path) {
                format!("f {mode:04o} {owner} random")
            } else {
                let hash = Sha256::digest(fs::read(&real).unwrap());
                format!("f {mode:04o} {owner} {:012x}", hash.iter().take(6).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)))
            };
            seen.push((path.display().to_string(), what));
        }
        seen
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(self.0.path().with_extension("work")));
    }
}
