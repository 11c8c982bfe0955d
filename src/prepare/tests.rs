//! Files that a start creates, in temporary directories; tests that need root are left out for other users.

mod overlapping;
mod planted;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::config::interpolate::{Findings, Template, Text};
use crate::config::source::Environment;
use crate::plan::file::{FileMode, FileText, Owner, Replacement, Unset, Values};

/// A user that exists in no image.
const STRANGER: u32 = 54_321;

struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("portcullis-prepare-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn with(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A directory of the stranger's.
    fn of_stranger(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
        path
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn plan(path: PathBuf, action: FileAction) -> FilePlan {
    FilePlan { path, action, owner: None, mode: None, recursive: false, keep: false, secret: None, reader: None }
}

fn content(text: &str) -> FileAction {
    FileAction::Write { text: FileText::Content(Text::literal(text)), append: false, replace: Vec::new() }
}

fn copy_of(from: PathBuf) -> FileAction {
    FileAction::Copy { from, delete: false, exclude: Vec::new(), replace: Vec::new() }
}

fn done(file: &FilePlan) -> Result<Done, Fault> {
    perform(file, &AtomicBool::new(false), &|_| ())
}

#[track_caller]
fn changes(file: &FilePlan) {
    let done = done(file).unwrap();
    assert!(done.changed, "{}", done.words);
}

#[track_caller]
fn stays(file: &FilePlan) {
    let done = done(file).unwrap();
    assert!(!done.changed, "{}", done.words);
}

#[track_caller]
fn fails(file: &FilePlan, words: &str) {
    match done(file) {
        Err(Fault::Failed(why)) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn owner(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

#[track_caller]
fn holds(path: impl AsRef<Path>, text: &str) {
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

/// Names in a directory, in order.
fn names(path: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_text_is_written_once_by_rename_and_leaves_nothing_else() {
    let home = Home::new();
    let file = plan(home.at("deep/er/conf"), content("a = 1\n"));
    changes(&file);
    holds(&file.path, "a = 1\n");
    let first = fs::metadata(&file.path).unwrap();
    stays(&file);
    assert_eq!(fs::metadata(&file.path).unwrap().ctime_nsec(), first.ctime_nsec());
    changes(&FilePlan { action: content("b"), ..file.clone() });
    assert_ne!(fs::metadata(&file.path).unwrap().ino(), first.ino());
    assert_eq!(names(home.at("deep/er")), ["conf"]);
    stays(&FilePlan { keep: true, ..file.clone() });
    holds(&file.path, "b");
    fails(&plan(home.at("deep"), content("")), "it is a directory");
}

#[test]
fn existing_files_keep_their_mode_and_owner() {
    let home = Home::new();
    let path = home.with("conf", "old");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    if is_root() {
        chown(&path, Some(STRANGER), Some(7)).unwrap();
    }
    changes(&plan(path.clone(), content("new")));
    assert_eq!(mode(&path), 0o664);
    assert!(!is_root() || owner(&path) == STRANGER && fs::metadata(&path).unwrap().gid() == 7);
    changes(&FilePlan { mode: FileMode::parse("o-r,g+x"), ..plan(path.clone(), content("newer")) });
    assert_eq!(mode(&path), 0o670);
    changes(&FilePlan { mode: FileMode::parse("0600"), ..plan(path.clone(), content("newer")) });
    assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o600, "newer"));
}

#[test]
fn a_text_that_is_replaced_where_it_lies_leaves_owner_and_mode_alone() {
    let home = Home::new();
    let path = home.with("nginx.conf", "ssl_certificate_key @key@;\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let before = owner(&path);
    let secret = Text::of(vec![crate::config::interpolate::Piece { value: "/s/a.key".into(), shown: "***".into(), interpolated: true }]);
    let replacement = Replacement { from: "@key@".into(), to: secret, optional: false };
    let reader = is_root().then_some(Owner { uid: Some(STRANGER), gid: Some(STRANGER) });
    let file = FilePlan { reader, ..plan(path, FileAction::Change(vec![replacement])) };
    changes(&file);
    holds(&file.path, "ssl_certificate_key /s/a.key;\n");
    assert_eq!((mode(&file.path), owner(&file.path)), (0o644, before));
    stays(&file);
    fs::write(&file.path, "@key@").unwrap();
    changes(&FilePlan { secret: Some(true), ..file.clone() });
    assert_eq!(mode(&file.path), 0o600);
}

#[test]
fn a_secret_is_for_its_owner_alone() {
    let home = Home::new();
    let environment = Environment::new([("DB_PASSWORD", "a secret of prepare"), ("HOST", "db")]);
    let template = home.with("conf.template", "host ${HOST} $host\npassword ${DB_PASSWORD}\n");
    let text = |variables| FileText::Template {
        from: template.clone(),
        variables,
        unset: Unset::Error,
        values: Values(Arc::new(environment.clone())),
    };
    let write = |variables| FileAction::Write { text: text(variables), append: false, replace: Vec::new() };
    let reader = is_root().then_some(Owner { uid: Some(STRANGER), gid: Some(STRANGER) });
    let file = FilePlan { reader, ..plan(home.at("conf"), write(None)) };
    changes(&file);
    holds(&file.path, "host db $host\npassword a secret of prepare\n");
    assert_eq!(mode(&file.path), 0o600);
    assert!(!is_root() || owner(&file.path) == STRANGER);
    stays(&file);
    // No secret, so the permissions do not change.
    let plain = FilePlan { reader, ..plan(home.at("plain"), write(Some(vec!["HOST".to_owned()]))) };
    changes(&plain);
    holds(&plain.path, "host db $host\npassword ${DB_PASSWORD}\n");
    assert_eq!(mode(&plain.path), 0o666 & !attributes::umask());
    changes(&FilePlan { secret: Some(true), ..plain.clone() });
    assert_eq!(mode(&plain.path), 0o600);
    // It is no longer readable by others.
    let open = FilePlan { path: home.with("open", ""), ..file.clone() };
    fs::set_permissions(&open.path, fs::Permissions::from_mode(0o644)).unwrap();
    changes(&open);
    assert_eq!(mode(&open.path), 0o640);
    let unset = plan(home.at("unset"), write(None));
    fs::write(&template, "x\n${NOT_THERE}\n").unwrap();
    fails(&unset, "conf.template: line 2: NOT_THERE is not set");
    assert!(!unset.path.exists() && !format!("{:?} {file} {file:?}", done(&file)).contains("secret of prepare"));
}

#[test]
fn texts_are_added_and_replaced_once() {
    let home = Home::new();
    let path = home.with("conf", "listen 80;");
    let mut findings = Findings::default();
    let to = Template::parse("listen ${PORT};").unwrap().expand(&Environment::new([("PORT", "8080")]), &mut findings);
    let replace = vec![Replacement { from: "listen 80;".to_owned(), to, optional: false }];
    let changed = plan(path.clone(), FileAction::Change(replace.clone()));
    changes(&changed);
    stays(&changed);
    let more = FileAction::Write { text: FileText::Content(Text::literal("user app;\n")), append: true, replace: Vec::new() };
    changes(&plan(path.clone(), more.clone()));
    stays(&plan(path.clone(), more));
    holds(&path, "listen 8080;\nuser app;\n");
    fails(&plan(home.at("none"), FileAction::Change(replace.clone())), "No such file");
    fails(&plan(home.with("other", "x"), FileAction::Change(replace)), "`listen 80;` is not in the file");
}

#[test]
fn directories_links_and_removals_are_made_once() {
    let home = Home::new();
    let directory = FilePlan { mode: FileMode::parse("0750"), ..plan(home.at("a/b"), FileAction::Directory) };
    changes(&directory);
    assert_eq!(mode(&directory.path), 0o750);
    stays(&directory);
    let link = plan(home.at("a/link"), FileAction::Link("b".into()));
    changes(&link);
    stays(&link);
    changes(&plan(link.path.clone(), FileAction::Link("/dev/null".into())));
    assert_eq!(fs::read_link(&link.path).unwrap(), Path::new("/dev/null"));
    changes(&plan(home.with("a/log", "x"), FileAction::Link("/dev/stdout".into())));
    fails(&plan(directory.path.clone(), FileAction::Link("x".into())), "there is a directory");
    let outside = home.with("outside/kept", "x");
    symlink(home.at("outside"), home.at("a/b/out")).unwrap();
    home.with("a/b/c/d", "x");
    let removed = plan(home.at("a"), FileAction::Remove);
    changes(&removed);
    stays(&removed);
    assert!(!removed.path.exists() && outside.exists());
    stays(&plan(home.at("a/b/c"), FileAction::Remove));
    changes(&plan(home.at("outside/kept"), FileAction::Remove));
}

#[test]
fn a_tree_is_copied_where_it_differs() {
    let home = Home::new();
    home.with("from/one", "1");
    home.with("from/sub/two", "2");
    home.with("from/data/skip", "x");
    symlink("one", home.at("from/link")).unwrap();
    fs::set_permissions(home.at("from/one"), fs::Permissions::from_mode(0o755)).unwrap();
    home.with("to/old", "o");
    home.with("to/data/mine", "m");
    let action = |delete| FileAction::Copy { from: home.at("from"), delete, exclude: vec!["/data".to_owned()], replace: Vec::new() };
    let tree = plan(home.at("to"), action(false));
    changes(&tree);
    stays(&tree);
    assert_eq!(
        (names(home.at("to")), names(home.at("to/data"))),
        (["data", "link", "old", "one", "sub"].map(str::to_owned).to_vec(), vec!["mine".to_owned()])
    );
    assert_eq!((mode(home.at("to/one")), fs::read_link(home.at("to/link")).unwrap()), (0o755, PathBuf::from("one")));
    changes(&plan(home.at("to"), action(true)));
    assert_eq!(names(home.at("to")), ["data", "link", "one", "sub"]);
    fs::write(home.at("to/one"), "changed").unwrap();
    fs::remove_file(home.at("to/sub/two")).unwrap();
    changes(&FilePlan { keep: true, ..tree.clone() });
    holds(home.at("to/one"), "changed");
    holds(home.at("to/sub/two"), "2");
    changes(&tree);
    holds(home.at("to/one"), "1");
    fs::write(home.at("to/one"), "2").unwrap();
    changes(&tree);
    holds(home.at("to/one"), "1");
    let file = plan(home.at("one"), copy_of(home.at("from/one")));
    changes(&file);
    stays(&file);
    fails(&plan(home.at("from/sub/copy"), copy_of(home.at("from"))), "lies in it");
    fails(&plan(home.at("x"), copy_of(home.at("none"))), "No such file");
}

#[test]
fn a_tree_gets_its_owner_where_it_is_wrong() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    home.with("data/a/b/c", "x");
    home.with("outside", "x");
    symlink(home.at("outside"), home.at("data/a/link")).unwrap();
    home.with("data/right", "x");
    chown(home.at("data/right"), Some(STRANGER), Some(STRANGER)).unwrap();
    let before = fs::metadata(home.at("data/right")).unwrap();
    let owner_of = Some(Owner { uid: Some(STRANGER), gid: Some(STRANGER) });
    let tree = FilePlan { owner: owner_of, recursive: true, ..plan(home.at("data"), FileAction::Change(Vec::new())) };
    changes(&tree);
    stays(&tree);
    for name in ["data", "data/a", "data/a/b/c", "data/a/link"] {
        assert_eq!(owner(home.at(name)), STRANGER, "{name}");
    }
    assert_eq!(owner(home.at("outside")), 0);
    let after = fs::metadata(home.at("data/right")).unwrap();
    assert_eq!((before.ctime(), before.ctime_nsec()), (after.ctime(), after.ctime_nsec()));
    let modes = FilePlan { mode: FileMode::parse("go-rwx,u+X"), recursive: true, ..plan(home.at("data"), FileAction::Directory) };
    changes(&modes);
    stays(&modes);
    assert_eq!((mode(home.at("data/a")), mode(home.at("data/a/b/c"))), (0o700, 0o600));
    // As after chown(2).
    fs::set_permissions(home.at("data/right"), fs::Permissions::from_mode(0o6755)).unwrap();
    changes(&FilePlan { owner: Some(Owner { uid: Some(1), gid: None }), ..plan(home.at("data/right"), FileAction::Change(Vec::new())) });
    assert_eq!(mode(home.at("data/right")), 0o755);
}

#[test]
fn a_planted_link_leads_nowhere() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let target = home.with("etc/shadow", "root's");
    let theirs = home.of_stranger("theirs");
    let plant = |name: &str, target: &Path, uid: u32| {
        let path = home.at(name);
        symlink(target, &path).unwrap();
        std::os::unix::fs::lchown(&path, Some(uid), Some(uid)).unwrap();
        path
    };
    let file = plant("theirs/file", &target, STRANGER);
    plant("theirs/dir", &home.at("etc"), STRANGER);
    // Root's own link, moved to a directory where others may write.
    plant("theirs/moved", &home.at("etc"), 0);
    let owner_of = Some(Owner { uid: Some(STRANGER), gid: None });
    for (path, action) in [
        (file.clone(), content("theirs")),
        (file.clone(), FileAction::Change(Vec::new())),
        (home.at("theirs/dir/shadow"), content("theirs")),
        (home.at("theirs/dir/new"), content("theirs")),
        (home.at("theirs/dir/new"), FileAction::Directory),
        (home.at("theirs/dir/shadow"), FileAction::Remove),
        (home.at("theirs/moved/shadow"), FileAction::Remove),
        (home.at("theirs/moved/shadow"), FileAction::Change(Vec::new())),
        (home.at("copy"), copy_of(file.clone())),
        (home.at("copy"), copy_of(home.at("theirs/dir"))),
    ] {
        fails(&FilePlan { owner: owner_of, ..plan(path, action) }, "a symbolic link on the way");
    }
    // A link without a target reveals nothing.
    plant("theirs/dangling", &home.at("etc/cron"), STRANGER);
    fails(&plan(home.at("theirs/dangling"), content("theirs")), "cannot");
    assert_eq!((owner(&target), names(home.at("etc"))), (0, vec!["shadow".to_owned()]));
    holds(&target, "root's");
    // In a tree they are entries like any other.
    let tree = FilePlan { owner: owner_of, recursive: true, ..plan(theirs.clone(), FileAction::Change(Vec::new())) };
    changes(&tree);
    assert_eq!((owner(&target), owner(home.at("etc"))), (0, 0));
    home.with("new/file", "new");
    home.with("new/dir/shadow", "new");
    fails(&plan(theirs, copy_of(home.at("new"))), "the target does not");
    holds(&target, "root's");
    // A link of the stranger may lead to the stranger's own files, and the links of an image are followed.
    home.of_stranger("own");
    plant("theirs/own", &home.at("own"), STRANGER);
    changes(&plan(home.at("theirs/own/file"), content("fine")));
    fs::create_dir(home.at("app")).unwrap();
    plant("app/conf", &home.at("etc"), 0);
    changes(&plan(home.at("app/conf/app"), content("fine")));
    holds(home.at("etc/app"), "fine");
    changes(&plan(file.clone(), FileAction::Remove));
    assert!(target.exists() && !file.exists());
}

#[test]
fn long_work_ends_when_it_is_cancelled() {
    let home = Home::new();
    for number in 0..300 {
        home.with(&format!("data/{number}"), "x");
    }
    let cancel = AtomicBool::new(true);
    let tree = plan(home.at("data"), FileAction::Remove);
    assert_eq!(perform(&tree, &cancel, &|_| ()), Err(Fault::Cancelled));
    assert_eq!(names(home.at("data")).len(), 300);
    changes(&tree);
}

#[test]
fn a_file_in_a_closed_directory_is_written_over() {
    let home = Home::new();
    let path = home.with("closed/conf", "a longer text");
    if is_root() {
        // A mount point cannot be renamed over.
        let mounted = std::process::Command::new("mount").arg("--bind").args([home.with("source", "a longer text"), path.clone()]).status();
        if !mounted.is_ok_and(|status| status.success()) {
            return;
        }
    } else {
        fs::set_permissions(home.at("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let result = done(&plan(path.clone(), content("short")));
    let text = fs::read_to_string(&path);
    if is_root() {
        std::process::Command::new("umount").arg(&path).status().unwrap();
    } else {
        fs::set_permissions(home.at("closed"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!((result.map(|done| done.changed), text.unwrap().as_str()), (Ok(true), "short"));
    assert_eq!(names(home.at("closed")), ["conf"]);
}
