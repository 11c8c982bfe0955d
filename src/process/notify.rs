//! What the process tells of itself: `sd_notify(3)` datagrams on a socket of its own, or a line on a descriptor (s6).

use std::ffi::OsString;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, getsockname, recvmsg, setsockopt,
    socket, sockopt,
};

use crate::plan::process::{ProcessPlan, StartSign};
use crate::state::event::Notice;

/// The variables of the protocol; a child gets none of ours, only its own.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The longest datagram that is read; what is longer is cut.
const LONGEST: usize = 4096;

/// How a child is told where to report.
#[derive(Clone, Debug, Default)]
pub struct NotifyWays {
    /// Variables for it.
    pub environment: Vec<(OsString, OsString)>,
    /// Descriptors for it: ours, theirs.
    pub pass: Vec<(i32, i32)>,
}

/// The receiving ends of one process' reports; nothing is opened that the plan does not ask for.
#[derive(Debug, Default)]
pub struct Reports {
    socket: Option<OwnedFd>,
    pipe: Option<(std::fs::File, OwnedFd)>,
    ways: NotifyWays,
}

impl Reports {
    /// Opens what this process needs: an abstract socket, which needs no writable path, or a pipe.
    pub fn open(plan: &ProcessPlan) -> nix::Result<Self> {
        let mut reports = Self::default();
        let sign = plan.started.as_ref().map(|started| &started.sign);
        if matches!(sign, Some(StartSign::Notifies)) || plan.watchdog.is_some() {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let receiving = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
            // Without a name the kernel chooses a free abstract one (unix(7), autobind).
            bind(receiving.as_raw_fd(), &UnixAddr::new_unnamed())?;
            setsockopt(&receiving, sockopt::PassCred, &true)?;
            let address: UnixAddr = getsockname(receiving.as_raw_fd())?;
            let name = address.as_abstract().map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default();
            reports.ways.environment.push(("NOTIFY_SOCKET".into(), format!("@{name}").into()));
            if let Some(limit) = plan.watchdog {
                reports.ways.environment.push(("WATCHDOG_USEC".into(), limit.as_micros().to_string().into()));
            }
            reports.socket = Some(receiving);
        }
        if let Some(StartSign::Writes(number)) = sign {
            let (reading, writing) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
            // Ours alone: the child's end waits for room as it finds every descriptor to do.
            nix::fcntl::fcntl(&reading, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
            reports.ways.pass.push((writing.as_raw_fd(), *number));
            reports.pipe = Some((std::fs::File::from(reading), writing));
        }
        Ok(reports)
    }

    /// What the child has to be given.
    pub fn ways(&self) -> &NotifyWays {
        &self.ways
    }

    /// The files that become readable when something was reported.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.socket.iter().map(AsFd::as_fd).chain(self.pipe.iter().map(|(reading, _)| reading.as_fd()))
    }

    /// Takes what was reported by senders that are ours: abstract sockets are open to the whole network namespace, which the
    /// containers of a pod share.
    pub fn take(&mut self, is_ours: impl Fn(i32) -> bool) -> Vec<Notice> {
        let mut notices = Vec::new();
        if let Some(socket) = &self.socket {
            while let Some((text, sender)) = receive(socket) {
                if is_ours(sender) {
                    notices.extend(read(&text));
                }
            }
        }
        if let Some((reading, _)) = &mut self.pipe {
            let mut bytes = [0; 64];
            while let Ok(count @ 1..) = reading.read(&mut bytes) {
                if bytes.iter().take(count).any(|byte| *byte == b'\n') {
                    notices.push(Notice::Ready);
                }
            }
        }
        notices
    }
}

/// One datagram and its sender's pid as the kernel vouches for it; none when there is none.
///
/// There is room for the credentials only: descriptors that came along (`FDSTORE=`, `BARRIER=`) are closed by the kernel, which is
/// what a barrier waits for.
fn receive(socket: &OwnedFd) -> Option<(String, i32)> {
    let mut bytes = [0_u8; LONGEST];
    let mut space = nix::cmsg_space!(UnixCredentials);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags).ok()?;
    let sender = message.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
            _ => None,
        })
    });
    let length = message.bytes;
    Some((String::from_utf8_lossy(bytes.get(..length)?).into_owned(), sender.unwrap_or_default()))
}

/// Reads the assignments that mean something here; unknown ones are for others.
fn read(text: &str) -> Vec<Notice> {
    let assignments = text.lines().filter_map(|line| line.split_once('='));
    assignments
        .filter_map(|(name, value)| match (name, value) {
            ("READY", "1") => Some(Notice::Ready),
            ("WATCHDOG", "1") => Some(Notice::Watchdog),
            ("STATUS", status) => Some(Notice::Status(status.chars().take(200).collect())),
            ("EXTEND_TIMEOUT_USEC", microseconds) => microseconds.parse().ok().map(Duration::from_micros).map(Notice::ExtendTimeout),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_unknown_ones_left_alone() {
        let text = "READY=1\nSTATUS=loading = 3\nMAINPID=7\nEXTEND_TIMEOUT_USEC=1500000\nEXTEND_TIMEOUT_USEC=-1\nWATCHDOG=trigger\njunk";
        let expected = [Notice::Ready, Notice::Status("loading = 3".to_owned()), Notice::ExtendTimeout(Duration::from_millis(1500))];
        assert_eq!(read(text), expected);
    }
}
