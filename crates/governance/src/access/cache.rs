//! The rules in memory, and how they follow the tables.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use futures_util::FutureExt as _;
use systemprompt_database::notify::{Event, Subscription};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::patience::{Unavailable, in_time};
use super::queries;
use super::rule_set::RuleSet;
use super::store::RuleStore;
use systemprompt_model::{Condition, EntityKind};

/// Where the tables announce changes; the name is in `schema/access.sql` too.
pub(super) const CHANNEL: &str = "access_control";
const RETRY: Duration = Duration::from_millis(250);

/// Something in the tables is not as it is in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    All,
    Entity(EntityKind, String),
}

impl Change {
    fn from_payload(payload: &str) -> Self {
        payload
            .split_once(':')
            .and_then(|(kind, id)| Some(Self::Entity(kind.parse().ok()?, id.to_owned())))
            .unwrap_or(Self::All)
    }
}

#[derive(Debug)]
pub(super) struct Cache {
    rules: ArcSwap<RuleSet>,
    pending: Mutex<Pending>,
    /// Changes heard of. Counted up while `pending` is locked.
    announced: AtomicU64,
    /// How many of them `rules` has.
    applied: AtomicU64,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    all: bool,
    entities: HashSet<(EntityKind, String)>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            rules: ArcSwap::default(),
            pending: Mutex::new(Pending { all: true, entities: HashSet::new() }),
            // Nothing was read yet.
            announced: AtomicU64::new(1),
            applied: AtomicU64::new(0),
            wake: Notify::new(),
        }
    }
}

impl Cache {
    /// The rules, if they have every change that was heard of.
    pub(super) fn current(&self) -> Option<Guard<Arc<RuleSet>>> {
        // In this order a change that comes between is one the caller could not know of either.
        (self.announced.load(Ordering::Acquire) == self.applied.load(Ordering::Acquire)).then(|| self.rules.load())
    }

    /// From now on nothing is decided from memory until the change is in it.
    pub(super) fn changed(&self, change: Change) {
        let mut pending = self.pending();
        match change {
            Change::All => pending.all = true,
            Change::Entity(kind, id) => drop(pending.entities.insert((kind, id))),
        }
        self.announced.fetch_add(1, Ordering::AcqRel);
        drop(pending);
        self.wake.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("no panic while the lock is held")
    }
}

/// Reads what has changed whenever something has, until cancelled.
pub(super) async fn follow(
    cache: Arc<Cache>,
    store: Arc<RuleStore>,
    mut events: Subscription,
    cancel: CancellationToken,
) {
    // Nothing is read before announcements are heard: what changes in between would be missed.
    let mut listening = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = cache.wake.notified() => {}
            event = events.next() => {
                let mut next = Some(event);
                while let Some(event) = next {
                    match event {
                        Some(Event::Notification(payload)) => cache.changed(Change::from_payload(&payload)),
                        Some(Event::Reconnected) => {
                            listening = true;
                            cache.changed(Change::All);
                        }
                        Some(Event::Lost) => {
                            listening = false;
                            cache.changed(Change::All);
                        }
                        None => return,
                    }
                    next = events.next().now_or_never();
                }
            }
        }
        let mut unreadable = Condition::default();
        while listening && let Err(error) = read_changes(&cache, &store).await {
            if unreadable.begins() {
                tracing::warn!(%error, "access rules cannot be read and are asked for with every request");
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}

async fn read_changes(cache: &Cache, store: &RuleStore) -> Result<(), Unavailable> {
    let (target, wanted) = {
        let mut pending = cache.pending();
        (cache.announced.load(Ordering::Acquire), std::mem::take(&mut *pending))
    };
    match read(cache, store, &wanted).await {
        Ok(rules) => {
            cache.rules.store(Arc::new(rules));
            cache.applied.store(target, Ordering::Release);
            Ok(())
        }
        Err(error) => {
            let mut pending = cache.pending();
            pending.all |= wanted.all;
            pending.entities.extend(wanted.entities);
            Err(error)
        }
    }
}

async fn read(cache: &Cache, store: &RuleStore, wanted: &Pending) -> Result<RuleSet, Unavailable> {
    // One by one up to a handful, then all at once.
    if wanted.all || wanted.entities.len() > 8 {
        return store.rule_set().await;
    }
    let mut changed = Vec::with_capacity(wanted.entities.len());
    for (kind, id) in &wanted.entities {
        let entity = in_time(queries::find_entity(store.db.write(), *kind, id)).await?;
        changed.push(((*kind, id.clone()), entity));
    }
    Ok(cache.rules.load().with(changed))
}
