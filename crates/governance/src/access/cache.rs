//! The rules in memory, and how they follow the tables.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use futures_util::FutureExt as _;
use systemprompt_database::DbPool;
use systemprompt_database::notify::{Event, Subscription};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::entities::Entities;
use super::patience::{Unavailable, in_time};
use super::queries;
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
    entities: ArcSwap<Entities>,
    pending: Mutex<Pending>,
    /// Changes heard of. Counted up while `pending` is locked.
    announced: AtomicU64,
    /// How many of them `entities` has.
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
            entities: ArcSwap::default(),
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
    pub(super) fn current(&self) -> Option<Guard<Arc<Entities>>> {
        // In this order a change that comes between is one the caller could not know of either.
        (self.announced.load(Ordering::Acquire) == self.applied.load(Ordering::Acquire)).then(|| self.entities.load())
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
pub(super) async fn follow(cache: Arc<Cache>, database: DbPool, mut events: Subscription, cancel: CancellationToken) {
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
        while listening && let Err(error) = read_changes(&cache, &database).await {
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

async fn read_changes(cache: &Cache, database: &DbPool) -> Result<(), Unavailable> {
    let (target, wanted) = {
        let mut pending = cache.pending();
        (cache.announced.load(Ordering::Acquire), std::mem::take(&mut *pending))
    };
    match read(cache, database, &wanted).await {
        Ok(entities) => {
            cache.entities.store(Arc::new(entities));
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

async fn read(cache: &Cache, database: &DbPool, wanted: &Pending) -> Result<Entities, Unavailable> {
    // One by one up to a handful, then all at once.
    if wanted.all || wanted.entities.len() > 8 {
        return in_time(queries::load_all(database.write())).await;
    }
    let mut entities = Entities::clone(&cache.entities.load());
    for (kind, id) in &wanted.entities {
        let entity = in_time(queries::find_entity(database.write(), *kind, id)).await?;
        entities.set(*kind, id.clone(), entity);
    }
    Ok(entities)
}
