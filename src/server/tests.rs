//! Requests to the server over real sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixSocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{Listeners, MOST_CONNECTIONS, serve};
use crate::clock::Moment;
use crate::outcome::{ErrorKind, Outcome};
use crate::plan::{Affects, Details, HealthPlan, Listen, Plan, Service, SocketName, Views};
use crate::published::Published;
use crate::secret::Secret;
use crate::state::check::Check;
use crate::state::snapshot::{Phase, Snapshot};

/// Far longer than any response takes; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// Data that only an authorized reader may see.
const WORDS: &str = "WRONGPASS for app on redis:6379";

fn plan(listen: &[&str], socket: Option<SocketName>) -> HealthPlan {
    HealthPlan {
        listen: listen.iter().map(|address| Listen(vec![address.parse().unwrap()])).collect(),
        socket,
        required: true,
        details: Details::WhenAuthorized,
        token: Some(Secret::new("the bearer's token")),
        views: Views::default(),
        hosts: Vec::new(),
        max_connections: MOST_CONNECTIONS,
        control: true,
    }
}

/// A name in the abstract namespace that no other test has.
fn abstract_name(test: &str) -> SocketName {
    SocketName::Abstract(format!("portcullis-test/{}/{test}", std::process::id()))
}

/// A fresh path in the temporary directory.
fn socket_path(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("portcullis-test-{}-{test}", std::process::id()))
}

/// Running, with a Redis that refuses the password.
fn published() -> Arc<Published> {
    let now = Moment::now();
    let mut redis = Check::event("redis", "redis", Affects::Health);
    redis.feed(now, Outcome::failed(ErrorKind::Auth, WORDS, Duration::from_millis(5)));
    let service =
        Service { name: "api".to_owned(), mode: None, instance: "one".to_owned(), host: String::new(), version: None, build: "0.1.0" };
    let snapshot = Snapshot { phase: Phase::Running, started: true, checks: vec![redis.into()].into(), ..Snapshot::new(service, now) };
    let plan = Plan::of((*snapshot.service).clone());
    Arc::new(Published::new(snapshot, Arc::new(plan)))
}

/// Serves in a thread that ends with the test process.
fn started(plan: HealthPlan) -> SocketAddr {
    let listeners = Listeners::bind(&plan).unwrap();
    let address = listeners.addresses()[0];
    thread::spawn(move || serve(listeners, Arc::new(plan), published(), None));
    address
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Sends `request` and reads until the server closes.
fn exchange(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(address: SocketAddr, target: &str, headers: &str) -> String {
    exchange(connected(address), &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"))
}

/// Reads one response of known length from a connection that stays open.
fn read_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\nok") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn every_answer_has_its_length_and_is_not_stored() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let answer = get(address, "/readyz?verbose", "").to_ascii_lowercase();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    for header in [
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "cross-origin-resource-policy: same-origin",
        "content-type: text/plain; charset=utf-8",
        &format!("content-length: {}", body.len()),
    ] {
        assert!(head.lines().any(|line| line == header), "{header} in {head}");
    }
    assert!(get(address, "/metrics", "Accept: application/openmetrics-text\r\n").ends_with("# EOF\n"));
    assert!(get(address, "/nowhere", "").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_client_that_has_finished_sending_gets_its_answer() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let again = "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET /livez HTTP/1.0\r\n\r\n";
    for (request, answers) in [
        ("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", 1),
        ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 1),
        ("GET /livez HTTP/1.0\r\n\r\n", 1),
        ("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 1),
        ("GET /metrics HTTP/1.0\r\n\r\n", 1),
        ("POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 1),
        ("POST /control/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 1),
        (again, 2),
    ] {
        for _ in 0..20 {
            let mut stream = connected(address);
            stream.write_all(request.as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let answer = exchange(stream, "");
            assert_eq!(answer.matches("HTTP/1.").count(), answers, "{request:?}: {answer:?}");
        }
    }
}

#[test]
fn head_is_get_without_the_body() {
    let address = started(plan(&["127.0.0.1:0"], None));
    for path in ["/healthz", "/livez", "/status", "/", "/nowhere"] {
        let ask = |method| exchange(connected(address), &format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        let without_date = |head: &str| head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned).collect::<Vec<_>>();
        let (get, head) = (ask("GET"), ask("HEAD"));
        assert_eq!(without_date(get.split_once("\r\n\r\n").unwrap().0), without_date(head.strip_suffix("\r\n\r\n").unwrap()), "{path}");
    }
}

#[test]
fn other_methods_and_bodies() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let options = exchange(connected(address), "OPTIONS /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(options.starts_with("HTTP/1.1 204 ") && options.contains("\r\nallow: GET, HEAD, OPTIONS\r\n"), "{options}");
    assert!(!options.contains("content-length"), "{options}");
    for request in ["QUERY /livez HTTP/1.1\r\nHost: x\r\n", "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"] {
        let refused = exchange(connected(address), &format!("{request}Connection: close\r\n\r\nhello"));
        assert!(refused.starts_with("HTTP/1.1 405 "), "{refused}");
    }
    let with_body = "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    assert!(exchange(connected(address), with_body).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_head_of_nine_kibibytes_is_too_long() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let mut stream = connected(address);
    stream.write_all(format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(9 * 1024)).as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[test]
fn a_connection_is_kept_and_answers_come_in_order() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let mut stream = connected(address);
    for _ in 0..3 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
    }
    let pipelined = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = exchange(stream, pipelined);
    assert!(answers.find("200 OK").unwrap() < answers.find("404 Not Found").unwrap(), "{answers}");
}

/// Reads one response with its body from a connection that stays open.
fn read_whole(stream: &mut impl Read) -> String {
    let (mut bytes, mut length) = (Vec::new(), usize::MAX);
    while bytes.len() < length {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
        if length == usize::MAX && bytes.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8(bytes.clone()).unwrap();
            let body = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            length = bytes.len() + body.parse::<usize>().unwrap();
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_kept_connection_has_the_same_answers_as_one_that_closes() {
    let address = started(HealthPlan { hosts: vec!["x".to_owned()], ..plan(&["127.0.0.1:0"], None) });
    let lines = |answer: &str| {
        let differ = |line: &&str| !line.starts_with("date: ") && !line.starts_with("connection: ") && !line.contains("age");
        answer.lines().filter(differ).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut kept = connected(address);
    for (target, headers) in [
        ("/livez", ""),
        ("/readyz?verbose", ""),
        ("/nowhere", ""),
        ("/livez?token=x", ""),
        ("/livez", "Host: y\r\n"),
        ("/healthz", "Authorization: Bearer the bearer's token\r\n"),
        ("/healthz", "Authorization: Bearer another\r\n"),
        ("/healthz", ""),
        ("/health", "Accept: text/html\r\nAccept: */*\r\n"),
        ("/token", ""),
        ("/livez", ""),
    ] {
        // The second one is the first one again, if it was kept.
        for _ in 0..2 {
            let host = if headers.starts_with("Host") { "" } else { "Host: x\r\n" };
            kept.write_all(format!("GET {target} HTTP/1.1\r\n{host}{headers}\r\n").as_bytes()).unwrap();
            let closing = exchange(connected(address), &format!("GET {target} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n"));
            assert_eq!(lines(&read_whole(&mut kept)), lines(&closing), "{target} {headers}");
        }
    }
}

#[test]
fn after_any_other_request_a_connection_goes_on() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let get = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let last = "HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = exchange(connected(address), &[get, get, post, get, last].concat());
    let codes: Vec<&str> = answers.match_indices("HTTP/1.1 ").filter_map(|(at, _)| answers.get(at + 9..at + 12)).collect();
    assert_eq!(codes, ["200", "200", "405", "200", "200"], "{answers}");
}

#[test]
fn a_head_may_come_in_parts() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let mut stream = connected(address);
    stream.set_nodelay(true).unwrap();
    for _ in 0..2 {
        for part in ["\r\nGET /liv", "ez HTTP/1.1\r\nHost: x\r\nX: ", &"y".repeat(4000), "\r\n\r", "\n"] {
            stream.write_all(part.as_bytes()).unwrap();
        }
        assert!(read_answer(&mut stream).starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn silent_clients_make_room_for_active_ones() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let mut kept = connected(address);
    let mut silent: Vec<TcpStream> = (0..MOST_CONNECTIONS).map(|_| connected(address)).collect();
    assert!(get(address, "/livez", "").starts_with("HTTP/1.1 200 "));
    // Two too many: the oldest ones are closed, the newest stay.
    assert_eq!(kept.read(&mut [0]).unwrap(), 0);
    assert_eq!(silent.first_mut().unwrap().read(&mut [0]).unwrap(), 0);
    let newest = silent.last_mut().unwrap();
    newest.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(read_answer(newest).ends_with("ok"));
}

#[test]
fn the_number_of_connections_over_tcp_is_that_of_the_configuration() {
    let name = abstract_name("connections");
    let address = started(HealthPlan { max_connections: 2, ..plan(&["127.0.0.1:0"], Some(name)) });
    let [mut first, mut second] = [connected(address), connected(address)];
    let _third = connected(address);
    assert!(get(address, "/livez", "").starts_with("HTTP/1.1 200 "));
    assert_eq!([first.read(&mut [0]).unwrap(), second.read(&mut [0]).unwrap()], [0, 0], "the two oldest are closed");
}

#[test]
fn as_many_long_answers_as_connections_can_wait() {
    let address = started(HealthPlan { max_connections: 300, ..plan(&["127.0.0.1:0"], None) });
    let mut waiting: Vec<TcpStream> = (0..300).map(|_| connected(address)).collect();
    for (number, stream) in waiting.iter_mut().enumerate() {
        // Each is another request to the cache.
        write!(stream, "GET /status HTTP/1.1\r\nHost: x\r\nX: {number}\r\n\r\n").unwrap();
    }
    for stream in &mut waiting {
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn exactly_one_host_is_probed_and_if_some_are_named_one_of_those() {
    let name = abstract_name("hosts");
    let plan = HealthPlan { hosts: vec!["health.example".to_owned()], ..plan(&["127.0.0.1:0"], Some(name.clone())) };
    let address = started(plan);
    for (head, code) in [
        ("HTTP/1.1\r\n", "400"),
        ("HTTP/1.1\r\nHost: health.example\r\nHost: health.example\r\n", "400"),
        ("HTTP/1.1\r\nHost: evil.example\r\n", "421"),
        ("HTTP/1.1\r\nHost: health.example:80\r\n", "200"),
        ("HTTP/1.1\r\nHost: 10.0.0.9\r\n", "200"),
    ] {
        let answer = exchange(connected(address), &format!("GET /livez {head}Connection: close\r\n\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{head}{answer}");
        assert!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
    }
    assert!(over(&name, "GET /livez").starts_with("HTTP/1.1 200 "), "over the unix socket any host is meant");
}

#[test]
fn pipelined_long_answers_come_whole_and_in_order() {
    let address = started(plan(&["127.0.0.1:0"], None));
    let three = ["/?hold", "/status", "/livez"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).concat();
    let answers =
        exchange(connected(address), &format!("{}GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", three.repeat(7)));
    let of = |what: &str| answers.match_indices(what).map(|(at, _)| at).collect::<Vec<_>>();
    let (pages, documents, probes) = (of("</html>"), of("\"phase\""), of("\r\n\r\nok"));
    assert_eq!((pages.len(), documents.len(), probes.len()), (7, 7, 7), "{answers}");
    assert!(pages.iter().zip(&documents).zip(&probes).all(|((page, document), probe)| page < document && document < probe));
    assert!(answers.contains("HTTP/1.1 404 "));
}

#[test]
fn details_need_authorization() {
    let name = abstract_name("details");
    let address = started(plan(&["127.0.0.1:0"], Some(name.clone())));
    for (headers, sees) in [
        ("", false),
        ("Authorization: Bearer the bearer's token\r\n", true),
        ("Authorization: bearer the bearer's token\r\n", true),
        ("Authorization: Bearer the bearer's token\r\nPrefer: return=minimal\r\n", false),
        ("Authorization: Bearer the bearer's toke\r\n", false),
        ("Authorization: Bearer \r\n", false),
        ("Authorization: Basic the bearer's token\r\n", false),
    ] {
        let answer = get(address, "/healthz", headers);
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert_eq!(answer.contains(WORDS), sees, "{headers}{answer}");
        assert_eq!(answer.contains("authentication failed"), !sees, "{headers}{answer}");
    }
    let SocketName::Abstract(name) = name else { unreachable!() };
    let own = || UnixStream::connect_addr(&UnixSocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let request = |headers: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    assert!(exchange(own(), &request("")).contains(WORDS));
    assert!(!exchange(own(), &request("Prefer: return=minimal\r\n")).contains(WORDS));
}

#[test]
fn details_for_all_readers_or_none() {
    let always = started(HealthPlan { details: Details::Always, ..plan(&["127.0.0.1:0"], None) });
    assert!(get(always, "/healthz", "").contains(WORDS));
    let never = started(HealthPlan { details: Details::Never, ..plan(&["127.0.0.1:0"], None) });
    assert!(!get(never, "/healthz", "Authorization: Bearer the bearer's token\r\n").contains(WORDS));
    let without_token = started(HealthPlan { token: Some(Secret::new("")), ..plan(&["127.0.0.1:0"], None) });
    assert!(!get(without_token, "/healthz", "Authorization: Bearer \r\n").contains(WORDS));
}

#[test]
fn each_item_of_listen_is_bound_at_its_first_free_address() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = holder.local_addr().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let either = HealthPlan { listen: vec![Listen(vec![busy, any])], ..plan(&[], None) };
    assert_ne!(Listeners::bind(&either).unwrap().addresses(), [busy]);
    let several = plan(&["127.0.0.1:0", "127.0.0.2:0", "127.0.0.1:0"], None);
    let bound = Listeners::bind(&several).unwrap();
    let addresses = bound.addresses();
    assert_eq!(addresses.len(), 3);
    thread::spawn(move || serve(bound, Arc::new(several), published(), None));
    for address in addresses {
        let mut stream = connected(address);
        stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{address}: {answer}");
    }
    let one_busy = plan(&["127.0.0.1:0", &busy.to_string()], None);
    let refused = Listeners::bind(&one_busy).unwrap_err().to_string();
    assert!(refused.starts_with(&format!("listening for health requests failed: {busy}: address in use, ")), "{refused}");
    let rest = Listeners::bind(&HealthPlan { required: false, ..one_busy }).unwrap();
    assert_eq!((rest.addresses().len(), rest.missing().len()), (1, 1));
    assert!(Listeners::bind(&HealthPlan { required: false, ..plan(&[&busy.to_string()], None) }).is_err());
    assert!(Listeners::bind(&plan(&[], None)).unwrap().addresses().is_empty());
}

#[test]
fn a_socket_path_is_private_and_a_stale_one_is_replaced() {
    let path = socket_path("path");
    drop(UnixListener::bind(&path).unwrap());
    let plan = plan(&[], Some(SocketName::Path(path.clone())));
    let first = Listeners::bind(&plan).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let second = Listeners::bind(&plan).unwrap_err().to_string();
    let held = format!("(process {}) already listens there", std::process::id());
    assert!(second.contains(&format!("{}: user ", path.display())) && second.contains(&held), "{second}");
    thread::spawn({
        let plan = Arc::new(plan.clone());
        move || serve(first, plan, published(), None)
    });
    let request = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert!(exchange(UnixStream::connect(&path).unwrap(), request).ends_with("ok"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn another_file_in_the_sockets_place_is_left_alone() {
    let path = socket_path("file");
    std::fs::write(&path, "precious").unwrap();
    assert!(Listeners::bind(&plan(&[], Some(SocketName::Path(path.clone())))).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn an_abstract_name_in_use_is_reported() {
    let plan = plan(&[], Some(abstract_name("taken")));
    let _first = Listeners::bind(&plan).unwrap();
    let second = Listeners::bind(&plan).unwrap_err().to_string();
    assert!(second.contains("/taken: user ") && second.contains("already listens there"), "{second}");
}

#[test]
fn a_second_server_takes_over_from_cloned_listeners() {
    let plan = plan(&["127.0.0.1:0"], None);
    let kept = Listeners::bind(&plan).unwrap();
    let address = kept.addresses()[0];
    let broken = kept.try_clone().unwrap();
    // The first server's thread ends with its runtime; the sockets stay open in the clone.
    let died = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async { broken.into_tokio().map(|_| ()).unwrap() });
        panic!("injected");
    });
    assert!(died.join().is_err());
    let again = kept.try_clone().unwrap();
    thread::spawn(move || serve(again, Arc::new(plan), published(), None));
    assert!(get(address, "/livez", "").ends_with("ok"));
}

/// A unix socket behind which the control requests are recorded.
fn ordered(test: &str) -> (SocketName, std::sync::mpsc::Receiver<String>) {
    let name = abstract_name(test);
    let plan = plan(&["127.0.0.1:0"], Some(name.clone()));
    let listeners = Listeners::bind(&plan).unwrap();
    let (sender, orders) = std::sync::mpsc::channel();
    let controller: super::Controller = Arc::new(move |target| {
        sender.send(target).unwrap();
        Box::pin(async { (200, "{}\n".to_owned()) })
    });
    thread::spawn(move || serve(listeners, Arc::new(plan), published(), Some(controller)));
    (name, orders)
}

fn over(name: &SocketName, request: &str) -> String {
    let SocketName::Abstract(name) = name else { panic!("an abstract name") };
    let stream = UnixStream::connect_addr(&UnixSocketAddr::from_abstract_name(name).unwrap()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    exchange(stream, &format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

#[test]
fn control_requests_are_accepted_over_the_unix_socket_by_post_and_with_the_token() {
    let (name, orders) = ordered("orders");
    let bearer = " HTTP/1.1\r\nAuthorization: Bearer the bearer's token\r\nX: ";
    assert!(over(&name, "POST /control/reload").starts_with("HTTP/1.1 403 "));
    assert!(over(&name, &format!("POST /control/reload{}", bearer.replace("token", "tokem"))).starts_with("HTTP/1.1 403 "));
    assert!(over(&name, &format!("GET /control/reload{bearer}")).starts_with("HTTP/1.1 405 "));
    assert!(orders.try_recv().is_err());
    assert!(over(&name, &format!("POST /control/reload?wait_ms=7{bearer}")).starts_with("HTTP/1.1 200 "));
    assert_eq!(orders.recv_timeout(DEADLINE).unwrap(), "reload?wait_ms=7");
    assert!(over(&name, "POST /controls").starts_with("HTTP/1.1 404 "), "a question like any other");
}

#[test]
fn on_the_network_there_are_no_orders() {
    let plan = plan(&["127.0.0.1:0"], None);
    let listeners = Listeners::bind(&plan).unwrap();
    let address = listeners.addresses()[0];
    let controller: super::Controller = Arc::new(|_| panic!("an order came over TCP"));
    thread::spawn(move || serve(listeners, Arc::new(plan), published(), Some(controller)));
    let bearer = "Authorization: Bearer the bearer's token\r\n";
    let ask = |line: &str| exchange(connected(address), &format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{bearer}\r\n"));
    let head = |answer: &str| answer.lines().next().unwrap().to_owned();
    assert_eq!(head(&ask("POST /control/reload")), head(&ask("POST /nowhere")));
    assert_eq!(head(&ask("GET /control/reload")), "HTTP/1.1 404 Not Found");
}
