//! The local addresses of the TCP connections of a migration's own processes, as listed by the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and a port.
pub(super) type End = (IpAddr, u16);

/// The local addresses of connections of processes whose environment contains `variable` (`NAME=value`), which they inherit from the
/// command.
///
/// Empty if the kernel denies access (another user's processes without `CAP_SYS_PTRACE`): then nothing is confirmed.
pub(super) fn of_processes_with(variable: &str) -> BTreeSet<End> {
    let inodes = inodes();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = processes.filter(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|pair| pair == variable.as_bytes())
    });
    let files = ours.flat_map(|process| fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten());
    files.filter_map(|file| inodes.get(fs::read_link(file.path()).ok()?.to_str()?).copied()).collect()
}

/// Each connection's local address by the link target of its file descriptor, `socket:[INODE]` (proc_pid_fd(5)).
fn inodes() -> BTreeMap<String, End> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).filter_map(row).collect()
}

/// A row of `/proc/net/tcp` (proc_pid_net(5)): number, local address, remote address, state, four more fields, the inode.
fn row(line: &str) -> Option<(String, End)> {
    let mut words = line.split_whitespace().skip(1);
    let (address, port) = words.next()?.split_once(':')?;
    let inode = words.nth(7)?;
    Some((format!("socket:[{inode}]"), (self::address(address)?, u16::from_str_radix(port, 16).ok()?)))
}

/// Words of four bytes, each in the byte order of this machine.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(words.iter().flatten()).for_each(|(to, from)| *to = *from);
            // A dual-stack socket shows an IPv4 peer in this form; the server sees the IPv4 address.
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_of_a_process_with_the_variable_is_found_and_no_other() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let end = stream.local_addr().unwrap();
        let end = (end.ip(), end.port());
        let table = inodes();
        assert!(table.values().any(|other| *other == end));
        // Our own environment as the kernel shows it is the one we were started with.
        let environment = fs::read("/proc/self/environ").unwrap();
        let pair = environment.split(|byte| *byte == 0).find(|pair| !pair.is_empty()).unwrap();
        let pair = String::from_utf8_lossy(pair).into_owned();
        assert!(of_processes_with(&pair).contains(&end));
        assert!(of_processes_with("NOBODY_HAS_THIS=1").is_empty());
    }

    #[test]
    fn the_kernels_rows_are_read() {
        let line = "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   107        0 4711 1 0 100 0 0 10 0";
        let expected: End = (IpAddr::V4(Ipv4Addr::from(0x0100_007F_u32.to_ne_bytes())), 0x1538);
        assert_eq!(row(line), Some(("socket:[4711]".to_owned(), expected)));
        assert_eq!(row("  sl  local_address rem_address"), None);
        assert_eq!(address("0000000000000000FFFF00000100007F").map(|address| address.is_ipv4()), Some(true));
        assert_eq!(address("01"), None);
    }
}
