//! A value that is copied when it is changed, and not when it is passed on.
//!
//! The snapshot consists of such values: to publish it costs the same, however much of it did not change.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The value, which may be shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyOnWrite<T>(Arc<T>);

impl<T> CopyOnWrite<T> {
    /// Whether neither of the two was changed since one was copied from the other.
    pub fn is_unchanged(&self, since: &Self) -> bool {
        Arc::ptr_eq(&self.0, &since.0)
    }
}

impl<T> From<T> for CopyOnWrite<T> {
    fn from(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for CopyOnWrite<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Other owners of the value keep it unchanged.
impl<T: Clone> DerefMut for CopyOnWrite<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_not_seen_by_who_has_the_value_from_before() {
        let mut one = CopyOnWrite::from(vec![1]);
        let before = one.clone();
        assert!(one.is_unchanged(&before));
        one.push(2);
        assert!(!one.is_unchanged(&before));
        assert_eq!((&**one, &**before), (&[1, 2][..], &[1][..]));
    }
}
