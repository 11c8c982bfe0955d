//! `[dify]`: whose keys are checked, where they come from, and refused combinations.

use super::*;
use crate::plan::Affects;
use crate::plan::CheckPlan;
use crate::plan::target::{Api, DifyClient, DifyTarget, Keys};

fn read(keys: &str) -> (CheckPlan, DifyTarget) {
    let plan = with(&format!("[dify]\nurl = 'http://api:5001/'\n{keys}"), &[], &["app"]);
    let [check] = plan.checks.as_slice() else { panic!("{:?}", plan.checks) };
    let Target::Dify(dify) = &check.target else { panic!("{check:?}") };
    (check.clone(), (**dify).clone())
}

/// The keys of each client, as one may look at them in a test.
fn keys(target: &DifyTarget) -> Vec<(DifyClient, Vec<String>)> {
    let shown = |keys: &Keys| match keys {
        Keys::Written(keys) => keys.iter().map(|key| key.as_ref().map_or("none".to_owned(), |key| key.expose().to_owned())).collect(),
        Keys::Discovered => vec!["discovered".to_owned()],
        Keys::Session => vec!["session".to_owned()],
    };
    target.clients.iter().map(|plan| (plan.client, shown(&plan.keys))).collect()
}

#[test]
fn the_defaults_are_those_of_the_manual() {
    let (check, target) = read("email = 'a@b.c'\npassword = 'p4ssw0rd'\n");
    assert_eq!((check.name.as_str(), check.affects, check.wait, check.interval), ("dify", Affects::Health, Duration::ZERO, secs(60)));
    assert_eq!((check.failure_threshold, check.timeout), (1, secs(150)));
    assert_eq!((target.url.as_str(), target.at_once, target.timeout), ("http://api:5001", 4, secs(5)));
    let account = target.account.as_ref().unwrap();
    assert_eq!((account.email.as_str(), account.password.expose()), ("a@b.c", "cDRzc3cwcmQ="));
    assert_eq!(target.clients.iter().map(|plan| plan.apis.len()).collect::<Vec<_>>(), [9, 4, 1, 2]);
    assert!(!target.to_string().contains("a@b.c"), "{target}");
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_client_uses_its_own_keys_else_the_found_ones_else_the_common_one() {
    use DifyClient::{DifyChat, DifyDataset, DifyServer, DifyWorkflow};
    let account = "email = 'a@b.c'\npassword = 'p'\n";
    let own = "chat_api_keys = ['c1', '', 'c2']\nworkflow_api_keys = 'w'\ndataset_api_key = 'd'\n";
    let of = |chat: &[&str], dataset: &str, flow: &str| {
        let all = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        vec![(DifyChat, all(chat)), (DifyDataset, all(&[dataset])), (DifyWorkflow, all(&[flow])), (DifyServer, all(&["session"]))]
    };
    for (written, found) in [
        (own.to_owned(), of(&["c1", "none", "c2"], "d", "w")),
        (format!("{account}{own}"), of(&["c1", "none", "c2"], "d", "w")),
        (account.to_owned(), of(&["discovered"], "discovered", "discovered")),
        (format!("{account}dataset_api_key = 'd'\napi_key = 'k'\n"), of(&["discovered"], "d", "discovered")),
        (format!("{account}discover = false\napi_key = 'k'\n"), of(&["k"], "k", "k")),
        ("api_key = 'k'\nchat_api_keys = ['c']\n".to_owned(), of(&["c"], "k", "k")),
        (String::new(), of(&["none"], "none", "none")),
    ] {
        assert_eq!(keys(&read(&written).1), found, "{written}");
    }
}

#[test]
fn requests_follow_clients_and_methods_in_the_order_of_the_report() {
    let (check, target) = read(
        "clients = ['DifyServer', 'DifyChat']\nmethods = { DifyChat = ['messages', 'info'] }\nname = 'ai'\naffects = 'none'\nparallel = 2\ntimeout = '1m'\ninterval = '5m'\n",
    );
    let clients: Vec<_> = target.clients.iter().map(|plan| (plan.client, plan.apis.clone())).collect();
    let (chat, server) = (vec![Api::Info, Api::Messages], vec![Api::Apps, Api::GetDatasetApiKey]);
    assert_eq!(clients, [(DifyClient::DifyChat, chat), (DifyClient::DifyServer, server)]);
    assert_eq!((check.name.as_str(), check.affects, check.interval, check.timeout), ("ai", Affects::None, secs(300), secs(600)));
    assert_eq!(target.at_once, 2);
}

#[test]
fn impossible_combinations_are_reported_at_their_place() {
    for (toml, expected) in [
        ("[dify]\n", "`url` in [dify] is missing"),
        ("[dify]\nurl = 'api:5001'\n", "p:2:7: `url` in [dify] is not a URL such as"),
        ("[dify]\nurl = 'http://u:p@api'\n", "p:2:7: `url` in [dify] contains a user"),
        ("[dify]\nurl = 'http://api/v1/'\n", "p:2:7: `url` in [dify] ends in `/v1`"),
        ("[dify]\nurl = 'http://api?x=1'\n", "p:2:7: `url` in [dify] contains more"),
        ("[dify]\nurl = 'http://api'\nemail = 'a@b.c'\n", "`password` in [dify] is missing, although `email` is set"),
        ("[dify]\nurl = 'http://api'\ndiscover = true\n", "p:3:12: `discover` in [dify] needs the account"),
        (
            "[dify]\nurl = 'http://api'\naffects = 'readiness'\n",
            "p:3:11: `affects` in [dify] is `readiness`; expected one of `none`, `health`",
        ),
        ("[dify]\nurl = 'http://api'\nclients = ['DifyChats']\n", "is `DifyChats` (did you mean `DifyChat`?); expected one of"),
        ("[dify]\nurl = 'http://api'\nclients = []\n", "p:3:11: `clients` in [dify] names no client"),
        (
            "[dify]\nurl = 'http://api'\nmethods = { DifyServer = ['logs'] }\n",
            "names `logs` of DifyServer, which has apps, getDatasetApiKey",
        ),
        ("[dify]\nurl = 'http://api'\nmethods = { DifyServer = ['appz'] }\n", "(did you mean `apps`?)"),
        ("[dify]\nurl = 'http://api'\nname = 'status'\n", "p:3:8: `name` in [dify] is `status`: the name is reserved"),
        ("[dify]\nurl = 'http://api'\nchat_api_keys = ['a b']\n", "p:3:17: `chat_api_keys` in [dify] cannot be sent in a header"),
        ("[dify]\nurl = 'http://api'\nchat_keys = ['a']\n", "unknown key `chat_keys` in [dify]"),
        ("[checks.dify]\nurl = 'tcp://a:1'\n[dify]\nurl = 'http://api'\n", "two of the checks and modules are named `dify`"),
    ] {
        let found = problems(toml, &[], &["app"]);
        assert!(found.len() == 1 && found[0].contains(expected), "{toml}: {found:?}");
    }
}
