//! The cache itself: looking for answers, writing them, and keeping it small.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use chrono::TimeDelta;
use systemprompt_database::DbPool;
use systemprompt_model::{Ambient, with_causes};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::entry::{Entry, Found};
use super::key::Key;
use super::queries;
use crate::config::AnswerCacheConfig;
use crate::metrics::{CacheResult, GatewayMetrics};

/// How long looking for an answer may take; after that the provider is asked.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many answers may wait to be written. One that finds no place is not kept.
const WAITING: usize = 64;
/// How often what is over is dropped.
const UPKEEP: Duration = Duration::from_mins(1);

/// The answers of all routes. One for each server.
pub(crate) struct AnswerCache {
    db: DbPool,
    pub(super) ambient: Ambient,
    pub(super) metrics: Arc<GatewayMetrics>,
    writer: mpsc::Sender<Entry>,
    /// The most that may be kept.
    max_total_bytes: AtomicU64,
}

impl AnswerCache {
    /// A cache without anything to do yet, and who writes to it.
    pub(crate) fn new(
        db: DbPool,
        ambient: Ambient,
        metrics: Arc<GatewayMetrics>,
        config: AnswerCacheConfig,
    ) -> (Arc<Self>, Writer) {
        let (writer, entries) = mpsc::channel(WAITING);
        let max_total_bytes = AtomicU64::new(config.max_total_bytes);
        let cache = Arc::new(Self { db, ambient, metrics, writer, max_total_bytes });
        (cache.clone(), Writer { cache, entries, written: 0 })
    }

    /// From now on another configuration counts.
    pub(crate) fn put_in_force(&self, config: AnswerCacheConfig) {
        self.max_total_bytes.store(config.max_total_bytes, Relaxed);
    }

    pub(super) async fn find(&self, key: Key, ttl: TimeDelta) -> Option<Found> {
        let now = self.ambient.now();
        // What a route keeps for a shorter time now than it did is over sooner too.
        match timeout(PATIENCE, queries::find(self.db.write(), &key.0, now, now - ttl)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                tracing::warn!(error = with_causes(&error), "the answer cache cannot be read; the provider is asked");
                None
            }
            Err(_) => {
                tracing::warn!("the answer cache does not answer in time; the provider is asked");
                None
            }
        }
    }

    /// Has an answer written, if there is a place for it among those that wait.
    pub(super) fn keep(&self, entry: Entry) {
        if self.writer.try_send(entry).is_err() {
            self.metrics.cache(CacheResult::Dropped);
        }
    }
}

/// Writes to the cache, and keeps it small.
pub(crate) struct Writer {
    cache: Arc<AnswerCache>,
    entries: mpsc::Receiver<Entry>,
    /// Bytes since the size was looked at.
    written: u64,
}

impl Writer {
    /// Works until cancelled; what waits then is still written.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut upkeep = interval(UPKEEP);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                entry = self.entries.recv() => match entry {
                    Some(entry) => self.write(entry).await,
                    None => break,
                },
                _ = upkeep.tick() => self.evict().await,
            }
        }
        self.entries.close();
        while let Some(entry) = self.entries.recv().await {
            self.write(entry).await;
        }
    }

    async fn write(&mut self, entry: Entry) {
        match queries::store(self.cache.db.write(), &entry).await {
            Ok(()) => self.cache.metrics.cache(CacheResult::Stored),
            Err(error) => {
                self.cache.metrics.cache(CacheResult::Dropped);
                tracing::warn!(error = with_causes(&error), "an answer could not be kept");
            }
        }
        self.written += entry.answer.len() as u64;
        if self.written > self.cache.max_total_bytes.load(Relaxed) / 8 {
            self.evict().await;
        }
    }

    async fn evict(&mut self) {
        self.written = 0;
        let most = i64::try_from(self.cache.max_total_bytes.load(Relaxed)).unwrap_or(i64::MAX);
        if let Err(error) = queries::evict(self.cache.db.write(), self.cache.ambient.now(), most).await {
            tracing::warn!(
                error = with_causes(&error),
                "the answer cache could not be tidied up; that is tried again in a minute"
            );
        }
    }
}
