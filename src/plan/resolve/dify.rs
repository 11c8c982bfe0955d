//! `[dify]`: the monitored APIs of a Dify, their keys, and how often.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use url::Url;

use super::checks::check_name;
use crate::config::dify::{Api, Counts, Dify, DifyClient, PasswordEncoding};
use crate::config::reader::{Depth, Section};
use crate::config::values::Maybe;
use crate::plan::target::{ClientPlan, DifyAccount, DifyTarget, Keys, Target};
use crate::plan::{Affects, CheckPlan, OnDown};
use crate::secret::Secret;

/// The default name.
const NAME: &str = "dify";

/// The time limit of a whole report: a multiple of the limit of one call, and an absolute maximum.
const CALLS: u32 = 30;
const LONGEST: Duration = Duration::from_secs(600);

/// The check that makes the report; none without `[dify]`.
pub(super) fn read(root: &Section<'_>, depth: Depth) -> Option<CheckPlan> {
    let mut section = root.table_at("dify", depth)?;
    let dify: Dify = section.declared();
    if depth == Depth::Syntax {
        return None;
    }
    let name = dify.name.value().unwrap_or_else(|| NAME.to_owned());
    if let Err(why) = check_name(&name) {
        section.problem("name", format!("is `{name}`: {why}"));
    }
    let url = url(&section, &dify);
    let account = account(&section, &dify);
    let clients = clients(&section, &dify, account.is_some());
    let timeout = dify.timeout.0;
    let target = DifyTarget { url: url?, account, clients, at_once: dify.parallel.to().unwrap_or(1), timeout };
    Some(CheckPlan {
        name,
        target: Target::Dify(Box::new(target)),
        wait: Duration::ZERO,
        fail_fast: false,
        creates_database: false,
        affects: match dify.affects {
            Counts::None => Affects::None,
            Counts::Health => Affects::Health,
        },
        interval: dify.interval.0,
        rate_limited: false,
        timeout: timeout.saturating_mul(CALLS).min(LONGEST),
        // A report already sums up many calls.
        failure_threshold: 1,
        success_threshold: 1,
        on_down: OnDown::Report,
    })
}

/// The URL without a slash at its end.
fn url(section: &Section<'_>, dify: &Dify) -> Option<String> {
    let Some(text) = dify.url.value() else {
        section.problem("url", "is missing: write the address of Dify, for example `http://api:5001`");
        return None;
    };
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let why = match &url {
        None => "is not a URL such as `http://api:5001`",
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            "contains a user; Dify uses API keys, and the account in `email`"
        }
        Some(url) if url.query().is_some() || url.fragment().is_some() => "contains more than host, port and path",
        Some(url) if url.path().trim_end_matches('/').ends_with("/v1") => {
            "ends in `/v1`, which is already part of the paths of the APIs: remove it"
        }
        Some(url) => return Some(url.as_str().trim_end_matches('/').to_owned()),
    };
    section.problem("url", why);
    None
}

fn account(section: &Section<'_>, dify: &Dify) -> Option<DifyAccount> {
    let (email, password) = match (dify.email.value(), &dify.password.0) {
        (Some(email), Some(password)) => (email, password),
        (None, None) => {
            if dify.discover == Some(true) {
                section.problem("discover", "needs the account (`email` and `password`), which looks up the keys");
            }
            return None;
        }
        (email, _) => {
            let (lacking, other) = if email.is_some() { ("password", "email") } else { ("email", "password") };
            section.problem(lacking, format!("is missing, although `{other}` is set"));
            return None;
        }
    };
    let password = match dify.password_encoding {
        PasswordEncoding::Base64 => Secret::new(BASE64_STANDARD.encode(password.expose())),
        PasswordEncoding::Plain => password.clone(),
    };
    Some(DifyAccount { email, password })
}

fn clients(section: &Section<'_>, dify: &Dify, with_account: bool) -> Vec<ClientPlan> {
    if section.list("clients").is_some_and(|clients| clients.is_empty()) {
        section.problem("clients", "names no client");
    }
    let wanted = DifyClient::ALL.into_iter().filter(|client| dify.clients.contains(client));
    wanted.map(|client| ClientPlan { client, apis: apis(section, dify, client), keys: keys(section, dify, client, with_account) }).collect()
}

/// The methods of this client: those in `methods`, else all.
fn apis(section: &Section<'_>, dify: &Dify, client: DifyClient) -> Vec<Api> {
    let own = Api::ALL.into_iter().filter(|api| api.client() == client);
    let Some(named) = dify.methods.of(client) else { return own.collect() };
    let others: Vec<&str> = named.iter().filter(|api| api.client() != client).map(|api| api.method()).collect();
    if !others.is_empty() {
        let known: Vec<&str> = own.clone().map(Api::method).collect();
        let why = format!("names `{}` of {}, which has {}", others.join("`, `"), client.word(), known.join(", "));
        section.problem("methods", why);
    }
    own.filter(|api| named.contains(api)).collect()
}

/// The source of this client's keys: its own, else those that the account finds, else the key of all clients.
fn keys(section: &Section<'_>, dify: &Dify, client: DifyClient, with_account: bool) -> Keys {
    let one = |key: &Maybe<Secret>| key.0.clone().filter(|key| !key.is_empty());
    let (name, own) = match client {
        DifyClient::DifyServer => return Keys::Session,
        DifyClient::DifyChat => ("chat_api_keys", dify.chat_api_keys.0.iter().map(one).collect()),
        DifyClient::DifyWorkflow => ("workflow_api_keys", dify.workflow_api_keys.0.iter().map(one).collect()),
        DifyClient::DifyDataset => ("dataset_api_key", one(&dify.dataset_api_key).map(Some).into_iter().collect::<Vec<_>>()),
    };
    let keys = match own {
        own if !own.is_empty() => own,
        _ if with_account && dify.discover.unwrap_or(true) => return Keys::Discovered,
        _ => vec![one(&dify.api_key)],
    };
    let unsent = |key: &Secret| !key.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if keys.iter().flatten().any(unsent) {
        section.problem(if section.has(name) { name } else { "api_key" }, "cannot be sent in a header");
    }
    Keys::Written(keys)
}
