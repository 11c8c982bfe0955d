//! What a process reports of itself: read, taken into the state, and shown by every view; and a child that reports nothing but nonsense
//! changes no deadline by more than the plan allows.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::notices;
use portcullis::plan::Plan;
use portcullis::state::event::{Event, ProcessId};
use portcullis_fuzz::{plan, render_all, running};

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    plan("notify", "mode = \"api\"\n[process]\nwatchdog = \"10s\"\n[modes.api]\ncommand = [\"true\"]\n[modes.api.started]\nnotify = true\nwithin = \"1m\"\n")
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (mut lifecycle, mut now) = running(&PLAN);
    for notice in notices(&text) {
        now = now.after(Duration::from_millis(1));
        lifecycle.apply(now, Event::Notified(ProcessId::Main, notice));
    }
    let look = portcullis::state::snapshot::Look::fresh(now);
    render_all(lifecycle.snapshot(), look);
});
