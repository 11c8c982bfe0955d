//! The terminal: which group is in its foreground, and handing that on and back.
//!
//! All signals are blocked in this process, TTOU among them, so that changing the foreground from behind does not stop us.

use std::io;
use std::os::fd::AsFd;

use nix::unistd::{Pid, getppid, getsid, tcgetpgrp, tcsetpgrp};

use crate::sys;

/// Whether we are the foreground group, so that the terminal is ours to hand on.
pub fn is_ours() -> bool {
    foreground() == Some(sys::own_ids().1)
}

/// Whether this group is the foreground of the terminal.
pub fn belongs_to(group: i32) -> bool {
    foreground() == Some(group)
}

/// Hands the terminal to a group, when it is ours.
pub fn hand_on(group: i32) {
    if is_ours() {
        set(group);
    }
}

/// Takes the terminal back from a group whose leader has ended, so that ctrl-C is heard again and the next child can have it.
pub fn take_back(group: i32) {
    if belongs_to(group) {
        set(sys::own_ids().1);
    }
}

/// Whether a shell with job control may be above us: it would see us stop, and continue us.
///
/// It has started us in its own session, so neither PID 1 nor a session leader has one.
pub fn is_job() -> bool {
    let (own, _) = sys::own_ids();
    let session = getsid(None).ok();
    foreground().is_some() && own != 1 && session != Some(Pid::from_raw(own)) && getsid(Some(getppid())).ok() == session
}

fn foreground() -> Option<i32> {
    tcgetpgrp(io::stdin().as_fd()).ok().map(Pid::as_raw)
}

fn set(group: i32) {
    // The group may have ended meanwhile.
    let _ = tcsetpgrp(io::stdin().as_fd(), Pid::from_raw(group));
}
