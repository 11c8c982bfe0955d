//! Networks that drop packets and networks that come late, each in its own namespace.

use crate::support::{Portcullis, Stopwatch, root, secs};

/// `portcullis wait` after `setup` in a network namespace; none without the right to make one, which is said.
fn apart(test: &str, setup: &str, url: &str, timeout: &str) -> Option<Portcullis> {
    if !root(test) {
        return None;
    }
    let portcullis = Portcullis::new().args(["wait", "--timeout", timeout, "--try-timeout", "500ms", url]);
    let script = portcullis.script("apart", &format!("#!/bin/sh\nset -e\nip link set lo up\n{setup}\nexec \"$@\"\n"));
    Some(portcullis.through(&format!("unshare --net --mount {}", script.display())))
}

#[test]
fn an_address_that_swallows_packets_is_a_timeout() {
    // Packets go to a card that does not exist; because of the neighbour entry no ARP query is sent before.
    let setup = "ip link add d0 type veth peer name d1 && ip addr add 10.99.0.1/24 dev d0 && ip link set d0 up && ip link set d1 up\n\
                 ip neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev d0 nud permanent";
    for url in ["tcp://10.99.0.2:80", "redis://10.99.0.2:6379/0", "postgres://u:p@10.99.0.2/x", "http://10.99.0.2/"] {
        let Some(run) = apart("an_address_that_swallows_packets_is_a_timeout", setup, url, "0s") else { return };
        let since = Stopwatch::start();
        run.output().exits(69).says(&["timed out"]);
        assert!(since.elapsed() < secs(3), "{url}: {:?}", since.elapsed());
    }
}

#[test]
fn an_address_without_a_way_is_unreachable() {
    let Some(run) = apart("an_address_without_a_way_is_unreachable", "true", "tcp://10.99.0.2:80", "0s") else { return };
    run.output().exits(69).says(&["host unreachable"]);
}

#[test]
fn a_network_that_comes_late_is_waited_for() {
    let server = "import socket,time; s=socket.socket(); s.setsockopt(socket.IPPROTO_IP, 15, 1); s.bind((\"10.99.0.1\", 8080)); s.listen(); time.sleep(12)";
    let setup = format!(
        "python3 -c '{server}' >/dev/null 2>&1 &\n(sleep 1; ip link add d0 type veth peer name d1; ip addr add 10.99.0.1/24 dev d0; ip link set d0 up) &"
    );
    let Some(run) = apart("a_network_that_comes_late_is_waited_for", &setup, "tcp://10.99.0.1:8080", "10s") else { return };
    let mut run = run.start();
    run.exits(0);
    let took = run.since.elapsed();
    assert!(took > std::time::Duration::from_millis(900) && took < secs(4), "{took:?}");
}

#[test]
fn name_servers_that_say_nothing_are_not_a_silent_server() {
    let server = "import os,socket,time; s=socket.socket(2,2); s.bind((\"127.0.0.1\", 53)); os.fork() and os._exit(0); time.sleep(8)";
    let setup = format!(
        "f=$(mktemp) && echo nameserver 127.0.0.1 >$f && mount --bind $f /etc/resolv.conf && rm $f\npython3 -c '{server}' >/dev/null 2>&1"
    );
    for url in ["tcp://db.example:80", "http://db.example/", "postgres://u:p@db.example/x", "dns://db.example"] {
        let Some(run) = apart("name_servers_that_say_nothing_are_not_a_silent_server", &setup, url, "0s") else { return };
        run.output().exits(69).says(&["name resolution failed", "db.example: no name server answered within"]);
    }
}
