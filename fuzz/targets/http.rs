//! The health server itself on real sockets: whatever is asked, it answers or closes; orders need the unix socket and the token.
//!
//! The first byte chooses TCP or the unix socket; the rest is what the client sends, and then it sends no more.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis::outcome::{ErrorKind, Outcome};
use portcullis::published::Published;
use portcullis::server::{Controller, Listeners, serve};
use portcullis::state::event::Event;
use portcullis_fuzz::{holds, plan, running};

const TOKEN: &[u8] = b"tHe-t0ken-0f-the-f1le";

/// What a dependency said: for no unauthorized reader.
const PRIVATE: &str = "wOrdsOfADependency";

static ORDERS: AtomicUsize = AtomicUsize::new(0);

struct Server {
    tcp: SocketAddr,
    unix: UnixAddress,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let name = format!("portcullis-fuzz-{}", std::process::id());
    let text = format!(
        "mode = \"api\"\n[modes.api]\ncommand = [\"true\"]\n[health]\nlisten = \"127.0.0.1:0\"\nsocket = \"@{name}\"\ntoken = \"{}\"\n\
         [checks.db]\nurl = \"tcp://127.0.0.1:1\"\n[checks.cache]\nurl = \"redis://127.0.0.1:1/0\"\naffects = \"readiness\"\n\
         [modules.worker]\ncommand = [\"true\"]\n",
        String::from_utf8_lossy(TOKEN)
    );
    let plan = plan("http", &text);
    let (mut lifecycle, now) = running(&plan);
    for check in 0..2 {
        lifecycle.apply(now, Event::Probed(check, Outcome::failed(ErrorKind::Refused, PRIVATE, Duration::ZERO)));
    }
    let published = Arc::new(Published::new(lifecycle.snapshot().clone(), Arc::clone(&plan)));
    let health = Arc::new(plan.health.clone().expect("a health endpoint"));
    let listeners = Listeners::bind(&health).expect("free names");
    let tcp = listeners.addresses()[0];
    let controller: Controller = Arc::new(|_| {
        ORDERS.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { (200, "{\"exit\":0,\"sentence\":\"done\"}\n".to_owned()) })
    });
    std::thread::spawn(move || serve(listeners, health, published, Some(controller)));
    Server { tcp, unix: UnixAddress::from_abstract_name(name).expect("a short name") }
});

fuzz_target!(|data: &[u8]| {
    let Some((first, words)) = data.split_first() else { return };
    let over_tcp = first % 2 == 0;
    let before = ORDERS.load(Ordering::SeqCst);
    let answer = if over_tcp {
        let mut stream = TcpStream::connect(SERVER.tcp).expect("the server accepts");
        let _ = stream.write_all(words);
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        read(&mut stream)
    } else {
        let mut stream = UnixStream::connect_addr(&SERVER.unix).expect("the server accepts");
        let _ = stream.write_all(words);
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
        read(&mut stream)
    };
    let ordered = ORDERS.load(Ordering::SeqCst) - before;
    let has_token = holds(words, TOKEN);
    assert!(ordered == 0 || (has_token && !over_tcp), "an order without the token or over the network");
    if over_tcp && !has_token {
        assert!(!holds(&answer, PRIVATE.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
});

/// Everything until the server closes, which it does at once when nobody can ask any more.
fn read(stream: &mut impl Read) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server neither answers nor closes"),
            Err(_) => return answer,
        }
    }
}
