//! How the schema stands by the database's own words: one statement, on a connection of its own.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::timeout;

use crate::outcome::{ErrorKind, Failure};
use crate::plan::target::{MysqlTarget, PostgresTarget};
use crate::probe::mysql;
use crate::probe::postgres::Session;

/// How long a statement may take; what is blocked by a running migration counts as not answered.
const LIMIT: Duration = Duration::from_secs(30);

/// How the schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemaState {
    Current,
    Ahead,
    Pending,
}

/// Asks a database, over a connection that is kept between questions and is not that of the lock: an error must not cost the lock.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub(super) struct SchemaQuery {
    place: QueryConnection,
    /// The last error of the statement, which is told once.
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

    /// A table that is not there yet is no news to anybody; a right that is missing is.
    fn pending(&mut self, failure: Failure) -> SchemaState {
        if self.reported.as_ref() != Some(&failure) {
            let why = failure.private.as_str();
            tracing::warn!("the check's statement failed ({why}), which counts as work to do; check it unless this is the first migration");
            self.reported = Some(failure);
        }
        SchemaState::Pending
    }

    /// An error of the statement is a schema that is not there yet; one of the connection is no answer.
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
            QueryConnection::Nobody => Err(Failure::new(ErrorKind::Internal, "there is no database to ask")),
        }
    }
}

/// The statement, looking for its tables in these schemas. Both are one query and so one transaction: nothing stays behind in a session that
/// a pooler lends to others, too.
fn within_schemas<'s>(schemas: &[String], statement: &'s str) -> Cow<'s, str> {
    if schemas.is_empty() {
        return Cow::Borrowed(statement);
    }
    let path: Vec<_> = schemas.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\""))).collect();
    Cow::Owned(format!("SET LOCAL search_path = {}; {statement}", path.join(", ")))
}

/// The first value of the first row: as an exit status has it, as a truth, or in words.
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
