//! A token that is asked for when it is needed, by one for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use systemprompt_model::Ambient;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::task::TaskTracker;

use super::error::CredentialError;

/// So long before its end a token is replaced while it still serves.
const EARLY: TimeDelta = TimeDelta::minutes(5);
/// So long before its end it serves no more: what is sent with it takes a while.
const LATE: TimeDelta = TimeDelta::seconds(30);
/// So long a failure answers for those who come after it.
const FAILED: TimeDelta = TimeDelta::seconds(1);

/// Where tokens come from.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    /// What it gives.
    type Value: Clone + Send + Sync + 'static;

    /// Whether what it gives may be another thing the next time.
    fn gives_new(&self) -> bool {
        true
    }

    /// Asks for a new one, and until when it is good; for ever, if nothing is said.
    async fn fetch(&self, now: DateTime<Utc>) -> Result<(Self::Value, Option<DateTime<Utc>>), CredentialError>;
}

/// When asking for a value failed, and why.
type LastFailure = (DateTime<Utc>, CredentialError);

/// A value that is kept for as long as it is good. However many want it at once, one asks for it.
pub(super) struct Cached<S: Source> {
    source: S,
    ambient: Ambient,
    held: ArcSwapOption<Held<S::Value>>,
    /// Held by whoever asks for a new one. What is in it is the last failure.
    flight: Arc<Mutex<Option<LastFailure>>>,
    /// The provider does not take the value that is held.
    refused: AtomicBool,
    /// Requests for a new one. Nothing waits for them at the end of the server: what they bring is for nobody then.
    tasks: TaskTracker,
}

struct Held<T> {
    value: T,
    /// From when on a new one is asked for.
    renew: DateTime<Utc>,
    /// From when on it serves no more.
    end: DateTime<Utc>,
    since: DateTime<Utc>,
}

type Flight = OwnedMutexGuard<Option<(DateTime<Utc>, CredentialError)>>;

impl<S: Source> Cached<S> {
    /// What comes from `source`.
    pub(super) fn new(source: S, ambient: Ambient) -> Arc<Self> {
        Arc::new(Self {
            source,
            ambient,
            held: ArcSwapOption::empty(),
            flight: Arc::default(),
            refused: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        })
    }

    /// The value, which is asked for if there is none that serves.
    pub(super) async fn get(self: &Arc<Self>) -> Result<S::Value, CredentialError> {
        if let Some(held) = self.serving() {
            if self.ambient.now() >= held.renew
                && let Ok(flight) = self.flight.clone().try_lock_owned()
            {
                // It still serves, so nobody waits.
                self.tasks.spawn(self.clone().renew(flight));
            }
            return Ok(held.value.clone());
        }
        let flight = self.flight.clone().lock_owned().await;
        // Whoever had the turn before may have got it, or have failed just now.
        if let Some(held) = self.serving() {
            return Ok(held.value.clone());
        }
        if let Some((since, error)) = &*flight
            && self.ambient.now() - since < FAILED
        {
            return Err(error.clone());
        }
        // In a task of its own: that the one who asks goes away is no reason to begin anew for the others.
        self.tasks.spawn(self.clone().renew(flight)).await.unwrap_or(Err(CredentialError::GivenUp))
    }

    /// The provider refused the value. True if it was not asked for just now, so that a new one may be worth a try.
    pub(super) fn refuse(&self) -> bool {
        let is_old = self.held.load().as_ref().is_some_and(|held| self.ambient.now() - held.since >= FAILED);
        self.source.gives_new() && is_old && !self.refused.swap(true, Relaxed)
    }

    fn serving(&self) -> Option<Arc<Held<S::Value>>> {
        let held = self.held.load_full()?;
        (self.ambient.now() < held.end && !self.refused.load(Relaxed)).then_some(held)
    }

    async fn renew(self: Arc<Self>, mut flight: Flight) -> Result<S::Value, CredentialError> {
        let since = self.ambient.now();
        match self.source.fetch(since).await {
            Ok((value, end)) => {
                let end = end.unwrap_or(DateTime::<Utc>::MAX_UTC);
                let life = (end - since).max(TimeDelta::zero());
                let renew = end - EARLY.min(life / 2);
                let held = Held { value: value.clone(), renew, end: end - LATE.min(life / 4), since };
                self.held.store(Some(Arc::new(held)));
                self.refused.store(false, Relaxed);
                *flight = None;
                Ok(value)
            }
            Err(error) => {
                tracing::warn!(%error, "no credential for a provider");
                *flight = Some((self.ambient.now(), error.clone()));
                Err(error)
            }
        }
    }
}
