//! Reports our state to a supervisor above us, if there is one (`sd_notify(3)`; podman passes such a socket into containers).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::clock::Moment;
use crate::state::snapshot::{Phase, Snapshot};
use crate::sys;

/// The notifier; without `NOTIFY_SOCKET` it does nothing.
#[derive(Debug, Default)]
pub(super) struct SystemdNotifier {
    line: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    pinged: Moment,
}

impl SystemdNotifier {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`. Paths and abstract names are known, vsock is not.
    pub(super) fn new(environment: &BTreeMap<OsString, OsString>, now: Moment) -> Self {
        let value = |name: &str| environment.get(&OsString::from(name));
        let address = value("NOTIFY_SOCKET").and_then(|name| match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
            [b'/', ..] => SocketAddr::from_pathname(name).ok(),
            _ => None,
        });
        let line = address.and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        let number = |name| value(name).and_then(|text| text.to_str()?.parse::<u64>().ok());
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| i64::try_from(pid) == Ok(i64::from(sys::own_ids().0)));
        let watchdog = number("WATCHDOG_USEC").filter(|_| for_us && line.is_some()).map(|limit| Duration::from_micros(limit) / 2);
        Self { line, watchdog, pinged: now }
    }

    /// Reports changes.
    pub(super) fn notify(&self, before: &Snapshot, after: &Snapshot) {
        if before.phase == after.phase {
            return;
        }
        let state = match after.phase {
            Phase::Running if !before.started => "READY=1\n",
            Phase::Draining | Phase::Stopped | Phase::Failed => "STOPPING=1\n",
            _ => "",
        };
        self.send(&format!("{state}STATUS={}", after.phase.word()));
    }

    /// Sends the watchdog message when half of its interval is over.
    pub(super) fn ping(&mut self, now: Moment) {
        if self.next(now) == Some(Duration::ZERO) {
            self.pinged = now;
            self.send("WATCHDOG=1");
        }
    }

    /// Time until the next watchdog message; none if none is expected.
    pub(super) fn next(&self, now: Moment) -> Option<Duration> {
        self.watchdog.map(|every| every.saturating_sub(now.since(self.pinged)))
    }

    /// Sends one datagram; a slow or missing receiver is ignored.
    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.line {
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_above_is_pinged_at_half_its_time() {
        let name = format!("portcullis-upward-{}", std::process::id());
        let above = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let environment = [("NOTIFY_SOCKET", format!("@{name}")), ("WATCHDOG_USEC", "4000000".to_owned())];
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let start = Moment::default();
        let mut systemd = SystemdNotifier::new(&environment, start);
        assert_eq!(systemd.next(start), Some(Duration::from_secs(2)));
        systemd.ping(start.after(Duration::from_secs(1)));
        systemd.ping(start.after(Duration::from_secs(2)));
        let mut bytes = [0; 64];
        let count = above.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"WATCHDOG=1");
        above.set_nonblocking(true).unwrap();
        assert!(above.recv(&mut bytes).is_err(), "the early ping was sent");
        assert_eq!(SystemdNotifier::new(&BTreeMap::new(), start).next(start), None);
    }
}
