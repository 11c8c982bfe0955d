//! The registry in Redis: its rules for each heartbeat, its writers and readers, and every failure of Redis.

mod beats;
mod consumers;
mod instances;
mod nonsense;
mod observed;
mod required;
mod transport;
mod trouble;

use crate::support::child::polite;
use crate::support::{Portcullis, Redis, eventually, secs};

/// The shared key of the service `api`.
const KEY: &str = "api_service_status";

/// A replica of the service `api` that beats into this Redis.
fn replica(url: &str, name: &str, more: &str) -> Portcullis {
    let run = Portcullis::new().env("PORTCULLIS_INSTANCE_ID", name);
    let child = run.script("child", &polite());
    let config = format!("mode = \"api\"\n[heartbeat]\nurl = \"{url}\"\n[modes.api]\ncommand = [\"{}\"]\n{more}\n", child.display());
    run.config(&config)
}

fn until_key(redis: &Redis, value: Option<&str>) {
    eventually(&format!("{KEY} is {value:?}"), secs(30), || (redis.get(KEY).as_deref() == value).then_some(()));
}
