//! `[dify]`: a Dify whose APIs are monitored, and reported in the form of dify-status.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::interpolate::Text;
use crate::config::values::{DAY, Maybe, Number, OneOrMore, Span};
use crate::secret::Secret;

/// A group of Dify's APIs that share a kind of key, by the names of dify-spring-boot-starter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DifyClient {
    /// The APIs of a chat app, once for each key.
    DifyChat,
    /// The APIs of the knowledge base.
    DifyDataset,
    /// The APIs of a workflow app, once for each key.
    DifyWorkflow,
    /// The APIs of the console, for the account.
    DifyServer,
}

impl DifyClient {
    /// Every client, in the order of the report.
    pub const ALL: [Self; 4] = [Self::DifyChat, Self::DifyDataset, Self::DifyWorkflow, Self::DifyServer];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::DifyChat => "DifyChat",
            Self::DifyDataset => "DifyDataset",
            Self::DifyWorkflow => "DifyWorkflow",
            Self::DifyServer => "DifyServer",
        }
    }
}

/// An API that is called, by the name of its method in dify-status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Api {
    /// `/v1/parameters`
    Parameters,
    /// `/v1/info`
    Info,
    /// `/v1/meta`
    Meta,
    /// `/v1/site`
    Site,
    /// `/v1/conversations`
    Conversations,
    /// `/v1/messages` of the newest conversation.
    Messages,
    /// `/v1/app/feedbacks`
    Feedbacks,
    /// `/v1/apps/annotations`
    PageAppAnnotation,
    /// `/v1/conversations/ID/variables` of the newest conversation.
    ConversationVariables,
    /// `/v1/datasets`
    Datasets,
    /// `/v1/workspaces/current/models/model-types/text-embedding`
    ListTextEmbedding,
    /// `/v1/workspaces/current/models/model-types/rerank`
    ListRerank,
    /// `/v1/datasets/tags`
    ListTag,
    /// `/v1/workflows/logs`
    Logs,
    /// `/console/api/apps`
    Apps,
    /// `/console/api/datasets/api-keys`
    GetDatasetApiKey,
}

impl Api {
    /// Every API, in the order of the report.
    pub const ALL: [Self; 16] = [
        Self::Parameters,
        Self::Info,
        Self::Meta,
        Self::Site,
        Self::Conversations,
        Self::Messages,
        Self::Feedbacks,
        Self::PageAppAnnotation,
        Self::ConversationVariables,
        Self::Datasets,
        Self::ListTextEmbedding,
        Self::ListRerank,
        Self::ListTag,
        Self::Logs,
        Self::Apps,
        Self::GetDatasetApiKey,
    ];

    /// Its client, its method, and its endpoint as dify-status reports it, which is not the requested path.
    const fn facts(self) -> (DifyClient, &'static str, &'static str) {
        use DifyClient::{DifyChat, DifyDataset, DifyServer, DifyWorkflow};
        match self {
            Self::Parameters => (DifyChat, "parameters", "/parameters"),
            Self::Info => (DifyChat, "info", "/info"),
            Self::Meta => (DifyChat, "meta", "/meta"),
            Self::Site => (DifyChat, "site", "/site"),
            Self::Conversations => (DifyChat, "conversations", "/conversations"),
            Self::Messages => (DifyChat, "messages", "/messages"),
            Self::Feedbacks => (DifyChat, "feedbacks", "/feedbacks"),
            Self::PageAppAnnotation => (DifyChat, "pageAppAnnotation", "/annotations"),
            Self::ConversationVariables => (DifyChat, "conversationVariables", "/conversation-variables"),
            Self::Datasets => (DifyDataset, "datasets", "/datasets"),
            Self::ListTextEmbedding => (DifyDataset, "listTextEmbedding", "/text-embeddings"),
            Self::ListRerank => (DifyDataset, "listRerank", "/rerank"),
            Self::ListTag => (DifyDataset, "listTag", "/tags"),
            Self::Logs => (DifyWorkflow, "logs", "/logs"),
            Self::Apps => (DifyServer, "apps", "/apps"),
            Self::GetDatasetApiKey => (DifyServer, "getDatasetApiKey", "/datasets/api-keys"),
        }
    }

    /// The client that calls it.
    pub const fn client(self) -> DifyClient {
        self.facts().0
    }

    /// The name of its method.
    pub const fn method(self) -> &'static str {
        self.facts().1
    }

    /// The reported endpoint.
    pub const fn endpoint(self) -> &'static str {
        self.facts().2
    }
}

/// Which APIs of each client are called; all of them for a client that is not named.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Methods {
    /// Of the chat apps.
    #[serde(rename = "DifyChat", skip_serializing_if = "Option::is_none")]
    pub chat: Option<Vec<Api>>,
    /// Of the knowledge base.
    #[serde(rename = "DifyDataset", skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Vec<Api>>,
    /// Of the workflow apps.
    #[serde(rename = "DifyWorkflow", skip_serializing_if = "Option::is_none")]
    pub workflow: Option<Vec<Api>>,
    /// Of the console.
    #[serde(rename = "DifyServer", skip_serializing_if = "Option::is_none")]
    pub server: Option<Vec<Api>>,
}

impl Methods {
    /// The methods that were given for this client.
    pub const fn of(&self, client: DifyClient) -> Option<&Vec<Api>> {
        match client {
            DifyClient::DifyChat => self.chat.as_ref(),
            DifyClient::DifyDataset => self.dataset.as_ref(),
            DifyClient::DifyWorkflow => self.workflow.as_ref(),
            DifyClient::DifyServer => self.server.as_ref(),
        }
    }
}

/// How the login sends the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum PasswordEncoding {
    /// In base64, as Dify's own page sends it.
    #[default]
    Base64,
    /// Unchanged, for a Dify that is too old for base64.
    Plain,
}

/// What the report counts for. It never counts for readiness: that Dify elsewhere is down is no reason to take this replica out of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Counts {
    /// It is shown and counts for nothing.
    None,
    /// `/healthz` and the other deep answers.
    #[default]
    Health,
}

/// A Dify whose APIs are monitored; the report is in `/actuator/health`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "dify")]
pub struct Dify {
    /// Its address, for example `http://api:5001`, without the `/v1` of its APIs.
    pub url: Maybe<Text>,
    /// The console account, for `DifyServer` and `discover`.
    pub email: Maybe<Text>,
    /// Its password.
    pub password: Maybe<Secret>,
    /// How the password is sent.
    pub password_encoding: PasswordEncoding,
    /// The API key of every client without its own key.
    pub api_key: Maybe<Secret>,
    /// The API keys of chat apps; each is used.
    pub chat_api_keys: OneOrMore<Maybe<Secret>>,
    /// The API key of the knowledge base.
    pub dataset_api_key: Maybe<Secret>,
    /// The API keys of workflow apps; each is used.
    pub workflow_api_keys: OneOrMore<Maybe<Secret>>,
    /// Whether the account looks up the keys that are not given: those of all apps and of the knowledge base. None is ever created. By default `true`
    /// if `email` is set.
    pub discover: Option<bool>,
    /// The clients that are checked.
    pub clients: Vec<DifyClient>,
    /// Which APIs of a client are called, for example `{ DifyChat = ["parameters"] }`.
    pub methods: Methods,
    /// How many calls run in parallel.
    pub parallel: Number<1, 64>,
    /// How long each call may take.
    pub timeout: Span<10, 60_000>,
    /// How long a report stays valid: the pause between two reports.
    pub interval: Span<100, DAY>,
    /// The component's name in the health responses; by default `dify`.
    pub name: Maybe<Text>,
    /// What the report counts for.
    pub affects: Counts,
}

impl Default for Dify {
    fn default() -> Self {
        Self {
            url: Maybe(None),
            email: Maybe(None),
            password: Maybe(None),
            password_encoding: PasswordEncoding::default(),
            api_key: Maybe(None),
            chat_api_keys: OneOrMore::default(),
            dataset_api_key: Maybe(None),
            workflow_api_keys: OneOrMore::default(),
            discover: None,
            clients: DifyClient::ALL.to_vec(),
            methods: Methods::default(),
            parallel: const { Number::of(4) },
            timeout: const { Span::of(5000) },
            interval: const { Span::of(60_000) },
            name: Maybe(None),
            affects: Counts::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_is_written_as_its_method_is_reported() {
        for api in Api::ALL {
            assert_eq!(serde_json::to_value(api).unwrap(), api.method());
        }
        for client in DifyClient::ALL {
            assert_eq!(serde_json::to_value(client).unwrap(), client.word());
        }
    }
}
