//! The terminal: its foreground group, passing the foreground to a child and taking it back.
//!
//! All signals are blocked in this process, including TTOU, so changing the foreground from the background does not suspend us.

use std::io;
use std::os::fd::AsFd;

use nix::unistd::{Pid, getppid, getsid, tcgetpgrp, tcsetpgrp};

use crate::sys;

/// Whether we are the foreground group, so that we may pass on the terminal.
pub fn is_ours() -> bool {
    foreground() == Some(sys::own_ids().1)
}

/// Whether this group is the foreground of the terminal.
pub fn belongs_to(group: i32) -> bool {
    foreground() == Some(group)
}

/// Passes the terminal to a group, if we own it.
pub fn hand_on(group: i32) {
    if is_ours() {
        set(group);
    }
}

/// Takes the terminal back from a group whose leader has ended, so that ctrl-C works again and the next child can have it.
pub fn take_back(group: i32) {
    if belongs_to(group) {
        set(sys::own_ids().1);
    }
}

/// Whether there may be a shell with job control above us, which would notice that we are suspended and resume us.
///
/// It starts us in its own session, so PID 1 and session leaders have none.
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
