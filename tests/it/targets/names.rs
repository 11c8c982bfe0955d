//! Names in pods and containers, with a name server and a resolv.conf in a separate namespace.

use crate::support::portcullis::Output;
use crate::support::{Portcullis, root, secs};

/// The first lines of a pod's resolv.conf.
const POD: &str = "nameserver 127.0.0.1\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

/// A namespace with these rules of its name server, its resolv.conf and its hosts file.
struct Apart<'a> {
    test: &'a str,
    rules: &'a str,
    resolv: &'a str,
    hosts: &'a str,
}

impl Apart<'_> {
    /// The output of portcullis there, and the queries that it sent; none without the permission to create a namespace, which is reported.
    fn run(&self, portcullis: Portcullis) -> Option<(Output, Vec<String>)> {
        if !root(self.test) {
            return None;
        }
        let rules = portcullis.file("rules", self.rules);
        let (resolv, hosts) = (portcullis.file("resolv.conf", self.resolv), portcullis.file("hosts", self.hosts));
        let (server, log) = (portcullis.file("names.py", include_str!("names.py")), portcullis.file("log", ""));
        let [rules, resolv, hosts, server, log] = [rules, resolv, hosts, server, log].map(|path| path.display().to_string());
        let script = portcullis.script(
            "apart",
            &format!(
                "set -e\nip link set lo up\nmount --bind {resolv} /etc/resolv.conf\nmount --bind {hosts} /etc/hosts\n\
                 exec 3< <(exec python3 {server} {rules} {log})\nserver=$!\nread -u 3 up\n\
                 code=0; \"$@\" || code=$?\nkill $server\ncat {log} >&2\nexit $code\n"
            ),
        );
        let output = portcullis.through(&format!("unshare --net --mount {}", script.display())).output();
        let requested = output.stderr.lines().filter(|line| line.ends_with(" udp") || line.ends_with(" tcp")).map(str::to_owned).collect();
        Some((output, requested))
    }
}

/// `portcullis wait` for a target.
fn wait(url: &str, timeout: &str) -> Portcullis {
    Portcullis::new().args(["wait", "--timeout", timeout, url])
}

#[test]
fn a_name_that_glibc_resolves_is_resolved() {
    const TEST: &str = "a_name_that_glibc_resolves_is_resolved";
    let many = (1..40).map(|n| format!("127.1.0.{n},")).collect::<Vec<_>>().concat();
    let many = format!("db.default.svc.cluster.local A {many}127.0.0.9\ndb.default.svc.cluster.local AAAA NODATA\n");
    let found = "db.default.svc.cluster.local A 127.0.0.9\n";
    let second = "db.svc.cluster.local A 127.0.0.9\ndb.svc.cluster.local AAAA NODATA\n";
    let both = |first: &str, answer: &str| format!("{first} A {answer}\n{first} AAAA {answer}\n");
    let first = |answer: &str| both("db.default.svc.cluster.local", answer) + second;
    let below: String =
        ["default.svc.", "svc.", ""].iter().map(|domain| both(&format!("api.example.com.{domain}cluster.local"), "NODATA")).collect();
    let cases = [
        ("search list", format!("{found}db.default.svc.cluster.local AAAA NODATA\n"), "tcp://db:7000"),
        ("AAAA is NXDOMAIN", found.to_owned(), "tcp://db:7000"),
        ("AAAA is SERVFAIL", format!("{found}db.default.svc.cluster.local AAAA SERVFAIL\n"), "tcp://db:7000"),
        ("AAAA is REFUSED", format!("{found}db.default.svc.cluster.local AAAA REFUSED\n"), "tcp://db:7000"),
        ("AAAA is NOTIMP", format!("{found}db.default.svc.cluster.local AAAA NOTIMP\n"), "tcp://db:7000"),
        ("AAAA is never answered", format!("{found}db.default.svc.cluster.local AAAA drop\n"), "tcp://db:7000"),
        ("the first domain is SERVFAIL", first("SERVFAIL"), "tcp://db:7000"),
        ("the first domain has no data", first("NODATA"), "tcp://db:7000"),
        (
            "no data before an absolute name",
            format!("{below}api.example.com A 127.0.0.9\napi.example.com AAAA NODATA\n"),
            "tcp://api.example.com:7000",
        ),
        ("IPv6 first, and nothing listens there", format!("{found}db.default.svc.cluster.local AAAA ::1\n"), "tcp://db:7000"),
        (
            "IPv4 only has silence",
            "db.default.svc.cluster.local A drop\ndb.default.svc.cluster.local AAAA ::1\n".to_owned(),
            "tcp://db:7001",
        ),
        ("forty addresses, and the last one listens", many, "tcp://db:7000"),
        (
            "aliases",
            "db.default.svc.cluster.local A alias=a.example\na.example A alias=b.example\nb.example A 127.0.0.9\n".to_owned(),
            "tcp://db:7000",
        ),
        ("an absolute name", "db A 127.0.0.9\n".to_owned(), "tcp://db.:7000"),
    ];
    for (case, rules, url) in cases {
        let apart = Apart { test: TEST, rules: &rules, resolv: POD, hosts: "" };
        let Some((output, requested)) = apart.run(wait(url, "5s")) else { return };
        assert!(output.stderr.contains("is ready after") && !requested.is_empty(), "{case}: {} {requested:?}", output.stderr);
        output.exits(0);
    }
}

#[test]
fn the_hosts_file_comes_before_the_name_servers() {
    let apart = Apart {
        test: "the_hosts_file_comes_before_the_name_servers",
        rules: "db.default.svc.cluster.local A 127.1.0.1\n",
        resolv: POD,
        hosts: "127.0.0.9 cache db # as compose writes it\n",
    };
    let Some((output, requested)) = apart.run(wait("tcp://db:7000", "5s")) else { return };
    output.exits(0);
    assert_eq!(requested, [] as [&str; 0]);
}

#[test]
fn a_name_that_is_missing_is_not_queried_without_end() {
    let apart = Apart { test: "a_name_that_is_missing_is_not_queried_without_end", rules: "", resolv: POD, hosts: "" };
    let Some((output, requested)) = apart.run(wait("tcp://db:7000", "4s")) else { return };
    let words = "db: no such name, says name server 127.0.0.1; 4 names of the search list were tried";
    output.exits(69).says(&["name resolution failed", words]);
    // Four seconds of ten each, one second ahead, and what the last lookup overdraws.
    assert!((8..=58).contains(&requested.len()), "{} questions", requested.len());
}

#[test]
fn checks_on_dead_names_delay_no_other() {
    let dead: Vec<String> =
        (0..8).map(|n| format!("d{n}.default.svc.cluster.local A drop\nd{n}.default.svc.cluster.local AAAA drop\n")).collect();
    let rules = format!("{}good.default.svc.cluster.local A 127.0.0.9\ngood.default.svc.cluster.local AAAA NODATA\n", dead.concat());
    let apart = Apart { test: "checks_on_dead_names_delay_no_other", rules: &rules, resolv: POD, hosts: "" };
    let targets: Vec<String> = (0..8).map(|n| format!("tcp://d{n}:7000")).chain(["tcp://good:7000".to_owned()]).collect();
    let words = ["wait", "--any", "--timeout", "10s"].map(str::to_owned);
    let Some((output, _)) = apart.run(Portcullis::new().args(words.into_iter().chain(targets))) else { return };
    assert!(output.took < secs(5), "{:?}", output.took);
    output.exits(0).says(&["tcp://good:7000 is ready after"]);
}

/// A network that is 300 ms away and back: each packet comes back after 150 ms with its addresses swapped, so that 10.98.0.1 is met as
/// 10.99.0.1 to 10.99.0.8. The sums of TCP stay right, because an address counts the same in either place.
const FAR: &str = r#"
import collections, fcntl, os, select, socket, struct, subprocess, time
link = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(link, 0x400454CA, struct.pack("16sH", b"far0", 0x1001))
for words in ["addr add 10.98.0.1/32 dev far0", "link set far0 up", "route add 10.99.0.0/24 dev far0 src 10.98.0.1"]:
    subprocess.run(["ip", *words.split()], check=True)
server = socket.create_server(("10.98.0.1", 7000))
print("up", flush=True)
under_way = collections.deque()
while True:
    wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
    if select.select([link], [], [], wait)[0]:
        packet = os.read(link, 65536)
        if packet[0] >> 4 == 4:
            under_way.append((time.monotonic() + 0.15, packet[:12] + packet[16:20] + packet[12:16] + packet[20:]))
    while under_way and under_way[0][0] <= time.monotonic():
        os.write(link, under_way.popleft()[1])
"#;

#[test]
fn every_address_has_its_time_however_many_there_are() {
    const TEST: &str = "every_address_has_its_time_however_many_there_are";
    if !root(TEST) {
        return;
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        crate::support::left_out(TEST, "there is no /dev/net/tun");
        return;
    }
    let portcullis = wait("tcp://far:7000", "0s");
    let hosts = (1..=8).map(|n| format!("10.99.0.{n} far\n")).collect::<Vec<_>>().concat();
    let (hosts, far) = (portcullis.file("hosts", &hosts), portcullis.file("far.py", FAR));
    let script = portcullis.script(
        "far",
        &format!(
            "set -e\nip link set lo up\nmount --bind {} /etc/hosts\nexec 3< <(exec python3 {})\nserver=$!\nread -u 3 up\n\
             code=0; \"$@\" || code=$?\nkill $server\nexit $code\n",
            hosts.display(),
            far.display()
        ),
    );
    let output = portcullis.through(&format!("unshare --net --mount {}", script.display())).output();
    output.exits(0).says(&["is ready after"]);
}
