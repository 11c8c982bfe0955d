//! The shared key under observation, two hundred thousand times, while three replicas toggle at random and are killed.

use super::{KEY, replica};
use crate::support::{Http, Redis, Running, Stopwatch, eventually, secs, slow, variable};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One look, atomic: 1 while the key says ready, its time to live, the ready instances, and how far their last deadline is from the key's.
const LOOK: &str = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) \
    local top = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES') \
    return {redis.call('GET', KEYS[1]) == 'ready' and 1 or 0, redis.call('PTTL', KEYS[1]), redis.call('ZCOUNT', KEYS[2], now, '+inf'), \
    top[2] and math.floor(tonumber(top[2])) - redis.call('PEXPIRETIME', KEYS[1]) or 0}";

/// Looks over one connection.
struct Observer {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Observer {
    fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let words = ["EVAL", LOOK, "2", KEY, &format!("portcullis:{{{KEY}}}:ready")];
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        Self { reader: BufReader::new(stream.try_clone().unwrap()), stream, request: request.into_bytes() }
    }

    fn look(&mut self) -> [i64; 4] {
        self.stream.write_all(&self.request).unwrap();
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert_eq!(line, "*4\r\n");
        [(); 4].map(|()| {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            line.trim().trim_start_matches(':').parse().unwrap()
        })
    }
}

/// How long a replica that is ready no more, or ready again, may go unseen in the key: a probe, a beat and a machine that is busy.
const SLACK: Duration = Duration::from_secs(3);

/// How long a killed replica may be seen: until its successor has started and connected.
const SUCCESSION: Duration = Duration::from_secs(15);

/// A replica and its dependency, whose state is all that its readiness hangs on.
struct Toggling {
    http: Http,
    run: Running,
    name: String,
    well: bool,
    /// Since when its dependency is as it is.
    since: Stopwatch,
    killed: Option<Stopwatch>,
}

impl Toggling {
    fn start(redis: &Redis, name: &str) -> Self {
        let http = Http::answering(200, "");
        let run = Self::replica(redis, name, &http);
        Self { http, run, name: name.to_owned(), well: true, since: Stopwatch::start(), killed: None }
    }

    fn replica(redis: &Redis, name: &str, http: &Http) -> Running {
        let check = format!(
            "[checks.dependency]\nurl = \"http://127.0.0.1:{}/\"\naffects = \"readiness\"\nwait = \"0s\"\ninterval = \"100ms\"\nfailure_threshold = 1\n",
            http.port
        );
        replica(&redis.url(), name, &check).start()
    }

    /// Killed as by a lost host, and started again under the same name.
    fn kill(&mut self, redis: &Redis) {
        self.run.signal(9);
        self.run.wait_exit(secs(20));
        self.run = Self::replica(redis, &self.name, &self.http);
        self.killed = Some(Stopwatch::start());
    }

    fn set(&mut self, well: bool) {
        if well != self.well {
            (self.well, self.since) = (well, Stopwatch::start());
        }
        self.http.set(if well { 200 } else { 500 }, "");
    }

    /// Whether the key may say ready for its sake, whatever the registry holds.
    fn may_be_seen(&self) -> bool {
        self.well || self.since.elapsed() < SLACK || self.killed.is_some_and(|killed| killed.elapsed() < SUCCESSION)
    }
}

/// All replicas are well, or none is, and say so at `/readyz`; a moment later the key says the same, look after look.
fn settle(replicas: &mut [Toggling], observer: &mut Observer, well: bool) -> u32 {
    for replica in &mut *replicas {
        replica.set(well);
    }
    for replica in &*replicas {
        replica.run.until_status("/readyz", if well { 200 } else { 500 }, secs(60));
    }
    let patience =
        if replicas.iter().any(|replica| replica.killed.is_some_and(|killed| killed.elapsed() < SUCCESSION)) { SUCCESSION } else { SLACK };
    eventually(&format!("the key says {well}, as all replicas do"), patience, || ((observer.look()[0] == 1) == well).then_some(()));
    let mut looks = 0;
    let watch = Stopwatch::start();
    while watch.elapsed() < secs(1) || looks < 1000 {
        assert_eq!(observer.look()[0] == 1, well, "look {looks} of the calm: all replicas say {well}");
        looks += 1;
    }
    for replica in replicas {
        assert_eq!(replica.run.get("/readyz").code, if well { 200 } else { 500 }, "{}: nothing has changed", replica.name);
    }
    looks
}

#[test]
fn the_key_never_lies_in_two_hundred_thousand_looks() {
    if !slow("the_key_never_lies_in_two_hundred_thousand_looks") {
        return;
    }
    let wanted = variable("PORTCULLIS_LOOKS").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(200_000_u32);
    let redis = Redis::start();
    let mut replicas: Vec<_> = ["one", "two", "three"].map(|name| Toggling::start(&redis, name)).into();
    let mut observer = Observer::new(redis.port);
    let (mut looks, mut ready, mut kills, mut toggles) = (0_u32, 0_u32, 0, 0);
    let watch = Stopwatch::start();
    let mut next = 0;
    while looks < wanted || watch.elapsed() < secs(60) {
        let [says, life, counted, deadline] = observer.look();
        looks += 1;
        ready += u32::from(says == 1);
        assert_eq!(says == 1, counted > 0, "look {looks}: the key says {says}, {counted} instances are ready");
        assert!(says == 0 || replicas.iter().any(Toggling::may_be_seen), "look {looks}: ready, and no replica can be");
        if says == 1 {
            // Below zero is a clock that ran on between two commands of one look.
            assert!(
                life <= 60_000 && life != -1 && deadline == 0,
                "look {looks}: {life} ms to live, the last deadline is {deadline} ms later"
            );
        }
        let now = watch.elapsed().as_millis();
        if now >= next {
            next = now + u128::from(fastrand::u32(..200)) + 50;
            let who = fastrand::usize(..3);
            match fastrand::u32(..60) {
                0 => looks += settle(&mut replicas, &mut observer, true),
                1 => looks += settle(&mut replicas, &mut observer, false),
                2..6 => {
                    kills += 1;
                    replicas[who].kill(&redis);
                }
                _ => {
                    toggles += 1;
                    replicas[who].set(fastrand::bool());
                }
            }
        }
    }
    for well in [false, true, false] {
        settle(&mut replicas, &mut observer, well);
    }
    eprintln!("{looks} looks in {:?}: {ready} ready, {toggles} toggles, {kills} kills", watch.elapsed());
    assert!(ready > looks / 20 && ready < looks - looks / 50, "one-sided: {ready} of {looks}");
    settle(&mut replicas, &mut observer, true);
    for replica in &mut replicas {
        replica.run.signal(9);
    }
    let died = Stopwatch::start();
    eventually("the last ready expires", secs(70), || (observer.look()[0] == 0).then_some(()));
    eprintln!("the last ready was gone {:?} after the last one died", died.elapsed());
    assert!(died.elapsed() < secs(62), "{:?}", died.elapsed());
}
