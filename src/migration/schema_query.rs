//! Checks the schema with one statement, on a separate connection.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::timeout;

use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{MysqlTarget, PostgresTarget};
use crate::probe::mysql;
use crate::probe::postgres::Session;

/// How long a statement may take; one that is blocked by a running migration counts as unanswered.
const LIMIT: Duration = Duration::from_secs(30);

/// The state of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemaState {
    Current,
    Ahead,
    Pending,
}

/// Queries a database over a connection that is kept between checks and is not that of the lock, because an error must not cost the lock.
#[derive(Debug)]
pub(super) struct SchemaQuery {
    place: QueryConnection,
    /// The last error of the statement, which is logged once.
    reported: Option<Failure>,
}

#[derive(Debug)]
enum QueryConnection {
    Postgres {
        target: Box<PostgresTarget>,
        name: String,
        session: Option<Session>,
    },
    Mysql {
        target: MysqlTarget,
        session: Option<mysql::Session>,
    },
    /// This lock has no database.
    Nobody,
}

impl SchemaQuery {
    pub(super) fn postgres(target: PostgresTarget, name: String) -> Self {
        Self { place: QueryConnection::Postgres { target: Box::new(target), name, session: None }, reported: None }
    }

    pub(super) const fn mysql(target: MysqlTarget) -> Self {
        Self { place: QueryConnection::Mysql { target, session: None }, reported: None }
    }

    pub(super) const fn without_database() -> Self {
        Self { place: QueryConnection::Nobody, reported: None }
    }

    /// A missing table is expected before the first migration; a missing permission is logged.
    fn pending(&mut self, failure: Failure) -> SchemaState {
        if self.reported.as_ref() != Some(&failure) {
            let why = failure.private.as_str();
            tracing::warn!(
                "the check's statement failed ({why}), which means that there is work to do; check the statement unless this is the first migration"
            );
            self.reported = Some(failure);
        }
        SchemaState::Pending
    }

    /// An error of the statement means that the schema does not exist yet; an error of the connection is no result.
    pub(super) async fn run(&mut self, statement: &str) -> Result<SchemaState, Failure> {
        timeout(LIMIT, self.once(statement)).await.unwrap_or_else(|_| Err(Failure::new(ErrorKind::Timeout, "the statement took too long")))
    }

    async fn once(&mut self, statement: &str) -> Result<SchemaState, Failure> {
        match &mut self.place {
            QueryConnection::Postgres { target, name, session } => {
                let open = match session.take() {
                    Some(open) if !open.is_closed() => open,
                    _ => Session::open(target, name, LIMIT).await?,
                };
                let answer = open.value(&within_schemas(&target.schemas, statement)).await;
                if open.is_closed() {
                    return answer.map(|value| judge(value.as_deref()));
                }
                *session = Some(open);
                match answer {
                    Ok(value) => Ok(judge(value.as_deref())),
                    Err(failure) => Ok(self.pending(failure)),
                }
            }
            QueryConnection::Mysql { target, session } => {
                let mut open = match session.take() {
                    Some(open) => open,
                    None => mysql::Session::open(target, LIMIT).await?,
                };
                match open.value(statement).await {
                    Ok(value) => {
                        *session = Some(open);
                        Ok(judge(value.as_deref()))
                    }
                    Err(failure) if matches!(failure.kind, ErrorKind::Protocol | ErrorKind::Auth) => Ok(self.pending(failure)),
                    Err(failure) => Err(failure),
                }
            }
            QueryConnection::Nobody => Err(Failure::new(ErrorKind::Internal, "there is no database to query")),
        }
    }
}

/// The statement, with these schemas as its search path. Both are one query and so one transaction, so that nothing remains in a session
/// that a pooler shares.
fn within_schemas<'s>(schemas: &[String], statement: &'s str) -> Cow<'s, str> {
    if schemas.is_empty() {
        return Cow::Borrowed(statement);
    }
    let path: Vec<_> = schemas.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\""))).collect();
    Cow::Owned(format!("SET LOCAL search_path = {}; {statement}", path.join(", ")))
}

/// Interprets the first value of the first row: as an exit status, a boolean, or a word.
fn judge(value: Option<&str>) -> SchemaState {
    match value {
        Some("0" | "t" | "true" | "current") => SchemaState::Current,
        Some("2" | "ahead") => SchemaState::Ahead,
        _ => SchemaState::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_skips_the_migration() {
        for (value, answer) in [
            (Some("0"), SchemaState::Current),
            (Some("t"), SchemaState::Current),
            (Some("2"), SchemaState::Ahead),
            (Some("1"), SchemaState::Pending),
            (Some("f"), SchemaState::Pending),
            (Some("7c31"), SchemaState::Pending),
            (None, SchemaState::Pending),
        ] {
            assert_eq!(judge(value), answer, "{value:?}");
        }
    }
}
