//! The thread of the health endpoint, which is restarted if it fails.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tracing::error;

use super::{FIRST_PAUSE, LONGEST_PAUSE, Subsystems};
use crate::plan::HealthPlan;
use crate::published::Published;
use crate::server::{Controller, Listeners};
use crate::sys;

/// Serves the health endpoint on a separate thread, and restarts it if it fails.
pub fn serve(
    listeners: Listeners,
    plan: Arc<HealthPlan>,
    published: Arc<Published>,
    controller: Option<Controller>,
    subsystems: Subsystems,
) -> io::Result<()> {
    let body = move || {
        let mut pause = FIRST_PAUSE;
        loop {
            let Ok(listeners) = listeners.try_clone() else {
                error!("cannot duplicate the health listeners; the health endpoint is gone");
                return;
            };
            let serving = || (subsystems.health)(listeners, Arc::clone(&plan), Arc::clone(&published), controller.clone());
            let fault = match catch_unwind(AssertUnwindSafe(serving)) {
                Ok(Ok(never)) => match never {},
                Ok(Err(cause)) => cause.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            error!("the health endpoint failed ({fault}); starting it again in {}", humantime::format_duration(pause));
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    sys::start_thread("health", body)
}
