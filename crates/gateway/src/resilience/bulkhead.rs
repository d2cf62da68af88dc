//! A limit of the requests a provider has at a time. Nobody waits for a place: who finds none goes elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The places at a provider.
#[derive(Debug, Default)]
pub(super) struct Bulkhead {
    taken: Arc<AtomicUsize>,
    limit: Option<usize>,
}

/// A place at a provider, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<AtomicUsize>);

impl Bulkhead {
    /// So many places; without a limit there is always one.
    pub(super) fn new(limit: Option<usize>) -> Self {
        Self { taken: Arc::default(), limit }
    }

    /// Takes a place, if one is free.
    pub(super) fn enter(&self) -> Option<Slot> {
        let limit = self.limit.unwrap_or(usize::MAX);
        self.taken.fetch_update(Relaxed, Relaxed, |taken| (taken < limit).then_some(taken + 1)).ok()?;
        Some(Slot(self.taken.clone()))
    }

    /// Whether none is free.
    pub(super) fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.taken.load(Relaxed) >= limit)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_inside_than_places() {
        let bulkhead = Arc::new(Bulkhead::new(Some(3)));
        let highest = Arc::new(AtomicUsize::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let Some(slot) = bulkhead.enter() else { continue };
                        highest.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                        inside.fetch_sub(1, Relaxed);
                        drop(slot);
                    }
                });
            }
        });
        assert!((1..=3).contains(&highest.load(Relaxed)));
        let slots: Vec<_> = std::iter::from_fn(|| bulkhead.enter()).collect();
        assert!(slots.len() == 3 && bulkhead.is_full(), "every place was given back");
        drop(slots);
        assert!(!bulkhead.is_full());
    }

    #[test]
    fn without_a_limit_there_is_always_a_place() {
        let bulkhead = Bulkhead::new(None);
        let slots: Vec<_> = std::iter::from_fn(|| bulkhead.enter()).take(100).collect();
        assert_eq!(slots.len(), 100);
        assert!(!bulkhead.is_full());
    }
}
