//! A copy whose source and target lie in each other: refused before anything is changed.

use super::*;

/// All paths below a directory, without following links.
fn all(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names(path) {
        let path = path.join(name);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            found.extend(all(&path));
        }
        found.push(path);
    }
    found
}

fn copied(from: PathBuf, to: PathBuf, delete: bool) -> FilePlan {
    plan(to, FileAction::Copy { from, delete, exclude: Vec::new(), replace: Vec::new() })
}

#[test]
fn a_copy_does_not_delete_its_own_source() {
    let home = Home::new();
    home.with("app/dist/sub/one", "1");
    home.with("app/old", "o");
    home.with("app/dist/two", "2");
    symlink(home.at("app"), home.at("to")).unwrap();
    symlink(home.at("app/dist"), home.at("from")).unwrap();
    let before = all(&home.0);
    for (from, to) in [("app/dist", "app"), ("app/dist/sub", "app"), ("from", "app"), ("app/dist", "to"), ("from", "to")] {
        fails(&copied(home.at(from), home.at(to), true), "lies in it");
        assert_eq!(all(&home.0), before, "{from} to {to}");
    }
    // Without `delete` nothing of the source is lost.
    changes(&copied(home.at("app/dist"), home.at("app"), false));
    holds(home.at("app/sub/one"), "1");
    holds(home.at("app/dist/sub/one"), "1");
}

#[test]
fn a_directory_is_not_copied_into_itself() {
    let home = Home::new();
    home.with("app/dist/one", "1");
    symlink(home.at("app"), home.at("way")).unwrap();
    let before = all(&home.0);
    for (from, to) in
        [("app", "app"), ("app", "app/dist"), ("app", "app/new/er"), ("app", "way"), ("app", "way/new/er"), ("way", "app/dist")]
    {
        for delete in [false, true] {
            fails(&copied(home.at(from), home.at(to), delete), "lies in it");
            assert_eq!(all(&home.0), before, "{from} to {to}");
        }
    }
}

#[test]
fn a_source_that_is_mounted_in_its_target_is_not_deleted() {
    let home = Home::new();
    home.with("from/one", "1");
    home.with("app/dist/one", "1");
    let mounted = || std::process::Command::new("mount").arg("--bind").args([home.at("app/dist"), home.at("from")]).status();
    if !is_root() || !mounted().is_ok_and(|status| status.success()) {
        return;
    }
    let result = done(&copied(home.at("from"), home.at("app"), true));
    let left = all(&home.at("app/dist"));
    std::process::Command::new("umount").arg(home.at("from")).status().unwrap();
    assert!(matches!(&result, Err(Fault::Failed(why)) if why.contains("is the source")), "{result:?}");
    assert_eq!(left, [home.at("app/dist/one")]);
}
