//! The policies in force: built-in ones, one file each, and those of extensions.
//!
//! To add one of our own: a file here with its settings, its [`Policy`] and its tests; a variant of
//! [`PolicyConfig`](crate::config::PolicyConfig); a line in [`PolicyChain::new`].

mod chain;
pub(crate) mod rate_limit;
pub(crate) mod scope_check;
pub(crate) mod secret_scan;
pub(crate) mod tool_blocklist;

pub(crate) use chain::ChainOutcome;
pub use chain::{Evaluation, EvaluationResult, PolicyChain, PolicyError};
