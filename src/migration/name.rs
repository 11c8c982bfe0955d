//! The names of a replica's database sessions: they contain the lock, the replica and the run.

/// The longest name that PostgreSQL keeps.
const LONGEST: usize = 63;

/// `<lock>:<instance>:<token>`, with a prefix that distinguishes the lock's session from those of the migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    lock: String,
    instance: String,
    token: u32,
}

impl Name {
    /// A name that no other run has.
    pub(super) fn new(lock: &str, instance: &str) -> Self {
        Self { lock: lock.to_owned(), instance: instance.to_owned(), token: fastrand::u32(..) }
    }

    /// The session that holds the lock or waits for it.
    pub(super) fn of_lock(&self) -> String {
        self.with("portcullis-lock")
    }

    /// The sessions of the migration itself.
    pub(super) fn of_migration(&self) -> String {
        self.with("portcullis-mig")
    }

    /// The instance is shortened, because otherwise the server would cut off the token.
    fn with(&self, word: &str) -> String {
        let (prefix, suffix) = (format!("{word}:{}:", self.lock), format!(":{:08x}", self.token));
        let mut end = self.instance.len().min(LONGEST - prefix.len() - suffix.len());
        while !self.instance.is_char_boundary(end) {
            end -= 1;
        }
        format!("{prefix}{}{suffix}", &self.instance[..end])
    }
}

/// The replica in a name of [`Name::of_lock`]; none for any other name.
pub(super) fn instance_in(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("portcullis-lock:")?.split_once(':')?.1;
    Some(rest.rsplit_once(':')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_carries_the_lock_and_the_token_however_long_the_instance_is() {
        let name = |instance: &str, token| Name { lock: "01234567".to_owned(), instance: instance.to_owned(), token };
        assert_eq!(name("api-1", 0xbeef).of_migration(), "portcullis-mig:01234567:api-1:0000beef");
        let long = name(&"ü".repeat(50), 1).of_migration();
        assert_eq!(long, format!("portcullis-mig:01234567:{}:00000001", "ü".repeat(15)));
        assert!(long.len() <= LONGEST);
        assert_eq!(instance_in(&name("a:b", 7).of_lock()), Some("a:b"));
        assert_eq!(instance_in("psql"), None);
    }
}
