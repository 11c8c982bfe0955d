//! Every kind of target with the real server, and `wait` for them.

mod brokers;
mod databases;
mod exec;
mod grpc;
mod hostile;
mod http;
mod kept;
mod local;
mod mysql;
mod names;
mod network;
mod parameters;
mod pinned;
mod poolers;
mod rate_limited;
mod redirects;
mod redis;
mod wait;

use crate::support::Portcullis;
use crate::support::portcullis::Output;

/// `portcullis wait` for up to two seconds.
fn wait_for(url: &str) -> Output {
    wait_with(&["--timeout", "2s", url])
}

fn wait_with(arguments: &[&str]) -> Output {
    Portcullis::new().args(["wait"].iter().chain(arguments)).output()
}

/// Fails unless the target is ready.
#[track_caller]
fn passes(url: &str) {
    wait_for(url).exits(0).says(&["is ready after"]);
}

/// Fails unless the target is not ready for these reasons.
#[track_caller]
fn fails(url: &str, words: &[&str]) {
    wait_for(url).exits(69).says(&["is not ready"]).says(words);
}
