//! Notifications of a process: `sd_notify(3)` datagrams on a socket of its own, or a line on a descriptor (s6).
#![warn(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind, getsockname, recvmsg, setsockopt,
    socket, sockopt,
};

use super::output::Seen;
use crate::plan::process::{ProcessPlan, StartSign};
use crate::state::event::Notice;

/// The variables of the protocol; a child gets its own, never ours.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The longest datagram; longer ones are cut.
const LONGEST: usize = 4096;

/// What a child gets for its notifications.
#[derive(Clone, Debug, Default)]
pub struct NotifyWays {
    /// Its variables.
    pub environment: Vec<(OsString, OsString)>,
    /// Its descriptors: our number, its number.
    pub pass: Vec<(i32, i32)>,
    /// Where the match of the awaited line in its output is reported.
    pub seen: Option<Arc<Seen>>,
}

/// The receiving ends for one start of a process; only what the plan needs is opened.
///
/// They belong to that start only, so notifications of leftovers of an earlier start are not received.
#[derive(Debug, Default)]
pub struct Reports {
    socket: Option<OwnedFd>,
    pipe: Option<std::fs::File>,
    /// The child's end of the pipe, until the child has it.
    writing: Option<OwnedFd>,
    ways: NotifyWays,
    /// Whether the last reading ended before the socket was empty.
    unread: bool,
}

impl Reports {
    /// Opens what this start needs: an abstract socket, which needs no writable path, or a pipe.
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
        if let Some(sign @ (StartSign::Writes(_) | StartSign::Line(_))) = sign {
            let (reading, writing) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
            // Only our end is non-blocking.
            fcntl(&reading, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            reports.pipe = Some(std::fs::File::from(reading));
            if let StartSign::Writes(number) = sign {
                reports.ways.pass.push((writing.as_raw_fd(), *number));
                reports.writing = Some(writing);
            } else {
                reports.ways.seen = Some(Arc::new(Seen::new(writing)));
            }
        }
        Ok(reports)
    }

    /// What the child gets.
    pub fn ways(&self) -> &NotifyWays {
        &self.ways
    }

    /// Closes our copies of the ends that the child, or the reader of its output, now has.
    pub fn handed_over(&mut self) {
        (self.writing, self.ways.seen) = (None, None);
    }

    /// Whether notifications are possible.
    pub fn is_open(&self) -> bool {
        self.socket.is_some() || self.pipe.is_some()
    }

    /// Whether there may be more than was read last.
    pub fn may_hold_more(&self) -> bool {
        self.unread
    }

    /// The files that become readable for a notification.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.socket.iter().map(AsFd::as_fd).chain(self.pipe.iter().map(AsFd::as_fd))
    }

    /// Reads notifications from our own processes, at most `most` datagrams: abstract sockets are open to the whole network namespace,
    /// which the containers of a pod share. Repeated notifications become one notice.
    pub fn take(&mut self, most: usize, mut is_ours: impl FnMut(i32) -> bool) -> Vec<Notice> {
        let (mut notices, mut buffer, mut verdicts) = (Vec::new(), [0; LONGEST], BTreeMap::new());
        self.unread = self.socket.is_some();
        for _ in 0..most {
            let datagram = self.socket.as_ref().and_then(|socket| receive(socket, &mut buffer));
            let Some((length, sender)) = datagram else {
                self.unread = false;
                break;
            };
            // Datagrams of other processes are dropped unread.
            if *verdicts.entry(sender).or_insert_with(|| is_ours(sender)) {
                let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
                read(&text).for_each(|notice| merge(&mut notices, notice));
            }
        }
        if let Some(reading) = &mut self.pipe {
            match reading.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) if buffer.iter().take(count).any(|byte| *byte == b'\n') => merge(&mut notices, Notice::Ready),
                _ => {}
            }
        }
        notices
    }
}

/// Keeps the newest notice of each kind, so that any number of watchdog messages becomes one.
fn merge(notices: &mut Vec<Notice>, notice: Notice) {
    match notices.iter_mut().find(|known| std::mem::discriminant(*known) == std::mem::discriminant(&notice)) {
        Some(known) => *known = notice,
        None => notices.push(notice),
    }
}

/// The length of one datagram and its sender's pid from the kernel, 0 for another pid namespace; none if there is no datagram.
///
/// The buffer holds only the credentials: the kernel closes received descriptors (`FDSTORE=`, `BARRIER=`), which is what a barrier waits
/// for.
fn receive(socket: &OwnedFd, buffer: &mut [u8; LONGEST]) -> Option<(usize, i32)> {
    let mut space = nix::cmsg_space!(UnixCredentials);
    let mut buffers = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut buffers, Some(&mut space), flags).ok()?;
    let sender = message.cmsgs().ok().and_then(|mut messages| {
        messages.find_map(|message| match message {
            ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
            _ => None,
        })
    });
    Some((message.bytes, sender.unwrap_or_default()))
}

/// Parses the known assignments; unknown ones are ignored.
pub(crate) fn read(text: &str) -> impl Iterator<Item = Notice> {
    let assignments = text.lines().filter_map(|line| line.split_once('='));
    assignments.filter_map(|(name, value)| match (name, value) {
        ("READY", "1") => Some(Notice::Ready),
        ("WATCHDOG", "1") => Some(Notice::Watchdog),
        ("STATUS", status) => Some(Notice::Status(status.chars().take(200).collect())),
        ("EXTEND_TIMEOUT_USEC", microseconds) => microseconds.parse().ok().map(Duration::from_micros).map(Notice::ExtendTimeout),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_read_and_unknown_ones_left_alone() {
        let text = "READY=1\nSTATUS=loading = 3\nMAINPID=7\nEXTEND_TIMEOUT_USEC=1500000\nEXTEND_TIMEOUT_USEC=-1\nWATCHDOG=trigger\njunk";
        let expected = [Notice::Ready, Notice::Status("loading = 3".to_owned()), Notice::ExtendTimeout(Duration::from_millis(1500))];
        assert_eq!(read(text).collect::<Vec<_>>(), expected);
    }

    fn notifying(sign: StartSign) -> ProcessPlan {
        let mut plan = ProcessPlan::new(crate::plan::argv::Argv::new(vec![crate::plan::argv::Word::plain("serve")]).unwrap());
        plan.started = Some(crate::plan::StartedPlan { sign, within: Duration::from_secs(1) });
        plan
    }

    fn sender(reports: &Reports) -> std::os::unix::net::UnixDatagram {
        use std::os::linux::net::SocketAddrExt;
        let (_, name) = &reports.ways().environment[0];
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name.to_str().unwrap().trim_start_matches('@')).unwrap();
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.connect_addr(&address).unwrap();
        sender.set_nonblocking(true).unwrap();
        sender
    }

    #[test]
    fn a_turn_handles_a_bounded_number_and_merges_the_pings_of_a_start() {
        let mut reports = Reports::open(&notifying(StartSign::Notifies)).unwrap();
        let sender = sender(&reports);
        for text in ["WATCHDOG=1", "STATUS=one", "WATCHDOG=1\nSTATUS=two", "READY=1", "WATCHDOG=1"] {
            sender.send(text.as_bytes()).unwrap();
        }
        let mut checked = 0;
        let first = reports.take(4, |_| {
            checked += 1;
            true
        });
        assert_eq!((first, checked), (vec![Notice::Watchdog, Notice::Status("two".to_owned()), Notice::Ready], 1));
        assert!(reports.may_hold_more());
        assert_eq!(reports.take(4, |_| true), [Notice::Watchdog], "the rest is taken with the next turn");
        assert!(!reports.may_hold_more());
        sender.send(b"READY=1").unwrap();
        assert_eq!(reports.take(4, |_| false), [], "a stranger's word is dropped");
        assert_eq!(reports.take(4, |_| true), []);
    }

    #[test]
    fn each_start_has_its_own_channels() {
        let (mut one, mut two) = (notifying(StartSign::Notifies), notifying(StartSign::Notifies));
        (one.watchdog, two.watchdog) = (None, None);
        let old = Reports::open(&one).unwrap();
        let leftover = sender(&old);
        drop(old);
        let mut new = Reports::open(&two).unwrap();
        assert!(leftover.send(b"READY=1").is_err());
        assert_eq!(new.take(8, |_| true), []);
    }

    #[test]
    fn a_pipe_ends_with_its_last_writer_and_is_as_any_other_for_the_child() {
        let mut reports = Reports::open(&notifying(StartSign::Writes(3))).unwrap();
        let [(ours, 3)] = reports.ways().pass[..] else { panic!("one descriptor is passed") };
        let theirs = reports.writing.as_ref().unwrap().try_clone().unwrap();
        assert_eq!(theirs.as_raw_fd().cmp(&ours), std::cmp::Ordering::Greater);
        assert!(!OFlag::from_bits_retain(fcntl(&theirs, FcntlArg::F_GETFL).unwrap()).contains(OFlag::O_NONBLOCK));
        reports.handed_over();
        assert_eq!(reports.take(8, |_| true), []);
        nix::unistd::write(&theirs, b"x\n").unwrap();
        assert_eq!(reports.take(8, |_| true), [Notice::Ready]);
        drop(theirs);
        assert!(reports.is_open());
        assert_eq!(reports.take(8, |_| true), []);
        assert!(!reports.is_open());
    }
}
