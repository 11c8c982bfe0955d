//! Redis with every kind of failure: the process and `/livez` are not affected, and the key is back as soon as it can be written again.

use super::{KEY, replica, until_key};
use crate::support::redis::Reply;
use crate::support::{Redis, Running, Stopwatch, eventually, process, secs, slow, wait};
use std::time::Duration;

/// A replica under watch: its process must live on, and `/livez` must answer.
struct Watched {
    run: Running,
    child: i32,
}

impl Watched {
    fn start(url: &str) -> Self {
        let run = replica(url, "one", "").env("PORTCULLIS_HEARTBEAT__EVERY", "1s").env("PORTCULLIS_HEARTBEAT__TTL", "20s").start();
        run.until_status("/readyz", 200, secs(30));
        run.until_stdout("ready", secs(20));
        let child = run.child_pid("child");
        Self { run, child }
    }

    #[track_caller]
    fn lives(&self) {
        assert!(process::alive(self.child), "the process ended: {}", self.run.streams().1);
        assert_eq!(self.run.get("/livez").code, 200);
        assert_eq!(self.run.get("/readyz").code, 200, "readiness hangs on the heartbeat");
    }

    /// Watches until the log tells of the trouble and beats have failed so often that the pauses grow no more; what mends it then
    /// comes just after a beat that failed, with the longest pause ahead.
    fn through(&self, trouble: &str) {
        let before = self.failures();
        eventually(&format!("{trouble} is reported"), secs(30), || {
            self.lives();
            (self.run.streams().1.contains(trouble) && self.failures() >= before + 3).then_some(())
        });
    }

    /// As [`Watched::through`], for what is tried again every half minute.
    fn through_once(&self, trouble: &str) {
        eventually(&format!("{trouble} is reported"), secs(30), || {
            self.lives();
            self.run.streams().1.contains(trouble).then_some(())
        });
    }

    /// Beats that failed.
    fn failures(&self) -> u64 {
        let metrics = self.run.get("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with("portcullis_heartbeat_writes_total{result=\"error\"}"));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a count of failures")
    }

    /// Waits for the key by that Redis, which can be written again from now on.
    #[track_caller]
    fn recovers(&self, redis: &Redis, within: Duration) {
        let watch = Stopwatch::start();
        eventually("it is written again", within + secs(20), || {
            self.lives();
            let count = redis.command(&["ZCOUNT", &format!("portcullis:{{{KEY}}}:ready"), "-inf", "+inf"]);
            (redis.get(KEY).as_deref() == Some("ready") && count == Reply::Number(1) && redis.pttl(KEY) > 15_000).then_some(())
        });
        eprintln!("recovered after {:?}", watch.elapsed());
        assert!(watch.elapsed() < within, "recovered after {:?}", watch.elapsed());
    }

    fn stops(mut self) {
        self.run.signal(15);
        self.run.exits(0);
    }
}

fn forget(redis: &Redis) {
    redis.command(&["FLUSHALL"]);
}

#[test]
fn refused_and_then_restarted_empty() {
    let mut redis = Redis::start();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    redis.stop();
    run.through("[refused]");
    redis.restart();
    run.recovers(&redis, secs(5));
    run.stops();
    assert_eq!(redis.get(KEY), None);
}

#[test]
fn frozen() {
    let redis = Redis::start();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    redis.signal(19);
    run.through("[timeout]");
    redis.signal(18);
    run.recovers(&redis, secs(5));
    run.stops();
}

#[test]
fn made_a_replica() {
    let redis = Redis::start();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    run.through("[not_ready]");
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    forget(&redis);
    run.recovers(&redis, secs(5));
    run.stops();
}

#[test]
fn loading() {
    let mut redis = Redis::reserve().option("--key-load-delay 2000 --loading-process-events-interval-bytes 1024").started();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    redis.command(&["EVAL", "for i = 1, 5000 do redis.call('SET', 'k' .. i, string.rep('x', 200)) end", "0"]);
    assert_eq!(redis.command(&["SAVE"]), Reply::Text("OK".into()));
    redis.stop();
    redis.launch();
    run.through("[not_ready]");
    eventually("it is loaded", secs(60), || (redis.try_command(&["PING"]).ok()? == Reply::Text("PONG".into())).then_some(()));
    run.recovers(&redis, secs(5));
    run.stops();
}

#[test]
fn without_free_memory_heartbeats_still_pass() {
    let redis = Redis::start();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(matches!(redis.command(&["SET", "more", "x"]), Reply::Error(words) if words.starts_with("OOM")));
    let expiry = || redis.pttl(&format!("portcullis:{{{KEY}}}:i:one"));
    for _ in 0..2 {
        eventually("time passes", secs(20), || (expiry() < 19_500).then_some(()));
        eventually("a beat is taken", secs(20), || (expiry() > 19_500).then_some(()));
    }
    run.lives();
    run.stops();
    assert_eq!(redis.get(KEY), None, "and so is the last one");
}

#[test]
fn unable_to_save() {
    let redis = Redis::reserve().option("--enable-protected-configs yes").started();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    // Saving fails into a file that is a directory's; Redis then refuses writes.
    redis.command(&["CONFIG", "SET", "save", "3600 1000000"]);
    redis.command(&["CONFIG", "SET", "rdbcompression", "no"]);
    std::fs::create_dir(redis.dir().join("taken.rdb")).unwrap();
    std::fs::write(redis.dir().join("taken.rdb/file"), "").unwrap();
    redis.command(&["CONFIG", "SET", "dbfilename", "taken.rdb"]);
    eventually("a write is refused", secs(30), || {
        redis.command(&["BGSAVE"]);
        matches!(redis.command(&["SET", "more", "x"]), Reply::Error(words) if words.starts_with("MISCONF")).then_some(())
    });
    run.through("[not_ready]");
    redis.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    forget(&redis);
    run.recovers(&redis, secs(5));
    run.stops();
}

#[test]
fn without_enough_replicas() {
    let redis = Redis::start();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    run.through("[not_ready]");
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    forget(&redis);
    run.recovers(&redis, secs(5));
    run.stops();
}

#[test]
fn full_of_clients() {
    let redis = Redis::start();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    redis.command(&["CONFIG", "SET", "maxclients", "2"]);
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    let others = [(); 2].map(|()| std::net::TcpStream::connect(("127.0.0.1", redis.port)).unwrap());
    run.through("[refused]");
    drop(others);
    eventually("there is room", secs(30), || (redis.try_command(&["PING"]).ok()? == Reply::Text("PONG".into())).then_some(()));
    run.recovers(&redis, secs(5));
    run.stops();
}

#[test]
fn with_a_password_that_was_not_there_before() {
    if !slow("with_a_password_that_was_not_there_before") {
        return;
    }
    let redis = Redis::start();
    let run = Watched::start(&redis.url());
    until_key(&redis, Some("ready"));
    let port = redis.port.to_string();
    let cli = |words: &[&str]| {
        let output = std::process::Command::new("redis-cli").args(["-p", &port, "--no-auth-warning"]).args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    cli(&["CONFIG", "SET", "requirepass", "new"]);
    cli(&["-a", "new", "CLIENT", "KILL", "TYPE", "normal"]);
    run.through_once("[auth]");
    cli(&["-a", "new", "CONFIG", "SET", "requirepass", ""]);
    forget(&redis);
    run.recovers(&redis, secs(31));
    run.stops();
}

#[test]
fn replaced_by_its_sentinel() {
    let master = Redis::start();
    let second = Redis::reserve().option(&format!("--replicaof 127.0.0.1 {}", master.port)).started();
    let sentinel = Redis::sentinel("mymaster", master.port);
    sentinel.command(&["SENTINEL", "SET", "mymaster", "down-after-milliseconds", "1000"]);
    let run = Watched::start(&format!("redis+sentinel://127.0.0.1:{}/mymaster/0", sentinel.port));
    until_key(&master, Some("ready"));
    eventually("the sentinel knows the replica", secs(60), || match sentinel.command(&["SENTINEL", "REPLICAS", "mymaster"]) {
        Reply::List(replicas) => (!replicas.is_empty()).then_some(()),
        _ => None,
    });
    drop(master);
    eventually("the replica is the master", secs(90), || {
        run.lives();
        // The sentinel has it close every connection as it becomes the master.
        match second.try_command(&["ROLE"]) {
            Ok(Reply::List(role)) => (role.first() == Some(&Reply::Text("master".into()))).then_some(()),
            _ => None,
        }
    });
    run.recovers(&second, secs(5));
    run.stops();
    assert_eq!(second.get(KEY), None);
}

#[test]
fn in_a_cluster_whose_slot_moves_to_another_node() {
    let nodes: Vec<Redis> = (0..3).map(|_| Redis::of_cluster()).collect();
    let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let output = std::process::Command::new("redis-cli").args(["--cluster", "create"]).args(&addresses).arg("--cluster-yes").output();
    assert!(output.unwrap().status.success());
    let up = |node: &Redis| matches!(node.command(&["CLUSTER", "INFO"]), Reply::Text(info) if info.contains("cluster_state:ok"));
    eventually("the cluster is up", secs(30), || nodes.iter().all(up).then_some(()));
    let run = Watched::start(&format!("redis+cluster://{}", addresses.join(",")));
    // Its slot is 15838, the last node's.
    eventually("the owner has the key", secs(30), || (nodes[2].get(KEY).as_deref() == Some("ready")).then_some(()));
    let name = |node: &Redis| match node.command(&["CLUSTER", "MYID"]) {
        Reply::Text(id) => id,
        other => panic!("{other:?}"),
    };
    forget(&nodes[2]);
    let target = name(&nodes[0]);
    for node in [&nodes[0], &nodes[2], &nodes[1]] {
        // A slot with keys is not given away: beats may have come in between.
        eventually("the slot is given away", secs(20), || {
            let given = node.command(&["CLUSTER", "SETSLOT", "15838", "NODE", &target]);
            if given != Reply::Text("OK".into()) {
                forget(&nodes[2]);
            }
            (given == Reply::Text("OK".into())).then_some(())
        });
    }
    run.recovers(&nodes[0], secs(5));
    let read = run.run.beside(["ready", "api", "--url", &format!("redis+cluster://{}", addresses.join(","))]).exits(0);
    assert!(read.stdout.contains("api: 1 ready"), "{}", read.stdout);
    run.stops();
}

#[test]
fn restarted_with_its_journal_before_the_deadline() {
    let mut redis = Redis::reserve().option("--appendonly yes --appendfsync always").started();
    let mut run = replica(&redis.url(), "one", "").start();
    until_key(&redis, Some("ready"));
    run.signal(9);
    run.wait_exit(secs(20));
    let left = redis.pttl(KEY);
    redis.restart();
    assert_eq!(redis.get(KEY).as_deref(), Some("ready"), "nobody has said that it is not");
    assert!((1..=left).contains(&redis.pttl(KEY)), "its time was stretched");
}

#[test]
fn restarted_with_its_journal_after_the_deadline() {
    let mut redis = Redis::reserve().option("--appendonly yes --appendfsync always").started();
    let mut run = replica(&redis.url(), "one", "").env("PORTCULLIS_HEARTBEAT__EVERY", "1s").env("PORTCULLIS_HEARTBEAT__TTL", "3s").start();
    until_key(&redis, Some("ready"));
    run.signal(9);
    run.wait_exit(secs(20));
    redis.stop();
    wait::never("an instant", secs(3), || false);
    redis.restart();
    assert_eq!(redis.get(KEY), None, "time went on while it was away");
}

#[test]
fn frozen_with_a_replica_that_is_read() {
    let redis = Redis::start();
    let second = Redis::reserve().option(&format!("--replicaof 127.0.0.1 {}", redis.port)).started();
    let run = replica(&redis.url(), "one", "").env("PORTCULLIS_HEARTBEAT__EVERY", "1s").env("PORTCULLIS_HEARTBEAT__TTL", "3s").start();
    until_key(&second, Some("ready"));
    redis.signal(19);
    let watch = Stopwatch::start();
    until_key(&second, None);
    assert!(watch.elapsed() < secs(5), "{:?}", watch.elapsed());
    redis.signal(18);
    until_key(&second, Some("ready"));
    drop(run);
}
