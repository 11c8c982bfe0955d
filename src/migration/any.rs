//! Type erasure for locks, so that the code of the keeper is compiled only once.

use std::any::Any;
use std::time::Duration;

use async_trait::async_trait;

use super::lock::{Leftover, Lock, Try};
use super::schema_query::SchemaQuery;
use crate::outcome::{ErrorKind, Failure};
use crate::state::event::LockHolder;

/// A guard that holds a lock of any kind while it lives. Only the lock that returned it knows its type.
pub(super) type AnyHeld = Box<dyn Any + Send + Sync>;

/// A [`Lock`] of any kind; each method is the one of the same name there.
#[async_trait]
pub(super) trait AnyLock: Send + Sync {
    fn shown(&self) -> String;
    async fn attempt(&mut self) -> Result<Try<AnyHeld>, Failure>;
    fn is_own(&self, holder: &LockHolder) -> bool;
    async fn succeeds_cleanly(&mut self, held: &mut AnyHeld) -> Result<bool, Failure>;
    async fn handed_on(&mut self);
    async fn leftovers(&self, held: &mut AnyHeld) -> Result<Vec<Leftover>, Failure>;
    async fn end_leftovers(&self, held: &mut AnyHeld) -> Result<(), Failure>;
    fn environment(&self, held: &AnyHeld) -> Vec<(String, String)>;
    async fn holds(&self, held: &mut AnyHeld) -> Result<bool, Failure>;
    async fn attend(&self, held: &mut AnyHeld, running: Duration) -> Result<Option<String>, Failure>;
    async fn ended(&self, held: &mut AnyHeld);
    async fn give_back(&mut self, held: AnyHeld);
    fn schema_query(&self) -> SchemaQuery;
}

/// The guard in its own type. It never belongs to another lock, because there is only one.
fn own<H: 'static>(held: &mut AnyHeld) -> Result<&mut H, Failure> {
    held.downcast_mut().ok_or_else(|| Failure::new(ErrorKind::Internal, "what is held belongs to another lock"))
}

#[async_trait]
impl<L: Lock> AnyLock for L {
    fn shown(&self) -> String {
        Lock::shown(self)
    }

    async fn attempt(&mut self) -> Result<Try<AnyHeld>, Failure> {
        Ok(match Lock::attempt(self).await? {
            Try::Held(held) => Try::Held(Box::new(held)),
            Try::Taken(holder) => Try::Taken(holder),
            Try::Unusable(why) => Try::Unusable(why),
        })
    }

    fn is_own(&self, holder: &LockHolder) -> bool {
        Lock::is_own(self, holder)
    }

    async fn succeeds_cleanly(&mut self, held: &mut AnyHeld) -> Result<bool, Failure> {
        Ok(Lock::succeeds_cleanly(self, own(held)?).await)
    }

    async fn handed_on(&mut self) {
        Lock::handed_on(self).await;
    }

    async fn leftovers(&self, held: &mut AnyHeld) -> Result<Vec<Leftover>, Failure> {
        Lock::leftovers(self, own(held)?).await
    }

    async fn end_leftovers(&self, held: &mut AnyHeld) -> Result<(), Failure> {
        Lock::end_leftovers(self, own(held)?).await
    }

    fn environment(&self, held: &AnyHeld) -> Vec<(String, String)> {
        held.downcast_ref().map(|held| Lock::environment(self, held)).unwrap_or_default()
    }

    async fn holds(&self, held: &mut AnyHeld) -> Result<bool, Failure> {
        Lock::holds(self, own(held)?).await
    }

    async fn attend(&self, held: &mut AnyHeld, running: Duration) -> Result<Option<String>, Failure> {
        Lock::attend(self, own(held)?, running).await
    }

    async fn ended(&self, held: &mut AnyHeld) {
        if let Ok(held) = own(held) {
            Lock::ended(self, held).await;
        }
    }

    async fn give_back(&mut self, held: AnyHeld) {
        if let Ok(held) = held.downcast() {
            Lock::give_back(self, *held).await;
        }
    }

    fn schema_query(&self) -> SchemaQuery {
        Lock::schema_query(self)
    }
}
