//! docker/example with docker-compose: the order of its start, one migration, a lost Redis, stops within their budgets.

use crate::support::{Shop, Stopwatch, eventually, secs};
use serde_json::Value;

const APPS: [&str; 5] = ["api_1", "api_2", "api_3", "worker_1", "beat_1"];

/// What the engine saw happen, in its order: `health_status: healthy shop_api_1`.
fn events(shop: &Shop) -> Vec<String> {
    let format = "{{.Action}} {{.Actor.Attributes.name}}";
    let all = ["events", "--since", "1", "--until", "0s", "--filter", "event=start", "--filter", "event=health_status", "--format", format];
    shop.docker(&all).lines().map(str::to_owned).collect()
}

fn state(shop: &Shop, order: &Value) -> String {
    shop.ask("api_1", "GET", &format!("/orders/{order}"))["state"].as_str().expect("a state").to_owned()
}

#[test]
fn compose_starts_it_in_order_and_three_replicas_migrate_once() {
    let Some(shop) = Shop::open("compose_starts_it_in_order_and_three_replicas_migrate_once") else { return };
    shop.compose(&["up", "--detach", "--no-build", "--scale", "api=3"]);
    for app in APPS {
        shop.container(app).until_health("healthy");
    }
    let listed = shop.docker(&["ps", "--format", "{{.Names}} {{.Status}}"]);
    for app in APPS {
        assert!(listed.lines().any(|line| line.starts_with(&format!("shop_{app} ")) && line.ends_with("(healthy)")), "{listed}");
    }
    let events = events(&shop);
    let when = |event: &str| events.iter().position(|seen| seen == event).unwrap_or_else(|| panic!("no {event} in {events:?}"));
    for follower in ["start shop_worker_1", "start shop_beat_1"] {
        for api in ["api_1", "api_2", "api_3"] {
            assert!(when(&format!("health_status: healthy shop_{api}")) < when(follower), "{events:?}");
        }
    }
    // The migration fails when it is run twice.
    let logs: Vec<_> = APPS.map(|app| shop.container(app).logs()).into();
    let count = |words: &str| logs.iter().filter(|log| log.contains(words)).count();
    assert_eq!((count("running the migration"), count("so the migration is skipped")), (1, 4), "{logs:#?}");
    for (service, least) in [("api", "3"), ("worker", "1"), ("beat", "1")] {
        let ready = shop.container("api_1").exec(&["/portcullis", "ready", service, "--min", least]);
        assert!(ready.status.success(), "{service}: {ready:?}");
    }
    // It works: api, worker and beat each do their part.
    let order = shop.ask("api_2", "POST", "/orders")["id"].clone();
    eventually("the order is shipped", secs(60), || (state(&shop, &order) == "shipped").then_some(()));
    shop.compose(&["down", "--volumes"]);
    assert_eq!(shop.docker(&["ps", "--all", "--quiet"]), "");
    shop.close();
}

#[test]
fn compose_loses_redis_and_stops_with_the_codes_of_the_apps() {
    let Some(shop) = Shop::open("compose_loses_redis_and_stops_with_the_codes_of_the_apps") else { return };
    shop.compose(&["up", "--detach", "--no-build"]);
    let (api, worker) = (shop.container("api_1"), shop.container("worker_1"));
    for app in [&api, &worker] {
        app.until_health("healthy");
    }
    let status = |level: &str| api.exec(&["/portcullis", "healthcheck", "--level", level]).status.code();
    shop.docker(&["kill", "--signal", "KILL", "shop_redis_1"]);
    let newest = api.until_health("unhealthy");
    let said = newest["Output"].as_str().unwrap_or_default();
    assert!(said.starts_with("not healthy: redis: ") && said.lines().count() == 1, "{said}");
    assert_eq!((status("deep"), status("ready"), status("live")), (Some(1), Some(0), Some(0)), "it serves on without Redis");
    shop.docker(&["start", "shop_redis_1"]);
    assert_eq!(api.until_health("healthy")["Output"], "healthy\n");
    eventually("the heartbeat is back", secs(60), || api.exec(&["/portcullis", "ready", "api"]).status.success().then_some(()));
    // This Celery may stop consuming once its broker was away, under any supervisor.
    worker.docker(&["restart"]);
    worker.until_health("healthy");
    // Celery finishes what it holds.
    let order = eventually("the api reaches its broker", secs(60), || {
        let order = shop.ask("api_1", "POST", "/orders")["id"].clone();
        eventually("the worker has the order in its hands", secs(60), || (state(&shop, &order) != "new").then_some(()));
        (state(&shop, &order) == "packing").then_some(order)
    });
    let watch = Stopwatch::start();
    worker.docker(&["stop"]);
    assert_eq!(worker.state()["ExitCode"], 0, "{}", worker.logs());
    assert!(watch.elapsed() < secs(20), "{:?}", watch.elapsed());
    assert!(["packed", "shipped"].contains(&state(&shop, &order).as_str()), "{}", state(&shop, &order));
    let watch = Stopwatch::start();
    api.docker(&["stop"]);
    assert_eq!(api.state()["ExitCode"], 0, "{}", api.logs());
    assert!(watch.elapsed() < secs(20), "{:?}", watch.elapsed());
    shop.compose(&["down", "--volumes"]);
    shop.close();
}
