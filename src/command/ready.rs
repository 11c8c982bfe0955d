//! `portcullis ready`: lists the ready instances of a service from the registry in Redis.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::printing::print;
use super::stability::Stability;
use crate::clock::patience;
use crate::config::source::Environment;
use crate::exit::Exit;
use crate::log::stream;
use crate::outcome::{ErrorKind, Failure};
use crate::plan::resolve;
use crate::plan::target::RedisPlace;
use crate::probe::redis::heartbeat_reader::{HeartbeatReader, InstanceRecord};
use crate::probe::redis::open;
use crate::visible;

/// How long one reading may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two readings, before jitter of a fifth.
const PAUSE: Duration = Duration::from_secs(1);

/// The options of the command line.
#[derive(Debug)]
pub struct Options {
    /// The service.
    pub service: String,
    /// How many have to be ready.
    pub min: u64,
    /// Print every change, until interrupted.
    pub watch: bool,
    /// For how long that many have to be ready without interruption; zero: one reading is enough.
    pub stable: Duration,
    /// JSON, one document per reading.
    pub json: bool,
    /// The Redis; none: that of the configuration's heartbeat.
    pub url: Option<String>,
    /// The configuration file.
    pub config: Option<PathBuf>,
}

/// The result of one reading.
#[derive(Debug, PartialEq)]
struct Found {
    ready: u64,
    instances: Vec<InstanceRecord>,
}

/// Lists them; 0 if enough are ready, 69 if not or if Redis cannot be read.
pub fn run(options: &Options, environment: &Environment) -> u8 {
    let found = resolve::heartbeat_location(options.config.as_deref(), options.url.as_deref(), &options.service, environment);
    let (place, key) = match found {
        Ok(Some(found)) => found,
        Ok(None) => {
            return complain("no Redis is configured: use --url, [heartbeat] in the configuration, or REDIS_HOST", Exit::Config);
        }
        Err(problems) => return complain(&problems.to_string(), problems.exit()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(cause) => {
            return complain(&format!("the kernel refused the resources for the query: {cause}; check the limits"), Exit::Internal);
        }
    };
    let code = runtime.block_on(look_on(options, &place, &key));
    // A running query is no longer needed.
    runtime.shutdown_background();
    code
}

async fn look_on(options: &Options, place: &RedisPlace, key: &str) -> u8 {
    let mut reader = HeartbeatReader::new(key);
    let mut printed = String::new();
    let (began, mut stability) = (Instant::now(), Stability::new(options.stable));
    loop {
        let began_look = began.elapsed();
        let look = timeout(TIMEOUT, look(place, key, &mut reader)).await;
        let look = look.unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, "no response in time")));
        let enough = look.as_ref().is_ok_and(|found| found.ready >= options.min);
        let left = stability.look(began_look, began.elapsed(), enough);
        if let Some(left) = left.filter(|left| !options.watch && !left.is_zero()) {
            if !patience::pause(pause().min(left)).await {
                stability.interrupt();
            }
            continue;
        }
        match &look {
            Ok(found) => {
                let text = if options.json { as_json(options, key, found) } else { as_text(options, found) };
                // A change of only the age is not printed.
                let news = if options.json { text.clone() } else { as_text(options, &found.timeless()) };
                if news != printed {
                    printed = news;
                    if let Err(exit) = print(&text) {
                        return exit.code();
                    }
                }
            }
            Err(failure) => {
                let (why, details) = (failure.reason(), failure.private.as_str());
                let words = format!("cannot read {place}: {} [{}] ({details}); {}", why.words(), why.kind.word(), why.advice());
                if words != printed {
                    complain(&words, Exit::Unavailable);
                    printed = words;
                }
            }
        }
        if !options.watch {
            return if enough { Exit::Success } else { Exit::Unavailable }.code();
        }
        sleep(pause()).await;
    }
}

/// The pause between two readings, with jitter so that many readers do not read at the same time.
fn pause() -> Duration {
    PAUSE.mul_f64(0.8 + 0.4 * fastrand::f64())
}

async fn look(place: &RedisPlace, key: &str, reader: &mut HeartbeatReader) -> Result<Found, Failure> {
    let mut session = open(place, key, TIMEOUT).await?;
    let ready = reader.count(&mut session).await?;
    let instances = reader.list(&mut session).await?;
    Ok(Found { ready, instances })
}

impl Found {
    fn timeless(&self) -> Self {
        let instances = self.instances.iter().map(|instance| InstanceRecord { expires_in: 0, ..instance.clone() }).collect();
        Self { ready: self.ready, instances }
    }
}

fn as_text(options: &Options, found: &Found) -> String {
    let mut text = format!("{}: {} ready, {} wanted\n", options.service, found.ready, options.min);
    for InstanceRecord { id, ready, payload, .. } in &found.instances {
        let word = |name: &str| visible::line(payload.get(name).and_then(|value| value.as_str()).unwrap_or("-"));
        let id = visible::line(id);
        let state = if *ready { "ready" } else { "not ready" };
        let _ = writeln!(text, "  {id:<32} {state:<10} {:<8} {:<10} {}", word("state"), word("phase"), word("addr"));
    }
    if found.instances.is_empty() && found.ready > 0 {
        text.push_str("  according to the shared key; its writer records no instances\n");
    }
    text
}

fn as_json(options: &Options, key: &str, found: &Found) -> String {
    let instances: Vec<_> = found
        .instances
        .iter()
        .map(|instance| json!({ "id": instance.id, "ready": instance.ready, "expires_in_ms": instance.expires_in, "said": instance.payload }))
        .collect();
    let document = json!({
        "service": options.service, "key": key, "ready": found.ready, "min": options.min, "enough": found.ready >= options.min,
        "instances": instances,
    });
    format!("{document}\n")
}

fn complain(words: &str, exit: Exit) -> u8 {
    let _ = writeln!(stream::stderr(), "portcullis: {words}");
    exit.code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_of_redis_moves_no_cursor_and_forges_no_line() {
        assert_eq!(visible::line("\x1b[31mapi-1\n  api-2  ready"), "\\u001b[31mapi-1\\n  api-2  ready");
        assert_eq!(visible::line("api-ü"), "api-ü");
    }
}
