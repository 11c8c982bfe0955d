//! A network namespace behind a link that can be cut: a host that is lost without notice.

use super::{left_out, unique};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The namespace and its link; gone when dropped.
#[derive(Debug)]
pub struct Network {
    pub name: String,
    link: String,
    /// Our end's address, as the inside sees it.
    pub address: String,
}

impl Network {
    /// None, which is said, where the kernel does not let us: it takes root.
    pub fn new(test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = format!("10.{}.{}", 64 + std::process::id() % 128, number % 250);
        let link = format!("pit{}n{number}", std::process::id() % 100_000);
        let network = Self { name: unique("portcullis-it"), link, address: format!("{net}.1") };
        let (name, link) = (&network.name, &network.link);
        let steps = [
            format!("netns add {name}"),
            format!("link add {link} type veth peer name eth0 netns {name}"),
            format!("addr add {net}.1/24 dev {link}"),
            format!("link set {link} up"),
            format!("-n {name} addr add {net}.2/24 dev eth0"),
            format!("-n {name} link set eth0 up"),
            format!("-n {name} link set lo up"),
        ];
        if let Some(step) = steps.iter().find(|step| !ip(step)) {
            left_out(test, &format!("`ip {step}` failed; it takes root"));
            return None;
        }
        Some(network)
    }

    /// Drops all packets silently.
    pub fn cut(&self) {
        assert!(ip(&format!("link set {} down", self.link)), "cut the link");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.link));
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).output().is_ok_and(|output| output.status.success())
}
