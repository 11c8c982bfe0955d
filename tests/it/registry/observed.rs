//! The shared key under observation, two hundred thousand times, while three replicas toggle at random and are killed: it never disagrees
//! with the instances behind it, and whenever they hold still, it agrees with what each says of itself on /readyz.

use super::{KEY, replica};
use crate::support::{Http, Redis, Running, Stopwatch, eventually, secs, slow, variable};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

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

struct Toggling {
    http: Http,
    run: Running,
    name: String,
}

impl Toggling {
    fn start(redis: &Redis, name: &str) -> Self {
        let http = Http::answering(200, "");
        let run = Self::replica(redis, name, &http);
        Self { http, run, name: name.to_owned() }
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
    }
}

/// Fails unless the look agrees with itself: the key stands while anybody is ready, and as long as the last of them.
#[track_caller]
fn is_true([says, life, counted, deadline]: [i64; 4], look: u32) {
    assert_eq!(says == 1, counted > 0, "look {look}: the key says {says}, {counted} instances are ready");
    // Below zero is a clock that ran on between two commands of one look.
    let fits = says != 1 || life <= 60_000 && life != -1 && deadline == 0;
    assert!(fits, "look {look}: {life} ms to live, the last deadline is {deadline} ms later");
}

/// Has each replica ready or not, as `ready` says, and waits until it says so; then Redis has to say the same soon, and to stay with it.
fn agrees(replicas: &[Toggling], observer: &mut Observer, ready: [bool; 3]) {
    let codes = ready.map(|ready| if ready { 200 } else { 500 });
    for (replica, code) in replicas.iter().zip(codes) {
        replica.http.set(code, "");
    }
    for (replica, code) in replicas.iter().zip(codes) {
        replica.run.until_status("/readyz", code, secs(60));
    }
    let count = i64::try_from(ready.iter().filter(|ready| **ready).count()).unwrap();
    let expected = [i64::from(count > 0), count];
    let mut looks = || {
        let [says, _, counted, _] = observer.look();
        [says, counted]
    };
    eventually(&format!("Redis says {ready:?}"), secs(10), || (looks() == expected).then_some(()));
    for _ in 0..500 {
        assert_eq!(looks(), expected, "while the replicas stay {ready:?}");
    }
    assert_eq!(replicas.iter().map(|replica| replica.run.get("/readyz").code).collect::<Vec<_>>(), codes);
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
    let (mut next, mut still, mut holds) = (0, 10_000, 0_u32);
    while looks < wanted || watch.elapsed() < secs(60) {
        let seen = observer.look();
        looks += 1;
        ready += u32::from(seen[0] == 1);
        is_true(seen, looks);
        let now = watch.elapsed().as_millis();
        if now >= still {
            // None, all, and anything else by turns.
            let ready = match holds % 3 {
                0 => [false; 3],
                1 => [true; 3],
                _ => [(); 3].map(|()| fastrand::bool()),
            };
            agrees(&replicas, &mut observer, ready);
            holds += 1;
            still = watch.elapsed().as_millis() + 8_000;
        } else if now >= next {
            next = now + u128::from(fastrand::u32(..200)) + 50;
            let who = fastrand::usize(..3);
            if fastrand::u32(..15) == 0 {
                kills += 1;
                replicas[who].kill(&redis);
            } else {
                toggles += 1;
                replicas[who].http.set(if fastrand::u32(..2) == 0 { 200 } else { 500 }, "");
            }
        }
    }
    eprintln!("{looks} looks in {:?}: {ready} ready, {toggles} toggles, {kills} kills, {holds} times still", watch.elapsed());
    assert!(ready > looks / 20 && ready < looks - looks / 50, "one-sided: {ready} of {looks}");
    assert!(holds >= 3, "still {holds} times only");
    agrees(&replicas, &mut observer, [true; 3]);
    for replica in &mut replicas {
        replica.run.signal(9);
    }
    let died = Stopwatch::start();
    eventually("the last ready expires", secs(70), || (observer.look()[0] == 0).then_some(()));
    eprintln!("the last ready was gone {:?} after the last one died", died.elapsed());
    assert!(died.elapsed() < secs(62), "{:?}", died.elapsed());
}
