//! A value that is copied when it is changed, and not when it is passed on.
//!
//! The snapshot consists of such values: to publish it costs the same, however much of it did not change.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// How many items of a list are copied to change one of them.
const CHUNK: usize = 32;

/// The value, which may be shared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CopyOnWrite<T>(Arc<T>);

impl<T> CopyOnWrite<T> {
    /// Whether neither of the two was changed since one was copied from the other.
    pub fn is_unchanged(&self, since: &Self) -> bool {
        Arc::ptr_eq(&self.0, &since.0)
    }
}

impl<T> From<Vec<CopyOnWrite<T>>> for CopyOnWrite<List<T>> {
    fn from(items: Vec<CopyOnWrite<T>>) -> Self {
        List::from(items).into()
    }
}

impl<T> FromIterator<T> for CopyOnWrite<List<T>> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        items.into_iter().map(CopyOnWrite::from).collect::<Vec<_>>().into()
    }
}

/// Tests change what they like.
#[cfg(test)]
impl<T> std::ops::Index<usize> for List<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        self.get(index).unwrap()
    }
}

#[cfg(test)]
impl<T: Clone> std::ops::IndexMut<usize> for List<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        self.get_mut(index).unwrap()
    }
}

#[cfg(test)]
impl<T: Clone> List<T> {
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.chunks.iter_mut().flat_map(|chunk| Arc::make_mut(chunk).iter_mut()).map(DerefMut::deref_mut)
    }
}

impl<T> Clone for CopyOnWrite<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
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

/// A list of such values, in chunks: to pass it on, or to change one of a thousand items, takes about thirty steps each.
#[derive(Clone, Debug)]
pub struct List<T> {
    /// All but the last are full.
    chunks: Vec<Arc<[CopyOnWrite<T>]>>,
}

impl<T> List<T> {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.chunks.split_last().map_or(0, |(last, full)| full.len() * CHUNK + last.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The item at this index.
    pub fn get(&self, index: usize) -> Option<&T> {
        Some(self.chunks.get(index / CHUNK)?.get(index % CHUNK)?)
    }

    /// All items in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).map(Deref::deref)
    }

    /// The index of one for which `is_it` holds. The search begins at `near`, where it probably is, and goes once around.
    pub fn search(&self, near: usize, is_it: impl Fn(&T) -> bool) -> Option<usize> {
        let length = self.len();
        let near = near.min(length);
        (near..length).chain(0..near).find(|index| self.get(*index).is_some_and(&is_it))
    }

    /// The items that were changed since the list was `before`, each with its earlier value.
    pub fn changed<'a>(&'a self, before: &'a Self, is_same: impl Fn(&T, &T) -> bool + 'a) -> impl Iterator<Item = (&'a T, &'a T)> {
        let chunks =
            self.chunks.iter().enumerate().filter(|(index, chunk)| before.chunks.get(*index).is_none_or(|old| !Arc::ptr_eq(chunk, old)));
        let items = chunks.flat_map(|(chunk, items)| items.iter().enumerate().map(move |(index, item)| (chunk * CHUNK + index, item)));
        items.filter_map(move |(index, new)| {
            let at_its_place = before.chunks.get(index / CHUNK).and_then(|chunk| chunk.get(index % CHUNK));
            if at_its_place.is_some_and(|old| new.is_unchanged(old)) {
                return None;
            }
            before.search(index, |old| is_same(old, new)).and_then(|old| before.get(old)).map(|old| (&**new, old))
        })
    }

    /// Adds, removes or replaces items.
    pub fn rebuild<R>(&mut self, change: impl FnOnce(&mut Vec<CopyOnWrite<T>>) -> R) -> R {
        let mut items: Vec<_> = self.chunks.iter().flat_map(|chunk| chunk.iter().cloned()).collect();
        let result = change(&mut items);
        *self = items.into();
        result
    }
}

impl<T: Clone> List<T> {
    /// The item at this index, to be changed.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        let chunk = self.chunks.get_mut(index / CHUNK)?;
        Arc::make_mut(chunk).get_mut(index % CHUNK).map(DerefMut::deref_mut)
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> From<Vec<CopyOnWrite<T>>> for List<T> {
    fn from(items: Vec<CopyOnWrite<T>>) -> Self {
        Self { chunks: items.chunks(CHUNK).map(Arc::from).collect() }
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

    fn numbers(count: usize) -> List<usize> {
        (0..count).map(CopyOnWrite::from).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_list_has_every_item_at_its_index() {
        for count in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let list = numbers(count);
            assert_eq!((list.len(), list.is_empty()), (count, count == 0));
            assert!(list.iter().copied().eq(0..count), "{count}");
            assert!((0..count + 2).all(|index| list.get(index) == (index < count).then_some(&index)), "{count}");
            for near in [0, 1, count, count + 7] {
                assert!((0..count).all(|wanted| list.search(near, |item| *item == wanted) == Some(wanted)), "{count}");
                assert_eq!(list.search(near, |_| false), None);
            }
        }
    }

    #[test]
    fn what_was_changed_in_a_list_is_found_with_its_earlier_value() {
        let before = numbers(3 * CHUNK);
        let changed = |list: &List<usize>| {
            list.changed(&before, |old, new| old % 1_000 == new % 1_000).map(|(new, old)| (*new, *old)).collect::<Vec<_>>()
        };
        let mut list = before.clone();
        assert_eq!(changed(&list), []);
        *list.get_mut(CHUNK + 3).unwrap() += 1_000;
        assert_eq!(changed(&list), [(1_000 + CHUNK + 3, CHUNK + 3)]);
        list.rebuild(|items| {
            items.remove(0);
            items.push(4_999.into());
        });
        let found = changed(&list);
        assert!(found.contains(&(1_000 + CHUNK + 3, CHUNK + 3)) && !found.iter().any(|(new, _)| *new == 4_999), "{found:?}");
        assert_eq!(list.get(0), Some(&1));
    }
}
