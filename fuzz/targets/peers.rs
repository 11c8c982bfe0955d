//! Every probe, and who reads the registry, against a peer that says whatever the input says: an answer in time, no panic, no secret.
//!
//! The first byte chooses the target; the rest is what the peer says, the mark `\xf9\x9f` between two turns.
//! A peer may name others to ask, so this runs only where there is no network but loopback: scripts/fuzz takes care of that.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis::config::source::Environment;
use portcullis::plan::resolve::{TlsFlags, targets_with};
use portcullis::plan::target::Target;
use portcullis::probe::Probe;
use portcullis::probe::redis::Session;
use portcullis::probe::redis::heartbeat_reader::HeartbeatReader;
use portcullis_fuzz::{holds, split};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const SECRET: &str = "kW7vQx2LmZ";

/// How long a probe may take here, and how long a peer waits for a word before its next turn.
const WITHIN: Duration = Duration::from_millis(60);
const PATIENCE: Duration = Duration::from_millis(3);

/// The targets, `PORT` for the peer's.
const URLS: [&str; 16] = [
    "mysql://app:SECRET@127.0.0.1:PORT/app?ssl-mode=DISABLED",
    "mysql://app:SECRET@127.0.0.1:PORT/app",
    "postgres://app:SECRET@127.0.0.1:PORT/app?sslmode=disable",
    "postgres://app:SECRET@127.0.0.1:PORT/app?sslmode=disable&target_session_attrs=read-write",
    "postgres://app:SECRET@127.0.0.1:PORT/app",
    "redis://:SECRET@127.0.0.1:PORT/1",
    "rediss://:SECRET@127.0.0.1:PORT/0",
    "redis+sentinel://:SECRET@127.0.0.1:PORT/mymaster/0",
    "redis+cluster://:SECRET@127.0.0.1:PORT",
    "redis+ready://127.0.0.1:PORT/0?service=api&min=2",
    "http://127.0.0.1:PORT/x",
    "https://127.0.0.1:PORT/x",
    "grpc://127.0.0.1:PORT/svc",
    "grpcs://127.0.0.1:PORT",
    "tcp://127.0.0.1:PORT",
    "redis://127.0.0.1:PORT/0",
];

struct World {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    targets: Vec<Target>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let interfaces = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let others = interfaces.lines().skip(2).filter(|line| !line.trim_start().starts_with("lo:")).count();
    assert!(others == 0, "there is a network besides loopback; start this by scripts/fuzz");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let urls: Vec<String> = URLS.iter().map(|url| url.replace("PORT", &port).replace("SECRET", SECRET)).collect();
    let environment = Environment::new(Vec::<(String, String)>::new());
    let targets = targets_with(&urls, &TlsFlags::default(), &environment).map_err(|problems| problems.to_string());
    World { runtime, listener, targets: targets.expect("targets").0 }
});

fuzz_target!(|data: &[u8]| {
    let Some((first, script)) = data.split_first() else { return };
    if SECRET.as_bytes().windows(4).any(|part| holds(script, part)) || holds(script, b"panick") {
        return;
    }
    let World { runtime, listener, targets } = &*WORLD;
    let number = usize::from(*first) % URLS.len();
    let (shown, took) = runtime.block_on(async {
        let began = Instant::now();
        let probed = async {
            // The last one is not probed: its registry is listed.
            if number + 1 == URLS.len() && let Target::Redis(target) = &targets[number] {
                return format!("{:?}", read_registry(target).await);
            }
            let mut probe = Probe::new(&targets[number]);
            let answers = (probe.probe(WITHIN).await, probe.probe(WITHIN).await);
            probe.close().await;
            format!("{answers:?}")
        };
        let shown = tokio::select! { shown = probed => shown, () = peer(listener, script) => unreachable!("a peer has no end") };
        (shown, began.elapsed())
    });
    assert!(took < Duration::from_secs(3), "{took:?} for {}", URLS[number]);
    assert!(!shown.contains(SECRET) && !shown.contains("panicked"), "{shown}");
});

async fn read_registry(target: &portcullis::plan::target::RedisTarget) -> Result<usize, portcullis::outcome::Failure> {
    let probed = timeout(2 * WITHIN, async {
        let mut session = Session::open(target, WITHIN).await?;
        let mut reader = HeartbeatReader::new("api_service_status");
        reader.count(&mut session).await?;
        let listed = reader.list(&mut session).await?;
        Ok(listed.len())
    });
    probed.await.unwrap_or(Ok(0))
}

/// Says its turns to whoever connects, one after the other; once all are said it closes.
async fn peer(listener: &TcpListener, script: &[u8]) {
    let mut turns = split(script, b"\xf9\x9f");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = speak(stream, &mut turns).await;
    }
}

async fn speak<'a>(mut stream: TcpStream, turns: &mut impl Iterator<Item = &'a [u8]>) -> std::io::Result<()> {
    // A connection that is reset leaves no port behind that is held for a minute.
    stream.set_zero_linger()?;
    let mut heard = [0; 4096];
    for turn in turns {
        if let Ok(Ok(0)) = timeout(PATIENCE, stream.read(&mut heard)).await {
            return Ok(());
        }
        stream.write_all(turn).await?;
    }
    stream.shutdown().await?;
    while let Ok(Ok(1..)) = timeout(PATIENCE, stream.read(&mut heard)).await {}
    Ok(())
}
