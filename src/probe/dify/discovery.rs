//! Looks up the API keys of all apps and of the knowledge base, and never creates one.

use serde::Deserialize;

use super::caller::Caller;
use super::session::Session;
use super::{Key, is_id};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{DifyClient, DifyTarget, Keys};
use crate::secret::Secret;

/// The number of apps per page.
const PAGE: usize = 50;

/// The maximum number of checked apps, because the whole report is kept in memory and sent to every reader.
const MOST_APPS: usize = 500;

/// The keys that the account found.
#[derive(Debug, Default)]
pub(super) struct Found {
    chat: Vec<Key>,
    workflow: Vec<Key>,
    dataset: Option<Key>,
}

/// A page of apps.
#[derive(Deserialize)]
struct Apps {
    #[serde(default)]
    data: Vec<App>,
    #[serde(default)]
    has_more: bool,
}

#[derive(Deserialize)]
struct App {
    id: String,
    #[serde(default)]
    mode: String,
}

/// The keys of an app, or of the knowledge base.
#[derive(Deserialize)]
struct ApiKeys {
    #[serde(default)]
    data: Vec<ApiKey>,
}

#[derive(Deserialize)]
struct ApiKey {
    #[serde(default)]
    token: String,
}

impl Found {
    /// The keys of this client: one for each app, and one for the knowledge base.
    pub(super) fn of(&self, client: DifyClient) -> Vec<Key> {
        match client {
            DifyClient::DifyChat => self.chat.clone(),
            DifyClient::DifyWorkflow => self.workflow.clone(),
            DifyClient::DifyDataset => self.dataset.iter().cloned().collect(),
            DifyClient::DifyServer => Vec::new(),
        }
    }
}

/// Looks up the keys of the clients without their own keys; fails if the list of apps fails.
pub(super) async fn discover(session: &mut Session, caller: &Caller, target: &DifyTarget) -> Result<Found, Failure> {
    let wants = |client| target.clients.iter().any(|plan| plan.client == client && plan.keys == Keys::Discovered);
    let mut found = Found::default();
    if wants(DifyClient::DifyDataset) {
        found.dataset = Some(key(session, caller, "/console/api/datasets/api-keys").await);
    }
    if !wants(DifyClient::DifyChat) && !wants(DifyClient::DifyWorkflow) {
        return Ok(found);
    }
    for app in apps(session, caller).await? {
        let (client, keys) = match app.mode.as_str() {
            "workflow" => (DifyClient::DifyWorkflow, &mut found.workflow),
            _ => (DifyClient::DifyChat, &mut found.chat),
        };
        if wants(client) {
            keys.push(key(session, caller, &format!("/console/api/apps/{}/api-keys", app.id)).await);
        }
    }
    Ok(found)
}

/// All apps on all pages.
async fn apps(session: &mut Session, caller: &Caller) -> Result<Vec<App>, Failure> {
    let mut apps: Vec<App> = Vec::new();
    for page in 1_usize.. {
        let answer = session.get(caller, &format!("/console/api/apps?page={page}&limit={PAGE}")).await.result?;
        let Apps { data, has_more } = answer.read()?;
        let any = !data.is_empty();
        if data.iter().any(|app| !is_id(&app.id)) {
            return Err(Failure::new(ErrorKind::Protocol, "the id of an app has an unknown form"));
        }
        apps.extend(data);
        let ends = !has_more || !any;
        if apps.len() > MOST_APPS || (apps.len() == MOST_APPS && !ends) {
            tracing::warn!("Dify has more than {MOST_APPS} apps; the others are not checked: give the keys that matter");
            apps.truncate(MOST_APPS);
            break;
        }
        if ends {
            break;
        }
    }
    Ok(apps)
}

/// The first existing key; none if there is none, because none is created.
async fn key(session: &mut Session, caller: &Caller, path: &str) -> Key {
    let keys: ApiKeys =
        session.get(caller, path).await.result.and_then(|answer| answer.read()).map_err(|failure| failure.of("looking up its key"))?;
    Ok(keys.data.into_iter().map(|key| key.token).find(|token| !token.is_empty()).map(Secret::unlisted))
}
