//! What is known of one provider: how each of its models does, and how much it is asked at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::breaker::{Admitted, Breaker, BreakerSettings, BreakerState};
use super::bulkhead::{Bulkhead, Slot};
use crate::config::Protection;

/// How long to wait where all places are taken: nobody knows when one will be free.
const WHILE_FULL: Duration = Duration::from_secs(1);

/// The health of one provider.
#[derive(Debug)]
pub(crate) struct Health {
    protection: Protection,
    bulkhead: Bulkhead,
    /// By the names that models have in metrics, of which there are few.
    breakers: RwLock<HashMap<String, Arc<Mutex<Breaker>>>>,
}

/// Why nothing is sent to a provider at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShutReason {
    /// The model failed too often.
    CircuitOpen,
    /// It has as many requests as it may have.
    Full,
}

/// Nothing is sent at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shut {
    pub reason: ShutReason,
    /// How long at least.
    pub wait: Duration,
}

/// One attempt that may be made. Dropped without a word about its outcome, nothing is learnt from it.
#[derive(Debug)]
pub(crate) struct Pass {
    breaker: Option<(Arc<Mutex<Breaker>>, Admitted)>,
    slot: Option<Slot>,
    is_probe: bool,
}

impl Health {
    /// That of a provider of which nothing is known yet.
    pub(crate) fn new(protection: Protection) -> Self {
        Self { protection, bulkhead: Bulkhead::new(protection.max_concurrent), breakers: RwLock::default() }
    }

    /// Whether what is known under these settings may be kept under those.
    pub(crate) fn fits(&self, protection: &Protection) -> bool {
        self.protection == *protection
    }

    /// Why a model would not be let through now, if it would not.
    pub(crate) fn is_shut(&self, model: &str, now: Instant) -> Option<ShutReason> {
        if self.bulkhead.is_full() {
            return Some(ShutReason::Full);
        }
        let is_open = self.breaker(model).is_some_and(|breaker| lock(&breaker).is_shut(now));
        is_open.then_some(ShutReason::CircuitOpen)
    }

    /// A place at the provider, and the breaker's word that the model may be asked.
    pub(crate) fn enter(&self, model: &str, now: Instant) -> Result<Pass, Shut> {
        // First the place: a probe that finds none would have to be taken back.
        let slot = self.bulkhead.enter().ok_or(Shut { reason: ShutReason::Full, wait: WHILE_FULL })?;
        let Some(breaker) = self.breaker(model) else {
            return Ok(Pass { breaker: None, slot: Some(slot), is_probe: false });
        };
        let (admitted, state) = {
            let mut breaker = lock(&breaker);
            (breaker.admit(now), breaker.state(now))
        };
        let admitted = admitted.map_err(|wait| Shut { reason: ShutReason::CircuitOpen, wait })?;
        let is_probe = state == BreakerState::HalfOpen;
        Ok(Pass { breaker: Some((breaker, admitted)), slot: Some(slot), is_probe })
    }

    /// How the breaker of a model stands.
    pub(crate) fn state(&self, model: &str, now: Instant) -> BreakerState {
        self.breaker(model).map_or(BreakerState::Closed, |breaker| lock(&breaker).state(now))
    }

    /// The breaker of a model, unless they are switched off.
    fn breaker(&self, model: &str) -> Option<Arc<Mutex<Breaker>>> {
        let threshold = self.protection.failure_threshold?;
        if let Some(known) = self.breakers.read().unwrap_or_else(PoisonError::into_inner).get(model) {
            return Some(known.clone());
        }
        let Protection { cooldown, probes, .. } = self.protection;
        let mut breakers = self.breakers.write().unwrap_or_else(PoisonError::into_inner);
        let breaker = breakers
            .entry(model.to_owned())
            .or_insert_with(|| Arc::new(Mutex::new(Breaker::new(BreakerSettings { threshold, cooldown, probes }))));
        Some(breaker.clone())
    }
}

impl Pass {
    /// Whether the model is only being tried out.
    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// The provider answered, whatever it said.
    pub(crate) fn answered(&mut self) {
        if let Some((breaker, admitted)) = self.breaker.take() {
            lock(&breaker).succeeded(&admitted);
        }
    }

    /// The provider failed.
    pub(crate) fn failed(&mut self, now: Instant) {
        if let Some((breaker, admitted)) = self.breaker.take() {
            lock(&breaker).failed(&admitted, now);
        }
    }

    /// The place at the provider, which is taken until the end of its answer.
    pub(crate) fn into_slot(mut self) -> Option<Slot> {
        self.slot.take()
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some((breaker, admitted)) = self.breaker.take() {
            lock(&breaker).abandoned(&admitted);
        }
    }
}

/// What is behind the lock is whole after every statement.
fn lock(breaker: &Mutex<Breaker>) -> MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTECTION: Protection = Protection {
        failure_threshold: Some(1),
        cooldown: Duration::from_secs(30),
        probes: 1,
        max_concurrent: Some(2),
    };

    #[test]
    fn models_fail_by_themselves_and_share_the_places() {
        let (health, now) = (Health::new(PROTECTION), Instant::now());
        health.enter("a", now).expect("a place").failed(now);
        let shut = health.enter("a", now).expect_err("it failed");
        assert_eq!(shut, Shut { reason: ShutReason::CircuitOpen, wait: Duration::from_secs(30) });
        assert_eq!((health.is_shut("a", now), health.is_shut("b", now)), (Some(ShutReason::CircuitOpen), None));
        let [mut first, _second] = [(); 2].map(|()| health.enter("b", now).expect("a place"));
        assert_eq!(health.enter("b", now).expect_err("full").reason, ShutReason::Full);
        first.answered();
        let slot = first.into_slot();
        assert_eq!(health.is_shut("b", now), Some(ShutReason::Full), "until the answer has ended");
        drop(slot);
        assert_eq!(health.is_shut("b", now), None);
    }

    #[test]
    fn a_probe_that_nobody_waited_for_is_no_probe() {
        let (health, now) = (Health::new(PROTECTION), Instant::now());
        health.enter("a", now).expect("a place").failed(now);
        let later = now + Duration::from_secs(30);
        drop(health.enter("a", later).expect("a probe"));
        health.enter("a", later).expect("another").answered();
        assert_eq!(health.state("a", later), BreakerState::Closed);
    }

    #[test]
    fn a_breaker_can_be_switched_off() {
        let (health, now) = (Health::new(Protection { failure_threshold: None, ..PROTECTION }), Instant::now());
        for _ in 0..100 {
            health.enter("a", now).expect("a place").failed(now);
        }
        assert_eq!(health.is_shut("a", now), None);
    }
}
