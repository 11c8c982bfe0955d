//! Runs a command and checks its status; checks whether the main process runs.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::config::children;
use crate::config::source::Environment;
use crate::exit::Ended;
use crate::mailbox::{Mailbox, ProcessRequest};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::CommandPlan;
use crate::process::notify::NotifyWays;
use crate::process::spawn::{self, InheritedEnvironment};
use crate::sys;
use crate::sys::start::Birth;

/// The time between two checks of a command without a supervisor.
const LOOK: Duration = Duration::from_millis(3);

/// Passes if the command exits with status 0. If dropped before that, the command's group is killed.
///
/// A supervisor starts and reaps the command; without one, the calling thread has to be the only one that waits for children.
pub(super) async fn probe_command(plan: &CommandPlan, supervisor: Option<&Mailbox>) -> Result<(), Failure> {
    let ended = match supervisor {
        Some(mailbox) => through(mailbox, plan).await?,
        None => alone(plan).await,
    };
    match ended {
        Ok(Ended::Code(0)) => Ok(()),
        Ok(ended) => Err(Failure::new(ErrorKind::Exit, &format!("{} ended with {ended}", plan.argv))),
        Err(sentence) => Err(Failure::new(ErrorKind::Exit, &sentence)),
    }
}

/// Passes if the main process, or the module of this name, runs.
pub(super) async fn probe_process(module: Option<&str>, supervisor: Option<&Mailbox>) -> Result<(), Failure> {
    let Some(mailbox) = supervisor else { return Err(Failure::new(ErrorKind::Exited, "there is no process here")) };
    let (answer, answered) = oneshot::channel();
    mailbox.request(ProcessRequest::Runs(module.map(str::to_owned), answer));
    match answered.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(
            ErrorKind::Exited,
            &module.map_or_else(|| "the main process does not run".to_owned(), |module| format!("the module {module} does not run")),
        )),
        Err(_) => Err(shutting_down()),
    }
}

fn shutting_down() -> Failure {
    Failure::new(ErrorKind::Exited, "portcullis is shutting down")
}

/// Wakes the supervisor when the probe is dropped, so that it notices that the result is no longer needed.
struct Wake<'m>(&'m Mailbox);

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        self.0.ring();
    }
}

async fn through(mailbox: &Mailbox, plan: &CommandPlan) -> Result<Result<Ended, String>, Failure> {
    // Dropped after the receiver, which was declared later, so that the supervisor finds it closed.
    let _wake = Wake(mailbox);
    let (answer, answered) = oneshot::channel();
    mailbox.request(ProcessRequest::Run(Box::new(plan.clone()), answer));
    answered.await.map_err(|_| shutting_down())
}

/// A command that is killed with its group unless it was reaped. The thread that started it lives as long.
struct Own {
    birth: Arc<Birth>,
    executes: bool,
    reaped: bool,
    _until: mpsc::Sender<()>,
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(pid) = self.birth.pid().filter(|_| !self.reaped) {
            let _ = sys::send(pid.saturating_neg(), libc::SIGKILL);
            // A process that hangs in exec may not even react to KILL.
            let _ = sys::reap_one(pid, self.executes);
        }
    }
}

async fn alone(plan: &CommandPlan) -> Result<Ended, String> {
    let inherited = InheritedEnvironment {
        environment: children::variables(&Environment::of_process()),
        directory: std::env::current_dir().ok(),
        ..InheritedEnvironment::default()
    };
    let prepared = spawn::prepare(plan, &inherited, &NotifyWays::default()).map_err(|error| error.sentence)?;
    let (birth, (until, lives), (started, starting)) = (Arc::new(Birth::default()), mpsc::channel(), oneshot::channel());
    let theirs = Arc::clone(&birth);
    let body = move || {
        let _ = started.send(prepared.start(&theirs));
        let _ = lives.recv();
    };
    sys::start_thread("start", body).map_err(|error| format!("cannot start {}: {error}; check the limits", plan.argv))?;
    let mut own = Own { birth, executes: false, reaped: false, _until: until };
    let result = starting.await.unwrap_or(Ok(()));
    let Some(pid) = own.birth.pid() else { return Err(result.err().map_or_else(String::new, |error| error.sentence)) };
    own.executes = true;
    if let Err(error) = result {
        return Err(error.sentence);
    }
    loop {
        if let Some(ended) = sys::reap_one(pid, false) {
            own.reaped = true;
            return Ok(ended);
        }
        sleep(LOOK).await;
    }
}
