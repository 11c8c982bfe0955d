//! Start, stop and restart of modules by name: all instances at once, and the result as a sentence.

use tracing::info;

use super::{Control, OrderResult, TAKEN_WITHIN};
use crate::clock::Moment;
use crate::config::problem::suggest;
use crate::exit::Exit;
use crate::plan::ModuleId;
use crate::state::event::{Event, Order};
use crate::state::snapshot::{Module, ModuleState, Snapshot};

/// How much of an unknown name is repeated in a message: no module has a longer name.
const LONGEST_NAME: usize = 80;

/// The requested action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    pub(super) fn new(word: &str) -> Option<Self> {
        [Self::Start, Self::Stop, Self::Restart].into_iter().find(|verb| verb.word() == word)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    const fn order(self, id: ModuleId) -> Order {
        match self {
            Self::Start => Order::Start(id),
            Self::Stop => Order::Stop(id),
            Self::Restart => Order::Restart(id),
        }
    }
}

impl Control {
    /// Sends the request for every instance of the module; returns their previous state, or why nothing was sent.
    pub(super) async fn order(&self, name: &str, verb: Verb) -> Result<Vec<Module>, OrderResult> {
        if let Some(over) = self.over() {
            return Err(over);
        }
        let before = instances(&self.published.look().0, name);
        if before.is_empty() {
            let snapshot = self.published.look().0;
            let known = || snapshot.modules.iter().map(|module| module.name.as_str());
            let none = if known().next().is_none() { "; there are none" } else { "" };
            let name: String = name.chars().take(LONGEST_NAME).collect();
            let words = format!("there is no module `{name}`{}{none}", suggest(&name, known().collect::<Vec<_>>()));
            return Err(OrderResult::new(Exit::Usage, words));
        }
        info!("ordered: {} {name}", verb.word());
        if !self.give(verb, &before).await {
            return Err(OrderResult::new(Exit::Internal, "the request was not accepted; see the log"));
        }
        Ok(before)
    }

    /// Waits until each of these modules has reached the requested state, or cannot reach it.
    pub(super) async fn ordered(&self, verb: Verb, before: &[Module], until: Moment) -> OrderResult {
        let ids: Vec<ModuleId> = before.iter().map(|module| module.id).collect();
        let settled = |snapshot: &Snapshot| (snapshot.phase.is_leaving() || ids.iter().all(|id| is_settled(snapshot, *id))).then_some(());
        let in_time = self.until(until, settled).await.is_some();
        let over = self.over();
        let snapshot = self.published.look().0;
        if let Some(over) = over {
            let failed = ids.iter().filter_map(|id| snapshot.module(*id)).find(|module| module.state == ModuleState::Broken);
            return failed.map(up_or_not).map_or(over, |(exit, why)| OrderResult::new(exit, format!("{why}; everything is stopped")));
        }
        let results = before.iter().map(|was| result(was, snapshot.module(was.id), verb, in_time));
        summed(results.collect())
    }

    /// Sends the requests and waits until they are accepted.
    async fn give(&self, verb: Verb, modules: &[Module]) -> bool {
        let _one_at_a_time = self.taking.lock().await;
        let snapshot = self.published.look().0;
        let known: Vec<(ModuleId, u64)> =
            modules.iter().filter_map(|module| Some((module.id, snapshot.module(module.id)?.orders))).collect();
        for (id, _) in &known {
            self.mailbox.send(Event::Ordered(verb.order(*id)));
        }
        let taken = |snapshot: &Snapshot| {
            known.iter().all(|(id, orders)| snapshot.module(*id).is_none_or(|module| module.orders > *orders)).then_some(())
        };
        self.until(Moment::now().after(TAKEN_WITHIN), taken).await.is_some()
    }
}

/// The module of this name, or all instances of it.
fn instances(snapshot: &Snapshot, name: &str) -> Vec<Module> {
    match snapshot.modules.iter().find(|module| module.name == name) {
        Some(module) => vec![module.clone()],
        None => snapshot.modules.iter().filter(|module| module.table == name).cloned().collect(),
    }
}

/// Whether its state will not change without a further request.
pub(super) fn is_settled(snapshot: &Snapshot, id: ModuleId) -> bool {
    let under_way = |module: &Module| matches!(module.state, ModuleState::Starting | ModuleState::Stopping);
    snapshot.module(id).is_none_or(|module| !under_way(module) || module.held_up_by.is_some())
}

/// The result for one module.
fn result(was: &Module, is: Option<&Module>, verb: Verb, in_time: bool) -> (Exit, String) {
    let name = &was.name;
    let Some(is) = is else { return (Exit::Unavailable, format!("module {name} no longer exists")) };
    let ran = was.state == ModuleState::Activated;
    match (verb, is.state) {
        (_, ModuleState::Starting | ModuleState::Stopping) if !in_time || is.held_up_by.is_some() => pending(is),
        (Verb::Stop, ModuleState::Activated) => (Exit::Unavailable, format!("module {name} runs: another request has started it")),
        (Verb::Stop, _) if matches!(was.state, ModuleState::Resolved | ModuleState::Deactivated) => {
            (Exit::Success, format!("module {name} did not run"))
        }
        (Verb::Stop, _) => (Exit::Success, format!("module {name} is stopped")),
        (Verb::Start, ModuleState::Activated) if ran && is.child.pid == was.child.pid => {
            (Exit::Success, format!("module {name} runs already{}", pid(is)))
        }
        (..) => up_or_not(is),
    }
}

/// The result for a module that should come up.
pub(super) fn up_or_not(module: &Module) -> (Exit, String) {
    let name = &module.name;
    match module.state {
        ModuleState::Activated => (Exit::Success, format!("module {name} is up{}", pid(module))),
        ModuleState::Broken => {
            let why = module.trouble.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            (Exit::Unavailable, format!("module {name} did not come up{why}"))
        }
        ModuleState::Starting | ModuleState::Stopping => pending(module),
        ModuleState::Deactivated | ModuleState::Resolved => {
            (Exit::Unavailable, format!("module {name} does not run: it has ended, or was stopped meanwhile"))
        }
    }
}

fn pending(module: &Module) -> (Exit, String) {
    let what = if module.state == ModuleState::Stopping { "being stopped" } else { "starting" };
    if let Some(other) = &module.held_up_by {
        let why =
            format!("module {} waits for module {other}, which does not run; it starts once `portcullis start {other}` has", module.name);
        return (Exit::Unavailable, why);
    }
    (Exit::Unavailable, format!("module {} is still {what}; it continues, see `portcullis status`", module.name))
}

fn pid(module: &Module) -> String {
    module.child.pid.map_or_else(String::new, |pid| format!(" with pid {pid}"))
}

/// One result for several modules: the first failure, the only result, or their number.
pub(super) fn summed(mut results: Vec<(Exit, String)>) -> OrderResult {
    if results.len() == 1
        && let Some((exit, sentence)) = results.pop()
    {
        return OrderResult::new(exit, sentence);
    }
    let exit = results.iter().map(|(exit, _)| *exit).find(|exit| *exit != Exit::Success).unwrap_or(Exit::Success);
    let well = results.iter().filter(|(exit, _)| *exit == Exit::Success).count();
    let sentence = format!("{well} of {} modules are in the requested state", results.len());
    OrderResult::new(exit, sentence).with(results.into_iter().map(|(_, sentence)| sentence).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, state: ModuleState) -> Module {
        Module { name: name.to_owned(), state, ..Module::default() }
    }

    #[test]
    fn the_result_of_a_control_request_is_one_sentence_and_one_code() {
        use ModuleState::{Activated, Broken, Deactivated, Resolved, Starting, Stopping};
        for (was, is, verb, exit, words) in [
            (Resolved, Activated, Verb::Start, Exit::Success, "module m is up"),
            (Activated, Activated, Verb::Start, Exit::Success, "module m runs already"),
            (Resolved, Broken, Verb::Start, Exit::Unavailable, "module m did not come up"),
            (Resolved, Starting, Verb::Start, Exit::Unavailable, "module m is still starting; it continues, see `portcullis status`"),
            (Activated, Stopping, Verb::Stop, Exit::Unavailable, "module m is still being stopped; it continues, see `portcullis status`"),
            (Activated, Deactivated, Verb::Stop, Exit::Success, "module m is stopped"),
            (Deactivated, Deactivated, Verb::Stop, Exit::Success, "module m did not run"),
            (Activated, Activated, Verb::Restart, Exit::Success, "module m is up"),
            (Activated, Deactivated, Verb::Restart, Exit::Unavailable, "module m does not run: it has ended, or was stopped meanwhile"),
        ] {
            assert_eq!(result(&module("m", was), Some(&module("m", is)), verb, false), (exit, words.to_owned()), "{was:?} {is:?} {verb:?}");
        }
    }

    #[test]
    fn several_are_summed_up_and_the_first_failure_is_the_code() {
        let answer = summed(vec![(Exit::Success, "a".to_owned()), (Exit::Unavailable, "b".to_owned())]);
        assert_eq!(
            (answer.exit, answer.sentence.as_str(), answer.lines.len()),
            (Exit::Unavailable, "1 of 2 modules are in the requested state", 2)
        );
    }
}
