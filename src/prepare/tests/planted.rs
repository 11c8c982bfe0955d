//! What another user may have put where root writes: second names of files, and files that are there before a secret is written.

use super::*;
use crate::config::interpolate::Piece;
use crate::pinned::hard_links;

/// A user whose process reads the files.
const READER: u32 = 54_322;

fn secret_text() -> FileAction {
    let pieces = vec![Piece { value: "planted secret".into(), shown: "***".into(), interpolated: true }];
    FileAction::Write { text: FileText::Content(Text::of(pieces)), append: false, replace: Vec::new() }
}

fn give(path: &Path, (uid, gid): (u32, u32), mode: u32) {
    chown(path, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn access(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

#[test]
fn a_second_name_of_another_file_is_not_read() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let shadow = home.with("etc/shadow", "root's");
    give(&shadow, (0, 0), 0o600);
    home.of_stranger("theirs");
    let open = home.at("open");
    fs::create_dir(&open).unwrap();
    // The sticky bit protects names that exist; anybody may add one.
    give(&open, (0, 0), 0o1777);
    symlink(&shadow, home.at("etc/link")).unwrap();
    for dir in ["theirs", "open"] {
        fs::hard_link(&shadow, home.at(dir).join("conf")).unwrap();
        fs::create_dir(home.at(dir).join("tree")).unwrap();
        give(&home.at(dir).join("tree"), (STRANGER, STRANGER), 0o755);
        fs::hard_link(&shadow, home.at(dir).join("tree/conf")).unwrap();
        fs::hard_link(home.at("etc/link"), home.at(dir).join("link")).unwrap();
    }
    let replace = || vec![Replacement { from: "root".into(), to: Text::literal("x"), optional: false }];
    let append = || FileAction::Write { text: FileText::Content(Text::literal("x")), append: true, replace: Vec::new() };
    let template = |from| FileAction::Write {
        text: FileText::Template { from, variables: None, unset: Unset::Error, values: Values(Arc::new(Environment::default())) },
        append: false,
        replace: Vec::new(),
    };
    let owned = |path: PathBuf, action| FilePlan { owner: Some(Owner { uid: Some(STRANGER), gid: None }), ..plan(path, action) };
    hard_links::protected_in_this_thread(false);
    for dir in ["theirs", "open"] {
        let conf = home.at(dir).join("conf");
        for (path, action) in [
            (conf.clone(), append()),
            (conf.clone(), content("x")),
            (conf.clone(), FileAction::Change(replace())),
            (home.at("theirs/new"), copy_of(conf.clone())),
            (home.at("theirs/new"), FileAction::Copy { from: conf.clone(), delete: false, exclude: Vec::new(), replace: replace() }),
            (home.at("theirs/new"), template(conf)),
            (home.at("theirs/copy"), copy_of(home.at(dir).join("tree"))),
        ] {
            fails(&owned(path, action), "names, and this kernel lets any user hard-link any file");
        }
        fails(&owned(home.at(dir).join("link"), append()), "a symbolic link on the way");
    }
    hard_links::protected_in_this_thread(true);
    assert!(!home.at("theirs/new").exists() && !home.at("theirs/copy/conf").exists());
    assert_eq!(access(&shadow), (0, 0, 0o600));
    holds(&shadow, "root's");
    // Where only root adds names, and where the kernel protects them, several are fine.
    fs::hard_link(&shadow, home.at("etc/other")).unwrap();
    hard_links::protected_in_this_thread(false);
    changes(&plan(home.at("etc/other"), append()));
    hard_links::protected_in_this_thread(true);
    changes(&plan(home.at("open/conf"), append()));
    holds(&shadow, "root's");
}

#[test]
fn whoever_made_the_file_before_does_not_read_the_secret() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    let reader = Some(Owner { uid: Some(READER), gid: Some(READER) });
    let file = |path: PathBuf| FilePlan { reader, ..plan(path, secret_text()) };
    let open = home.at("open");
    fs::create_dir(&open).unwrap();
    give(&open, (0, 0), 0o1777);
    home.of_stranger("theirs");
    for (place, before) in [
        ("open/stranger", (STRANGER, STRANGER, 0o660)),
        ("open/root", (0, STRANGER, 0o660)),
        ("theirs/root", (0, STRANGER, 0o640)),
        ("closed", (STRANGER, STRANGER, 0o660)),
    ] {
        let path = home.with(place, "before");
        give(&path, (before.0, before.1), before.2);
        let file = file(path.clone());
        changes(&file);
        assert_eq!(access(&path), (READER, READER, 0o600), "{place}");
        holds(&path, "planted secret");
        stays(&file);
        // The right text was there before.
        give(&path, (before.0, before.1), before.2);
        changes(&file);
        assert_eq!(access(&path), (READER, READER, 0o600), "{place}");
        // Without a reader it is root's.
        give(&path, (before.0, before.1), before.2);
        changes(&plan(path.clone(), secret_text()));
        assert_eq!(access(&path), (0, 0, 0o600), "{place}");
        give(&path, (before.0, before.1), before.2);
        changes(&FilePlan { mode: FileMode::parse("g+r"), ..file.clone() });
        assert_eq!(access(&path), (READER, READER, 0o640), "{place}");
        // A text without a secret leaves both.
        give(&path, (before.0, before.1), before.2);
        changes(&plan(path.clone(), content("plain")));
        assert_eq!(access(&path), before, "{place}");
    }
    // What an image prepared for a group in root's own directory stays, and so does what belongs to the reader or the owner.
    let image = home.with("image", "before");
    give(&image, (0, 33), 0o640);
    changes(&plan(image.clone(), secret_text()));
    assert_eq!(access(&image), (0, 33, 0o640));
    let theirs = home.with("reader", "before");
    give(&theirs, (READER, 33), 0o640);
    changes(&file(theirs.clone()));
    assert_eq!(access(&theirs), (READER, 33, 0o640));
    let owned = home.with("owned", "before");
    give(&owned, (STRANGER, 33), 0o640);
    changes(&FilePlan { owner: Some(Owner { uid: Some(STRANGER), gid: None }), ..file(owned.clone()) });
    assert_eq!(access(&owned), (STRANGER, 33, 0o640));
}

#[test]
fn a_mounted_file_keeps_the_owner_that_the_operator_gave_it() {
    let home = Home::new();
    let (source, path) = (home.with("source", "before"), home.with("conf", ""));
    let mounted = || std::process::Command::new("mount").arg("--bind").args([&source, &path]).status();
    if !is_root() || !mounted().is_ok_and(|status| status.success()) {
        return;
    }
    give(&source, (STRANGER, STRANGER), 0o644);
    let result = done(&plan(path.clone(), secret_text()));
    std::process::Command::new("umount").arg(&path).status().unwrap();
    assert!(result.is_ok_and(|done| done.changed));
    assert_eq!(access(&source), (STRANGER, STRANGER, 0o640));
    holds(&source, "planted secret");
}

#[test]
fn the_file_that_was_read_is_the_one_that_is_changed() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    home.of_stranger("theirs");
    let (path, other) = (home.with("theirs/conf", "right"), home.with("theirs/other", "root's"));
    give(&path, (STRANGER, STRANGER), 0o644);
    give(&other, (0, 0), 0o600);
    let place = PinnedPath::make(&path, Last::Followed).unwrap();
    let there = existing::Existing::of(&place).unwrap().unwrap();
    let file = FilePlan { mode: FileMode::parse("0666"), ..plan(path.clone(), content("right")) };
    let wanted = Attributes::of(&file).for_text(&place, Some(&there), 0o666, false);
    // The owner of the directory is faster.
    fs::rename(&other, &path).unwrap();
    write::put(&place, Some(&there), Some(b"right"), b"right", wanted).unwrap();
    assert_eq!(access(&path), (0, 0, 0o600));
    holds(&path, "root's");
}
