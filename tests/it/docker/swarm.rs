//! docker/example on a swarm with one node: it waits by itself, survives a lost Redis, and is updated one by one.

use crate::support::wait::never;
use crate::support::{Shop, eventually, secs};

const APPS: [&str; 3] = ["shop_api", "shop_worker", "shop_beat"];

/// Whether all replicas of the services run; a swarm counts one with a health check only once that says so.
fn all_run(shop: &Shop) -> bool {
    let listed = shop.docker(&["service", "ls", "--format", "{{.Name}} {{.Replicas}}"]);
    let runs = |line: &str| line.split_once(' ').is_some_and(|(_, count)| count.split_once('/').is_some_and(|(now, all)| now == all));
    APPS.iter().all(|app| listed.lines().any(|line| line.starts_with(app) && runs(line)))
}

/// Tasks of the application that a swarm has given up.
fn failed(shop: &Shop) -> String {
    let all = shop.docker(&["stack", "ps", "shop", "--no-trunc", "--format", "{{.Name}} {{.CurrentState}} {{.Error}}"]);
    all.lines().filter(|line| APPS.iter().any(|app| line.starts_with(app)) && line.contains(" Failed ")).collect()
}

#[test]
fn swarm_starts_it_spares_it_without_redis_and_renews_it() {
    let Some(shop) = Shop::open("swarm_starts_it_spares_it_without_redis_and_renews_it") else { return };
    shop.deploy();
    eventually("all replicas are healthy", secs(90), || all_run(&shop).then_some(()));
    assert_eq!(failed(&shop), "", "no container was killed while it waited");
    let api = shop.docker(&["ps", "--quiet", "--filter", "name=shop_api.1."]);
    let status = |level: &str| shop.code(&["exec", api.trim(), "/portcullis", "healthcheck", "--level", level]);
    // Three failed checks, 5 s apart, would be a swarm's reason to kill.
    shop.docker(&["service", "scale", "shop_redis=0"]);
    eventually("the api misses its Redis", secs(60), || (status("deep") == Some(1)).then_some(()));
    never("the swarm gives up on the api", secs(20), || !failed(&shop).is_empty());
    assert_eq!((status("ready"), all_run(&shop)), (Some(0), true));
    shop.docker(&["service", "scale", "shop_redis=1"]);
    eventually("the api has its Redis back", secs(60), || (status("deep") == Some(0)).then_some(()));
    // One by one, and the next only when the one before is healthy: this returns when all are new.
    shop.docker(&["service", "update", "--force", "--quiet", "--detach=false", "shop_api"]);
    assert!(failed(&shop).is_empty() && all_run(&shop), "{}", failed(&shop));
    assert_eq!(status("live"), Some(1), "the old one is gone");
    shop.docker(&["swarm", "leave", "--force"]);
    shop.close();
}
