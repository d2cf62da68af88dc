//! What keeps a provider that is down, slow or full from taking everybody down with it: waits between attempts, a breaker
//! for each of its models, and a limit of the requests it has at a time.
//!
//! Each is a small state machine without a clock or randomness of its own; [`Health`] joins them for one provider.

pub(crate) mod backoff;
mod breaker;
mod bulkhead;
mod health;

pub(crate) use breaker::BreakerState;
pub(crate) use bulkhead::Slot;
pub(crate) use health::{Health, Pass, Shut, ShutReason};
