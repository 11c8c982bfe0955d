//! Finds users and groups in `/etc/passwd` and `/etc/group` as files, because a static binary in a container has no name services.

use std::fs;

use crate::sys::start::Credentials;

/// The contents of both files when they were read; empty for a missing file, as in an image made from scratch.
#[derive(Debug, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

/// The user and groups for a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAccount {
    /// Its ids.
    pub credentials: Credentials,
    /// Its home directory; `/` for a number without an account.
    pub home: String,
}

impl Accounts {
    /// Reads both files.
    pub fn read() -> Self {
        let text = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        Self { passwd: text("/etc/passwd"), group: text("/etc/group") }
    }

    /// Finds `user`, `user:group`, `uid` or `uid:gid`.
    ///
    /// Without a group the user gets its primary and its supplementary groups, like `initgroups(3)`; with a group only that one, like Docker's `USER`
    /// and gosu.
    ///
    /// # Errors
    /// What is unknown, and what to write instead.
    pub fn find(&self, wanted: &str) -> Result<UserAccount, String> {
        let (user, group) = wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
        let entry = records(&self.passwd).find(|fields| fields.first() == Some(&user));
        let number = user.parse::<u32>().ok();
        let entry = entry.or_else(|| records(&self.passwd).find(|fields| number.is_some() && id(fields.get(2)) == number));
        let uid = match (&entry, number) {
            (Some(fields), _) => id(fields.get(2)).ok_or_else(|| format!("the entry of `{user}` in /etc/passwd has no user id"))?,
            (None, Some(number)) => number,
            (None, None) => {
                return Err(format!("knows no user `{user}` in /etc/passwd of this image; add it, or write numbers as `1000:1000`"));
            }
        };
        let home = entry.as_ref().and_then(|fields| fields.get(5)).filter(|home| !home.is_empty());
        let home = home.map_or_else(|| "/".to_owned(), |home| (*home).to_owned());
        let credentials = match group {
            Some(group) => {
                let gid = self.group_id(group)?;
                Credentials { uid, gid, groups: vec![gid] }
            }
            None => {
                let gid = entry.as_ref().and_then(|fields| id(fields.get(3)));
                let gid = gid.ok_or_else(|| format!("`{user}` has no entry in /etc/passwd that names its group; write `{user}:GROUP`"))?;
                let name = entry.as_ref().and_then(|fields| fields.first()).copied().unwrap_or_default();
                Credentials { uid, gid, groups: self.groups_of(name, gid) }
            }
        };
        Ok(UserAccount { credentials, home })
    }

    /// Finds the owner and group for a file: `user`, `user:group`, `:group` or `user:` (with the group of the user), by names or numbers, as in
    /// `chown(1)`; none for what is not changed.
    ///
    /// # Errors
    /// What is unknown, and what to write instead.
    pub fn owner(&self, wanted: &str) -> Result<(Option<u32>, Option<u32>), String> {
        let (user, group) = wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
        match (user, group) {
            ("", None | Some("")) => Err("is empty; name a user, or `:group`".to_owned()),
            ("", Some(group)) => self.group_id(group).map(|gid| (None, Some(gid))),
            (user, Some("")) => self.find(user).map(|account| (Some(account.credentials.uid), Some(account.credentials.gid))),
            // Any group will do to find the user.
            (user, None) => self.find(&format!("{user}:0")).map(|account| (Some(account.credentials.uid), None)),
            _ => self.find(wanted).map(|account| (Some(account.credentials.uid), Some(account.credentials.gid))),
        }
    }

    fn group_id(&self, group: &str) -> Result<u32, String> {
        let entry = records(&self.group).find(|fields| fields.first() == Some(&group));
        let found = entry.and_then(|fields| id(fields.get(2))).or_else(|| group.parse().ok());
        found.ok_or_else(|| format!("knows no group `{group}` in /etc/group of this image; add it, or write its number"))
    }

    /// The primary group and every group that lists the user, each once.
    fn groups_of(&self, user: &str, primary: u32) -> Vec<u32> {
        let lists = |fields: &Vec<&str>| fields.get(3).is_some_and(|members| members.split(',').any(|member| member == user));
        let mut groups = vec![primary];
        for gid in records(&self.group).filter(lists).filter_map(|fields| id(fields.get(2))) {
            if !groups.contains(&gid) {
                groups.push(gid);
            }
        }
        groups
    }
}

/// The entries of one file, each split into its fields (passwd(5), group(5)).
fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.trim().split(':').collect())
}

fn id(field: Option<&&str>) -> Option<u32> {
    field.and_then(|field| field.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/srv/app:/bin/sh\nodd:x:1002:1002\nbroken:x::\n".to_owned(),
            group: "root:x:0:\napp:x:1001:\nvideo:x:44:other,app\nssl:x:105:app\nnot:x:7:apple\nagain:x:1001:app\n".to_owned(),
        }
    }

    fn found(wanted: &str) -> (u32, u32, Vec<u32>, String) {
        let UserAccount { credentials, home } = accounts().find(wanted).unwrap();
        (credentials.uid, credentials.gid, credentials.groups, home)
    }

    #[test]
    fn users_are_found_by_name_and_number_with_their_groups() {
        let app = || (1000, 1001, vec![1001, 44, 105], "/srv/app".to_owned());
        assert_eq!(found("app"), app());
        assert_eq!(found("1000"), app());
        assert_eq!(found("app:video"), (1000, 44, vec![44], "/srv/app".to_owned()));
        assert_eq!(found("app:7"), (1000, 7, vec![7], "/srv/app".to_owned()));
        assert_eq!(found("4711:4712"), (4711, 4712, vec![4712], "/".to_owned()));
        assert_eq!(found("odd"), (1002, 1002, vec![1002], "/".to_owned()));
    }

    #[test]
    fn owners_are_found_as_chown_finds_them() {
        for (wanted, owner) in [
            ("app", (Some(1000), None)),
            ("app:", (Some(1000), Some(1001))),
            ("app:video", (Some(1000), Some(44))),
            (":ssl", (None, Some(105))),
            ("4711", (Some(4711), None)),
            ("4711:4712", (Some(4711), Some(4712))),
        ] {
            assert_eq!(accounts().owner(wanted), Ok(owner), "{wanted}");
        }
        for wanted in ["", ":", "nobody", "app:nogroup", ":nogroup", "4711:"] {
            assert!(accounts().owner(wanted).is_err(), "{wanted}");
        }
    }

    #[test]
    fn unknown_names_are_reported() {
        for (wanted, word) in [
            ("nobody", "no user `nobody`"),
            ("app:nogroup", "no group `nogroup`"),
            ("4711", "4711:GROUP"),
            ("", "no user ``"),
            ("broken", "no user id"),
        ] {
            let why = accounts().find(wanted).unwrap_err();
            assert!(why.contains(word), "{wanted}: {why}");
        }
    }
}
