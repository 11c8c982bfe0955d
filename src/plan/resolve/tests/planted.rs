//! Links that a user of the container created on the way to a secret; tests that need root are left out for other users.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

use super::*;

/// A user that exists in no image.
const STRANGER: u32 = 54_321;
const HIDDEN: &str = "root-only-7c1";

/// A directory with a file of root, and one of the stranger with links to it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        let home = Self(std::env::temp_dir().join(format!("portcullis-planted-{name}-{}", std::process::id())));
        fs::create_dir_all(home.at("etc")).unwrap();
        fs::create_dir_all(home.at("data")).unwrap();
        fs::write(home.at("etc/admin"), format!("{HIDDEN}\n")).unwrap();
        fs::write(home.at("etc/lines"), format!("LINE={HIDDEN}\n")).unwrap();
        for name in ["etc/admin", "etc/lines"] {
            fs::set_permissions(home.at(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        chown(home.at("data"), Some(STRANGER), Some(STRANGER)).unwrap();
        for (name, target) in [("link", "etc/admin"), ("lines", "etc/lines"), ("dir", "etc"), ("none", "etc/none")] {
            symlink(home.at(target), home.at("data").join(name)).unwrap();
            lchown(home.at("data").join(name), Some(STRANGER), Some(STRANGER)).unwrap();
        }
        Some(home)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn toml(entry: &str) -> String {
    format!("[env]\n{entry}\n[modes.api]\ncommand = ['true']\n")
}

#[test]
fn a_secret_is_not_read_through_a_link_of_another_user() {
    let Some(home) = Home::new("read") else { return };
    let data = home.at("data").display().to_string();
    for (entry, variables) in [
        (format!("A = {{ generate = 'hex:4', keep = '{data}/link' }}"), vec![]),
        (format!("A = {{ generate = 'hex:4', keep = '{data}/dir/admin' }}"), vec![]),
        (format!("A = {{ file = '{data}/link' }}"), vec![]),
        (format!("A = {{ file = '{data}/dir/admin' }}"), vec![]),
        (format!("files = ['{data}/lines']"), vec![]),
        ("A = '${B}'".to_owned(), vec![("B_FILE", format!("{data}/link"))]),
        ("expand_files = ['B']".to_owned(), vec![("B_FILE", format!("{data}/link"))]),
    ] {
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let found = problems(&toml(&entry), &variables, &[]).join("\n");
        assert!(found.contains("a symbolic link on the way may have been created by user 54321"), "{entry}: {found}");
        assert!(!found.contains(HIDDEN), "{entry}: {found}");
    }
    let found = problems(&toml(&format!("A = {{ generate = 'hex:4', keep = '{data}/none' }}")), &[], &[]).join("\n");
    assert!(found.contains("is a symbolic link that leads to nothing"), "{found}");
}

#[test]
fn a_value_is_not_kept_through_a_link_of_another_user() {
    let Some(home) = Home::new("written") else { return };
    let environment = Environment::new([("A", "a")]);
    environment.keep(home.at("data/dir/key"), "generated");
    let why = environment.keep_all().unwrap_err();
    assert!(why.contains("a symbolic link on the way may have been created by user 54321"), "{why}");
    environment.keep(home.at("data/link"), "generated");
    assert_eq!(environment.keep_all(), Ok(false), "what is there stays");
    environment.keep(home.at("data/new"), "generated");
    assert_eq!(environment.keep_all(), Ok(true));
    assert_eq!(fs::read_to_string(home.at("data/new")).unwrap(), "generated\n");
    assert_eq!(fs::read_dir(home.at("etc")).unwrap().count(), 2);
}

#[test]
fn the_links_of_a_config_map_and_of_the_user_itself_are_followed() {
    let Some(home) = Home::new("followed") else { return };
    // As the kubelet writes them: root's links in a directory with the sticky bit.
    fs::create_dir_all(home.at("map/..2026")).unwrap();
    fs::set_permissions(home.at("map"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(home.at("map/..2026/key"), "of the map").unwrap();
    symlink("..2026", home.at("map/..data")).unwrap();
    symlink("..data/key", home.at("map/key")).unwrap();
    let own = home.at("data/own");
    fs::write(&own, "of the user").unwrap();
    symlink("own", home.at("data/way")).unwrap();
    chown(&own, Some(STRANGER), Some(STRANGER)).unwrap();
    lchown(home.at("data/way"), Some(STRANGER), Some(STRANGER)).unwrap();
    for (path, text) in [(home.at("map/key"), "of the map"), (home.at("data/way"), "of the user")] {
        for form in ["file = ", "generate = 'hex:4', keep = "] {
            let plan = with(&toml(&format!("A = {{ {form}'{}' }}", path.display())), &[], &[]);
            let found = plan.main.unwrap().command.env.iter().find(|(name, _)| name == "A").map(|(_, word)| word.value().to_owned());
            assert_eq!(found.as_deref(), Some(text), "{form}{}", path.display());
        }
    }
}
