//! Several PostgreSQL servers; the first suitable one is used (libpq: specifying multiple hosts).

use std::time::Duration;

use tokio::time::timeout;

use super::login::log_in;
use super::{Session, has_role};
use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{PostgresHost, PostgresTarget, ServerRole};
use crate::probe::dial::shown;

/// Opens a session to the first host that accepts the login and has the required role.
pub(super) async fn open(target: &PostgresTarget, name: &str, within: Duration) -> Result<Session, Failure> {
    if let [only] = target.hosts.as_slice() {
        return log_in(target, only, name, within).await.map(Session::new);
    }
    let mut hosts: Vec<&PostgresHost> = target.hosts.iter().collect();
    if target.any_order {
        fastrand::shuffle(&mut hosts);
    }
    if target.role != ServerRole::PreferStandby {
        return first(target, &hosts, name, within, target.role).await;
    }
    let half = within.checked_div(2).unwrap_or_default();
    // Two rounds: a server that is not a standby is used only if there is no standby.
    match first(target, &hosts, name, half, ServerRole::Standby).await {
        Err(failure) if !failure.reason().is_refusal() => first(target, &hosts, name, half, ServerRole::Any).await,
        decided => decided,
    }
}

async fn first(
    target: &PostgresTarget,
    hosts: &[&PostgresHost],
    name: &str,
    within: Duration,
    role: ServerRole,
) -> Result<Session, Failure> {
    let share = within.checked_div(hosts.len() as u32).unwrap_or(within);
    let mut failures: Vec<(&PostgresHost, Failure)> = Vec::new();
    for host in hosts {
        let attempt = async {
            let session = Session::new(log_in(target, host, name, share).await?);
            has_role(&session, role).await.map(|()| session)
        };
        let late = |_| Err(Failure::new(ErrorKind::Timeout, &format!("no answer within {}", shown(share))));
        match timeout(share, attempt).await.unwrap_or_else(late) {
            Ok(session) => return Ok(session),
            // As in libpq: a refused login ends the search.
            Err(failure) if failure.reason().is_refusal() => return Err(failure.of(&host.address.to_string())),
            Err(failure) => failures.push((*host, failure)),
        }
    }
    Err(summary(&failures))
}

/// One failure with the texts of all; its kind is that of the most informative one, from a server that responded.
fn summary(failures: &[(&PostgresHost, Failure)]) -> Failure {
    let most = failures.iter().find(|(_, failure)| failure.kind == ErrorKind::NotReady).or(failures.first());
    let words: Vec<_> = failures.iter().map(|(host, failure)| format!("{}: {}", host.address, failure.private.as_str())).collect();
    let why = most.map_or(ErrorKind::Internal.into(), |(_, failure)| failure.reason());
    Failure::new(why.kind, &words.join("; ")).because(why.detail)
}
