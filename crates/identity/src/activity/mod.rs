//! What sessions and keys do, noted in memory and written down in batches.

pub(crate) mod figures;
mod queries;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use systemprompt_database::DbPool;
use systemprompt_model::{ApiKeyId, SessionId};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::activity::figures::SessionActivity;
use crate::error::StoreError;

/// How often what was noted is written down.
const INTERVAL: Duration = Duration::from_secs(5);
/// Keys or sessions noted between two writes; beyond it, while the database cannot be reached, new ones are let go.
const MOST: usize = 100_000;

/// What sessions and keys did since it was last written down. These are figures for people: they are written in
/// batches, off the request path, and lost if the process is killed. What must not be lost is in the ledger.
pub(crate) struct Activity {
    keys: Mutex<HashMap<ApiKeyId, DateTime<Utc>>>,
    sessions: Mutex<HashMap<SessionId, SessionActivity>>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { keys: Mutex::default(), sessions: Mutex::default() }
    }

    pub(crate) fn key_used(&self, key: ApiKeyId, at: DateTime<Utc>) {
        note(&mut lock(&self.keys), key, at, |last| *last = at.max(*last));
    }

    pub(crate) fn session_active(&self, session: SessionId, activity: SessionActivity) {
        note(&mut lock(&self.sessions), session, activity, |noted| noted.add(activity));
    }

    /// Writes down what was noted, in one statement each. What could not be written stays noted.
    pub(crate) async fn write(&self, db: &DbPool) -> Result<(), StoreError> {
        let keys = std::mem::take(&mut *lock(&self.keys));
        if !keys.is_empty()
            && let Err(error) = queries::touch_api_keys(db.write(), &keys).await
        {
            for (key, at) in keys {
                self.key_used(key, at);
            }
            return Err(error.into());
        }
        let sessions = std::mem::take(&mut *lock(&self.sessions));
        if !sessions.is_empty()
            && let Err(error) = queries::add_session_activity(db.write(), &sessions).await
        {
            for (session, activity) in sessions {
                self.session_active(session, activity);
            }
            return Err(error.into());
        }
        Ok(())
    }

    /// Writes every few seconds, and a last time when cancelled.
    pub(crate) async fn write_until_cancelled(self: Arc<Self>, db: DbPool, cancel: CancellationToken) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let ends = tokio::select! {
                () = cancel.cancelled() => true,
                _ = interval.tick() => false,
            };
            match self.write(&db).await {
                Ok(()) => failing = false,
                Err(error) => {
                    // Once per outage; the same sentence every five seconds helps nobody.
                    if !failing {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "the activity of keys and sessions could not be written, trying again");
                    }
                    failing = true;
                }
            }
            if ends {
                return;
            }
        }
    }
}

fn note<K: Eq + Hash, V>(noted: &mut HashMap<K, V>, key: K, value: V, add: impl FnOnce(&mut V)) {
    if let Some(known) = noted.get_mut(&key) {
        add(known);
    } else if noted.len() < MOST {
        noted.insert(key, value);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic while the lock is held")
}
