//! Why something was not permitted.

use std::fmt::Write as _;
use std::time::Duration;

use systemprompt_extension::policy::{Allowance, DenialKind, Violation};
use systemprompt_model::ActionId;

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
    /// What the caller can do about it, in whole sentences. Told and not recorded.
    pub advice: Option<String>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// What is left of the limits that were asked, where a limit said it.
    pub allowances: Vec<Allowance>,
    /// The stable, machine-readable reason, e.g. `policy_denied`.
    pub code: &'static str,
}

impl Denial {
    /// What a policy says against something.
    pub(crate) fn of(policy: &str, violation: Violation) -> Self {
        Self {
            policy: policy.to_owned(),
            kind: violation.kind,
            reason: violation.reason,
            advice: violation.advice,
            retry_after: violation.retry_after,
            allowances: violation.allowances,
            code: violation.code,
        }
    }

    /// What the caller is told: the policy, its reason, what to do, and under which id an operator finds the record.
    pub fn told(&self, request: Option<ActionId>) -> String {
        let mut text = self.to_string();
        if let Some(advice) = &self.advice {
            text.push_str(". ");
            text.push_str(advice.trim_end_matches('.'));
        }
        if let Some(request) = request {
            let _ = write!(text, ". Request id: {request}");
        }
        text
    }
}
