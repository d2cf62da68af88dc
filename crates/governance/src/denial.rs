//! Why something was not permitted.

use std::time::Duration;

use systemprompt_extension::policy::DenialKind;

/// What the Gate answers instead of a permit. Either way nothing may be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A rule said no. The refusal is recorded.
    #[error("{0}")]
    Denied(Denial),
    /// What is done must be recorded first, and the ledger cannot be written at present. Nothing is recorded.
    #[error("the audit ledger cannot be written at present")]
    LedgerUnavailable,
}

/// A rule's no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{policy}]: {reason}")]
pub struct Denial {
    /// The policy that said it, e.g. `secret_scan` or `authz_rule_based`.
    pub policy: String,
    /// What kind of no it is; a surface answers with the status and error type of its dialect.
    pub kind: DenialKind,
    /// A sentence for the caller. Never contains what a scanner found.
    pub reason: String,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// The stable, machine-readable reason, e.g. `policy_denied`.
    pub code: &'static str,
}
