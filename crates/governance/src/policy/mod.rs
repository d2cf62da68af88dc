//! The policies in force: built-in ones, one file each, and those of extensions.
//!
//! To add one of our own: its settings in a file of `config`, with a variant of
//! [`PolicyConfig`](crate::config::PolicyConfig); a file here with its [`Policy`] and its tests; a line in [`PolicyChain::new`].

mod alone;
mod calls;
mod chain;
mod destructive;
mod guard;
mod quota;
mod rate_limit;
mod require_approval;
mod residency;
mod scope_check;
mod secret_scan;
mod tool_blocklist;
mod tool_call;

pub(crate) use chain::{ChainOutcome, SAFETY, milliseconds_since};
pub use chain::{Evaluation, EvaluationResult, GatewayPolicies, PolicyChain, PolicyError};
pub(crate) use guard::Guard;
pub(crate) use require_approval::RequireApproval;
