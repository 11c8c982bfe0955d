//! The authenticated peer of a unix socket (`SO_PEERCRED`, unix(7)), and whether it is trusted.

use std::fmt;
use std::fs;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;

/// The default uid for users that are not mapped in this user namespace (`overflowuid`, user_namespaces(7)).
const OVERFLOW: u32 = 65_534;

/// The number of users in a user namespace that maps all of them.
const EVERYBODY: u64 = 4_294_967_295;

/// The process at the other end when it connected or began to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its user in this user namespace.
    pub uid: u32,
    /// The process; 0 for one of another pid namespace.
    pub pid: i32,
}

/// Whether a peer is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Root or our own user.
    Ours,
    /// Another user.
    Foreign,
    /// It appears as our own user, but so do all users that this user namespace does not map.
    Unproven,
}

impl Peer {
    /// The peer of a connected unix socket; none if unknown.
    pub fn of(socket: &impl AsFd) -> Option<Self> {
        let found = getsockopt(&socket.as_fd(), sockopt::PeerCredentials).ok()?;
        Some(Self { uid: found.uid(), pid: found.pid() })
    }

    /// Whether it is root or our own user.
    pub fn trust(self) -> Trust {
        static MAPS_ALL: OnceLock<bool> = OnceLock::new();
        static AMBIGUOUS: OnceLock<u32> = OnceLock::new();
        let overflow = *AMBIGUOUS.get_or_init(|| {
            let text = fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
            text.and_then(|text| text.trim().parse().ok()).unwrap_or(OVERFLOW)
        });
        let maps_all = || *MAPS_ALL.get_or_init(|| fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| maps_everybody(&map)));
        trust(self.uid, geteuid().as_raw(), overflow, maps_all)
    }
}

/// Unmapped users appear as the overflow user, so that user is only certain if all users are mapped.
fn trust(uid: u32, own: u32, overflow: u32, maps_all: impl FnOnce() -> bool) -> Trust {
    match uid {
        uid if uid != 0 && uid != own => Trust::Foreign,
        uid if uid == overflow && !maps_all() => Trust::Unproven,
        _ => Trust::Ours,
    }
}

/// Whether a `uid_map` (user_namespaces(7)) maps all users.
fn maps_everybody(map: &str) -> bool {
    let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    counts.fold(0_u64, u64::saturating_add) >= EVERYBODY
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            0 => write!(f, "user {}", self.uid),
            pid => write!(f, "user {} (process {pid})", self.uid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_our_own_user_are_ours() {
        for (uid, own, maps_all, expected) in [
            (0, 1000, false, Trust::Ours),
            (1000, 1000, false, Trust::Ours),
            (1001, 1000, true, Trust::Foreign),
            (1000, 0, true, Trust::Foreign),
            (OVERFLOW, OVERFLOW, true, Trust::Ours),
            (OVERFLOW, OVERFLOW, false, Trust::Unproven),
            (OVERFLOW, 1000, false, Trust::Foreign),
        ] {
            assert_eq!(trust(uid, own, OVERFLOW, || maps_all), expected, "{uid} seen by {own}");
        }
    }

    #[test]
    fn everybody_is_mapped_by_one_line_or_by_several() {
        assert!(maps_everybody("         0          0 4294967295\n"));
        assert!(maps_everybody("0 1 4294967294\n4294967294 0 1\n"));
        for part in ["", "0 1000 1\n", "0 100000 65536\n", "nonsense", "0 0 -1\n"] {
            assert!(!maps_everybody(part), "{part}");
        }
    }

    #[test]
    fn both_ends_of_a_pair_are_ourselves() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let expected = Peer { uid: geteuid().as_raw(), pid: std::process::id().cast_signed() };
        assert_eq!((Peer::of(&one), Peer::of(&other)), (Some(expected), Some(expected)));
        assert_eq!(expected.to_string(), format!("user {} (process {})", expected.uid, expected.pid));
    }
}
