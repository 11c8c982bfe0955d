//! How the schema stands by the database's own words: one statement, on a connection of its own.

use std::time::Duration;

use tokio::time::timeout;

use crate::outcome::{Class, Failure};
use crate::plan::target::{MysqlTarget, PostgresTarget};
use crate::probe::mysql;
use crate::probe::postgres::Session;

/// How long a statement may take; what is blocked by a running migration counts as not answered.
const LIMIT: Duration = Duration::from_secs(30);

/// How the schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Current,
    Ahead,
    Pending,
}

/// Asks a database, over a connection that is kept between questions and is not that of the lock: an error must not cost the lock.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub(super) enum Asker {
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

impl Asker {
    /// An error of the statement is a schema that is not there yet; one of the connection is no answer.
    pub(super) async fn ask(&mut self, statement: &str) -> Result<Answer, Failure> {
        timeout(LIMIT, self.once(statement)).await.unwrap_or_else(|_| Err(Failure::new(Class::Timeout, "the statement took too long")))
    }

    async fn once(&mut self, statement: &str) -> Result<Answer, Failure> {
        match self {
            Self::Postgres { target, name, session } => {
                let open = match session.take() {
                    Some(open) if !open.is_closed() => open,
                    _ => Session::open(target, name, LIMIT).await?,
                };
                let answer = open.value(statement).await;
                if open.is_closed() {
                    return answer.map(|value| judge(value.as_deref()));
                }
                *session = Some(open);
                match answer {
                    Ok(value) => Ok(judge(value.as_deref())),
                    Err(failure) => {
                        tracing::debug!(why = failure.private.as_str(), "the check's statement failed, so there is something to do");
                        Ok(Answer::Pending)
                    }
                }
            }
            Self::Mysql { target, session } => {
                let mut open = match session.take() {
                    Some(open) => open,
                    None => mysql::Session::open(target, LIMIT).await?,
                };
                match open.value(statement).await {
                    Ok(value) => {
                        *session = Some(open);
                        Ok(judge(value.as_deref()))
                    }
                    Err(failure) if failure.class == Class::Protocol => {
                        tracing::debug!(why = failure.private.as_str(), "the check's statement failed, so there is something to do");
                        Ok(Answer::Pending)
                    }
                    Err(failure) => Err(failure),
                }
            }
            Self::Nobody => Err(Failure::new(Class::Internal, "there is no database to ask")),
        }
    }
}

/// The first value of the first row: as an exit status has it, as a truth, or in words.
fn judge(value: Option<&str>) -> Answer {
    match value {
        Some("0" | "t" | "true" | "current") => Answer::Current,
        Some("2" | "ahead") => Answer::Ahead,
        _ => Answer::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_skips_the_migration() {
        for (value, answer) in [
            (Some("0"), Answer::Current),
            (Some("t"), Answer::Current),
            (Some("2"), Answer::Ahead),
            (Some("1"), Answer::Pending),
            (Some("f"), Answer::Pending),
            (Some("7c31"), Answer::Pending),
            (None, Answer::Pending),
        ] {
            assert_eq!(judge(value), answer, "{value:?}");
        }
    }
}
