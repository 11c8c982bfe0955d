//! What the scripts of the registry answer, as Redis sends it: bounded instances, and views that show them.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis::fuzzing::{instances, listed};
use portcullis::plan::Plan;
use portcullis::state::event::Event;
use portcullis::state::snapshot::Look;
use portcullis_fuzz::{plan, render_all, running};

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    plan("records", "mode = \"api\"\n[modes.api]\ncommand = [\"true\"]\n[heartbeat]\nurl = \"redis://127.0.0.1:1/0\"\n")
});

fuzz_target!(|data: &[u8]| {
    if let Some(found) = listed(data) {
        assert!(found.iter().all(|instance| instance.id.len() <= 3 * 255));
        assert!(serde_json::to_string(&found.iter().map(|instance| &instance.payload).collect::<Vec<_>>()).is_ok());
    }
    let (mut lifecycle, now) = running(&PLAN);
    let Some(instances_read) = instances(data, now) else { return };
    assert!(instances_read.listed.len() <= 100);
    lifecycle.apply(now, Event::Counted(Arc::new(instances_read)));
    for later in [0, 1, 86_400] {
        render_all(lifecycle.snapshot(), Look::fresh(now.after(Duration::from_secs(later))));
    }
});
