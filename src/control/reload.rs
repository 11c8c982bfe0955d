//! Reads the configuration again: it is applied as a whole, or refused with all reasons.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::orders::{is_settled, up_or_not};
use super::{Control, OrderResult, TAKEN_WITHIN};
use crate::clock::Moment;
use crate::config::problem::Problems;
use crate::exit::Exit;
use crate::plan::reload::Reload;
use crate::plan::resolve::resolve;
use crate::plan::{ModuleId, Plan};
use crate::state::event::Event;
use crate::state::snapshot::{Module, ModuleState, Phase, Snapshot};
use crate::sys;

/// The snapshot before a reload whose result is not known yet; none otherwise.
pub(super) type Sent = Option<Arc<Snapshot>>;

/// The result of the last reload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum News {
    /// It was applied.
    Taken,
    /// It came too late to be applied.
    Refused,
}

/// An applied reload.
pub(super) struct Applied {
    words: String,
    /// The snapshot before it.
    before: Arc<Snapshot>,
    concerned: Vec<ModuleId>,
    plan: Arc<Plan>,
}

impl Control {
    /// Reads, compares and applies; returns what was done, or why nothing was or had to be done.
    pub(super) async fn reload(&self) -> Result<Applied, OrderResult> {
        let mut sent = self.reload.lock().await;
        if sent.is_some() && self.catch_up(&mut sent).await.is_none() {
            return Err(self.over().unwrap_or_else(not_taken));
        }
        let running = self.published.plan();
        if let Some(refusal) = self.over().or_else(|| self.too_early(&running)) {
            return Err(refusal);
        }
        let read = match self.read_again().await {
            Some(Ok(plan)) => plan,
            Some(Err(problems)) => {
                let lines = problems.iter().map(ToString::to_string).collect();
                return Err(OrderResult::new(Exit::Config, "the configuration has errors; nothing was changed").with(lines));
            }
            None => {
                let why = "reading the configuration failed; see the log; nothing was changed";
                return Err(OrderResult::new(Exit::Internal, why));
            }
        };
        let reload = match Reload::new(&running, read) {
            Ok(reload) => reload,
            Err(lines) => {
                let why = "this cannot change while it runs; restart the container to apply it; nothing was changed";
                return Err(OrderResult::new(Exit::NeedsRestart, why).with(lines));
            }
        };
        for notice in reload.plan.notices.iter().filter(|notice| !running.notices.contains(notice)) {
            warn!("{notice}");
        }
        let words = reload.words();
        if reload.is_empty() {
            return Err(OrderResult::new(Exit::Success, words));
        }
        let concerned = concerned(&reload);
        let before = self.published.look().0;
        info!("reloading: {words}");
        *sent = Some(Arc::clone(&before));
        let plan = Arc::new(reload.plan);
        self.mailbox.send(Event::Reloaded(Arc::clone(&plan)));
        match self.catch_up(&mut sent).await {
            Some(News::Taken) => Ok(Applied { words, before, concerned, plan }),
            Some(News::Refused) => Err(self.over().unwrap_or_else(overtaken)),
            None => Err(self.over().unwrap_or_else(not_taken)),
        }
    }

    /// Waits until the modules of a reload have reached their state, or cannot reach it.
    pub(super) async fn reloaded(&self, applied: &Applied, until: Moment) -> OrderResult {
        let Applied { words, before, concerned, plan } = applied;
        let settled = |snapshot: &Snapshot| {
            let removed = || plan.retired.modules.iter().all(|id| snapshot.module(*id).is_none());
            (snapshot.phase.is_leaving() || (concerned.iter().all(|id| is_settled(snapshot, *id)) && removed())).then_some(())
        };
        let _ = self.until(until, settled).await;
        let snapshot = self.published.look().0;
        let gone = plan.retired.modules.iter().filter_map(|id| snapshot.module(*id));
        let gone = gone.map(|module| (Exit::Unavailable, format!("module {} is still being stopped", module.name)));
        let requested = |id: &ModuleId| snapshot.module(*id).filter(|module| module.state != ModuleState::Resolved);
        let results: Vec<(Exit, String)> =
            concerned.iter().filter_map(requested).map(|module| became(before.module(module.id), module)).chain(gone).collect();
        let exit = results.iter().map(|(exit, _)| *exit).find(|exit| *exit != Exit::Success).unwrap_or(Exit::Success);
        OrderResult::new(exit, words.as_str()).with(results.into_iter().map(|(_, sentence)| sentence).collect())
    }

    /// Waits for the result of the last reload; none if that takes too long or the supervisor has ended.
    async fn catch_up(&self, sent: &mut Sent) -> Option<News> {
        let before = Arc::clone(sent.as_ref()?);
        let news = |snapshot: &Snapshot| match () {
            () if snapshot.reloads > before.reloads => Some(Some(News::Taken)),
            () if snapshot.reloads_refused > before.reloads_refused => Some(Some(News::Refused)),
            () => snapshot.phase.is_leaving().then_some(None),
        };
        let news = self.until(Moment::now().after(TAKEN_WITHIN), news).await.flatten()?;
        *sent = None;
        Some(news)
    }

    fn too_early(&self, running: &Plan) -> Option<OrderResult> {
        let snapshot = self.published.look().0;
        if snapshot.phase != Phase::Running {
            return Some(OrderResult::new(
                Exit::Unavailable,
                format!("the process has to run first: the phase is {}", snapshot.phase.word()),
            ));
        }
        let leaving = running.retired.modules.iter().find_map(|id| snapshot.module(*id))?;
        Some(OrderResult::new(Exit::Unavailable, format!("module {} is still being stopped by the last reload", leaving.name)))
    }

    /// On a separate thread, because files may be slow and health responses must not wait for them. None if that thread failed.
    async fn read_again(&self) -> Option<Result<Plan, Problems>> {
        let (sender, receiver) = oneshot::channel();
        let sources = Arc::clone(&self.sources);
        let body = move || drop(sender.send(resolve(&sources.request, &sources.environment)));
        sys::start_thread("reload", body).ok()?;
        receiver.await.ok()
    }
}

fn not_taken() -> OrderResult {
    OrderResult::new(Exit::Internal, "the configuration was not applied; see the log")
}

/// The process ended while the configuration was read.
fn overtaken() -> OrderResult {
    OrderResult::new(Exit::Unavailable, "the process has to run first, and ended meanwhile; nothing was changed")
}

/// The result for a module of the reload: one that did not run is not started.
fn became(was: Option<&Module>, is: &Module) -> (Exit, String) {
    let at_rest = was.is_some_and(|was| matches!(was.state, ModuleState::Stopping | ModuleState::Deactivated));
    if at_rest && is.state == ModuleState::Deactivated {
        return (Exit::Success, format!("module {} did not run, and stays stopped", is.name));
    }
    up_or_not(is)
}

/// The modules that are new or have changed.
fn concerned(reload: &Reload) -> Vec<ModuleId> {
    let names = || reload.modules.added.iter().chain(&reload.modules.changed);
    let modules = reload.plan.modules.iter().filter(|module| !reload.plan.retired.modules.contains(&module.id));
    modules.filter(|module| names().any(|name| *name == module.name)).map(|module| module.id).collect()
}
