//! Pointing the programs people use at the gateway: which settings each takes ([`plan`]), in files that are theirs and not
//! ours ([`document`]), with a way back ([`record`]), a key of its own ([`key`]), and one request that shows whether it works
//! ([`probe`]).
//!
//! To add a client: a variant of [`client::Client`] and its plan.

pub(crate) mod client;
pub(crate) mod document;
pub(crate) mod key;
pub(crate) mod plan;
pub(crate) mod probe;
pub(crate) mod record;
