//! Calls the APIs of a Dify like its clients, read-only.

mod caller;
mod discovery;
mod session;

use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::several;
use crate::outcome::{self, Detail, EndpointResult, ErrorKind, Failure};
use crate::plan::target::{Api, DifyTarget, Keys};
use crate::secret::Secret;
use caller::{Call, Caller, Callers, header};
use discovery::Found;
use session::Session;

/// A key; none if none is configured, or the failure of its lookup.
type Key = Result<Option<Secret>, Failure>;

/// The check of a Dify; the console session is kept between reports.
#[derive(Debug)]
pub(super) struct DifyProbe {
    target: DifyTarget,
    callers: Callers,
    session: Session,
}

/// One client with one key.
#[derive(Clone, Debug)]
struct Job {
    of: outcome::EndpointClient,
    apis: Vec<Api>,
    key: Key,
}

impl DifyProbe {
    pub(super) fn new(target: DifyTarget) -> Self {
        Self { callers: Callers::new(&target), session: Session::new(target.account.clone()), target }
    }

    /// Calls all APIs within `within`; it passes if any API succeeds, or if there is none.
    pub(super) async fn probe(&mut self, within: Duration) -> (Result<(), Failure>, Vec<EndpointResult>) {
        let now = Instant::now();
        // The report limits its own time, because a cancelled one would have no results.
        let caller = match self.callers.caller(now.checked_add(within.mul_f64(0.95)).unwrap_or(now)) {
            Ok(caller) => caller,
            Err(failure) => return (Err(failure), Vec::new()),
        };
        self.session.begin();
        let found = if self.target.clients.iter().any(|plan| plan.keys == Keys::Discovered) {
            discovery::discover(&mut self.session, &caller, &self.target).await
        } else {
            Ok(Found::default())
        };
        let (jobs, of_session) = self.jobs(&found);
        let (with_keys, with_session) =
            tokio::join!(all(&caller, jobs, self.target.at_once), console(&caller, of_session, &mut self.session));
        let parts: Vec<EndpointResult> = with_keys.into_iter().chain(with_session).collect();
        if parts.iter().any(|part| part.result.as_ref().is_err_and(|failure| failure.kind == ErrorKind::Tls)) {
            // The files of the certificates are read again.
            self.callers.forget();
        }
        (verdict(&parts), parts)
    }

    /// The calls with a key, and those with the session.
    fn jobs(&self, found: &Result<Found, Failure>) -> (Vec<Job>, Option<Job>) {
        let (mut with_keys, mut with_session) = (Vec::new(), None);
        for plan in &self.target.clients {
            let client = plan.client;
            let job = |(number, key)| Job { of: outcome::EndpointClient { name: client.word(), number }, apis: plan.apis.clone(), key };
            let keys: Vec<Key> = match (&plan.keys, found) {
                (Keys::Session, _) => {
                    with_session = Some(job((0, Ok(None))));
                    continue;
                }
                (Keys::Written(keys), _) => keys.iter().cloned().map(Ok).collect(),
                (Keys::Discovered, Ok(found)) => found.of(client),
                (Keys::Discovered, Err(failure)) => vec![Err(failure.clone().of("looking up its key"))],
            };
            with_keys.extend(keys.into_iter().enumerate().map(job));
        }
        (with_keys, with_session)
    }
}

/// It passes if any API succeeds; failures of others are in the report.
fn verdict(parts: &[EndpointResult]) -> Result<(), Failure> {
    if parts.is_empty() || parts.iter().any(|part| part.result.is_ok()) {
        return Ok(());
    }
    let of_its_own = |part: &&EndpointResult| part.result.as_ref().is_err_and(|failure| failure.detail == Detail::Plain);
    let Some(first) = parts.iter().find(of_its_own).or(parts.first()) else { return Ok(()) };
    let client = first.client.map(|client| client.name).unwrap_or_default();
    Err(several::failed(parts, first, &format!("{client} {}", first.name)))
}

/// Runs all jobs with limited parallelism; returns their parts in order.
async fn all(caller: &Caller, jobs: Vec<Job>, at_once: usize) -> Vec<EndpointResult> {
    let mut parts: Vec<Vec<EndpointResult>> =
        jobs.iter().map(|job| job.not_probed(&Failure::new(ErrorKind::Internal, "the probe panicked"))).collect();
    let mut waiting = jobs.into_iter().enumerate();
    let mut tasks = JoinSet::new();
    loop {
        for (index, job) in waiting.by_ref().take(at_once.saturating_sub(tasks.len())) {
            let caller = caller.clone();
            tasks.spawn(async move { (index, job.run(&caller).await) });
        }
        match tasks.join_next().await {
            None => return parts.into_iter().flatten().collect(),
            Some(Ok((index, found))) => {
                if let Some(slot) = parts.get_mut(index) {
                    *slot = found;
                }
            }
            Some(Err(_)) => {}
        }
    }
}

/// Calls the APIs of the console for the account.
async fn console(caller: &Caller, job: Option<Job>, session: &mut Session) -> Vec<EndpointResult> {
    let Some(job) = job else { return Vec::new() };
    let mut parts = Vec::new();
    for api in &job.apis {
        let path = if *api == Api::Apps { "/console/api/apps?page=1&limit=1" } else { "/console/api/datasets/api-keys" };
        parts.push(job.part(*api, session.get(caller, path).await));
    }
    parts
}

/// The page of conversations; the first one is used in the two dependent calls.
#[derive(Deserialize)]
struct Conversations {
    #[serde(default)]
    data: Vec<Conversation>,
}

#[derive(Deserialize)]
struct Conversation {
    id: String,
}

const CONVERSATIONS: &str = "/v1/conversations?sort_by=-updated_at&limit=1";

impl Job {
    async fn run(&self, caller: &Caller) -> Vec<EndpointResult> {
        let key = match &self.key {
            Ok(Some(key)) => key,
            Ok(None) => return self.not_probed(&not_configured()),
            Err(failure) => return self.not_probed(failure),
        };
        let dependents = [Api::Messages, Api::ConversationVariables];
        let conversation = if self.apis.iter().any(|api| dependents.contains(api)) {
            conversation(&get(caller, key, CONVERSATIONS).await)
        } else {
            Err(skipped("no conversation was searched"))
        };
        let mut parts = Vec::new();
        for api in &self.apis {
            let call = match path(*api, conversation.as_deref()) {
                Ok(path) => get(caller, key, &path).await,
                Err(skipped) => Call::not_probed(skipped.clone()),
            };
            parts.push(self.part(*api, call));
        }
        parts
    }

    /// All APIs with this failure, without calling them.
    fn not_probed(&self, failure: &Failure) -> Vec<EndpointResult> {
        self.apis.iter().map(|api| self.part(*api, Call::not_probed(failure.clone()))).collect()
    }

    fn part(&self, api: Api, call: Call) -> EndpointResult {
        EndpointResult {
            name: api.method().to_owned(),
            target: api.endpoint().to_owned(),
            client: Some(self.of),
            status: call.status(),
            result: call.result.map(|_| ()),
            elapsed: call.elapsed,
        }
    }
}

async fn get(caller: &Caller, key: &Secret, path: &str) -> Call {
    match header("Bearer ", key) {
        Ok(bearer) => caller.get(path, &[("authorization", bearer)]).await,
        Err(failure) => Call::not_probed(failure),
    }
}

/// The path of an API with a key; the failure if it needs a conversation and there is none.
fn path<'f>(api: Api, conversation: Result<&str, &'f Failure>) -> Result<String, &'f Failure> {
    Ok(match api {
        Api::Messages => format!("/v1/messages?conversation_id={}&limit=1", conversation?),
        Api::ConversationVariables => format!("/v1/conversations/{}/variables?user=", conversation?),
        Api::Parameters => "/v1/parameters".to_owned(),
        Api::Info => "/v1/info".to_owned(),
        Api::Meta => "/v1/meta".to_owned(),
        Api::Site => "/v1/site".to_owned(),
        Api::Conversations => CONVERSATIONS.to_owned(),
        Api::Feedbacks => "/v1/app/feedbacks?page=1&limit=1".to_owned(),
        Api::PageAppAnnotation => "/v1/apps/annotations?page=1&limit=1".to_owned(),
        Api::Datasets => "/v1/datasets?page=1&limit=1".to_owned(),
        Api::ListTextEmbedding => "/v1/workspaces/current/models/model-types/text-embedding".to_owned(),
        Api::ListRerank => "/v1/workspaces/current/models/model-types/rerank".to_owned(),
        Api::ListTag => "/v1/datasets/tags".to_owned(),
        Api::Logs => "/v1/workflows/logs?page=1&limit=1".to_owned(),
        Api::Apps | Api::GetDatasetApiKey => "/".to_owned(),
    })
}

/// The newest conversation, or why the two APIs that need one are skipped.
fn conversation(call: &Call) -> Result<String, Failure> {
    let answer = match &call.result {
        Ok(answer) => answer,
        Err(failure) => return Err(skipped(&format!("the conversations could not be read: {}", failure.private.as_str()))),
    };
    let page: Conversations = answer.read().map_err(|_| skipped("the conversations could not be read: they have an unknown form"))?;
    match page.data.into_iter().next() {
        Some(conversation) if is_id(&conversation.id) => Ok(conversation.id),
        Some(_) => Err(skipped("the id of the newest conversation has an unknown form")),
        None => Err(skipped("there is no conversation yet")),
    }
}

/// Whether this can be used in a path unchanged. Dify uses UUIDs.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn skipped(why: &str) -> Failure {
    Failure::new(ErrorKind::Missing, why).because(Detail::Skipped)
}

fn not_configured() -> Failure {
    Failure::new(ErrorKind::Missing, "no key is configured").because(Detail::NotConfigured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_the_one_that_was_ordered() {
        let paths: Vec<String> = Api::ALL.into_iter().map(|api| path(api, Ok("c-1")).unwrap()).collect();
        assert_eq!(
            paths[..14],
            [
                "/v1/parameters",
                "/v1/info",
                "/v1/meta",
                "/v1/site",
                "/v1/conversations?sort_by=-updated_at&limit=1",
                "/v1/messages?conversation_id=c-1&limit=1",
                "/v1/app/feedbacks?page=1&limit=1",
                "/v1/apps/annotations?page=1&limit=1",
                "/v1/conversations/c-1/variables?user=",
                "/v1/datasets?page=1&limit=1",
                "/v1/workspaces/current/models/model-types/text-embedding",
                "/v1/workspaces/current/models/model-types/rerank",
                "/v1/datasets/tags",
                "/v1/workflows/logs?page=1&limit=1",
            ]
        );
    }

    #[test]
    fn a_conversation_is_the_first_and_its_id_goes_into_no_path_unseen() {
        let found = |body: &str| conversation(&Call::answered(200, body.as_bytes())).map_err(|failure| failure.detail);
        assert_eq!(found(r#"{"data":[{"id":"a-1","name":"x"},{"id":"b"}]}"#), Ok("a-1".to_owned()));
        for body in [r#"{"data":[]}"#, "{}", r#"{"data":[{"id":"../x"}]}"#, r#"{"data":[{"id":""}]}"#, "[1]", "<html>"] {
            assert_eq!(found(body), Err(Detail::Skipped), "{body}");
        }
        let failed = Call::not_probed(Failure::answered(503));
        assert_eq!(conversation(&failed).unwrap_err().private.as_str(), "the conversations could not be read: the answer's status is 503");
    }
}
