//! `house_rules.budget`: so many tokens for each account in any twenty-four hours, over all servers together.

use std::time::Duration;

use systemprompt::database::lease::{Claim, LeaseKey, Leases, Reservation, ReserveError, Sliding, Unit};
use systemprompt::extension::policy::{
    DenialKind, Hold, Policy, PolicyInput, Subject, Usage, Verdict, Violation, async_trait,
};

/// What configuration and records call it.
pub(crate) const ID: &str = "house_rules.budget";

const DAY: Duration = Duration::from_hours(24);

/// Sets aside what a request may use before it is sent, and afterwards counts what it did use.
pub(crate) struct Budget {
    leases: Leases,
    tokens_per_day: u64,
}

impl Budget {
    pub(crate) fn new(leases: Leases, tokens_per_day: u64) -> Self {
        Self { leases, tokens_per_day }
    }
}

#[async_trait]
impl Policy for Budget {
    fn id(&self) -> &'static str {
        ID
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if self.tokens_per_day == 0 {
            return Verdict::Skip("no budget is set".into());
        }
        let (Subject::Prompt, Some(account)) = (input.subject, input.by.principal.account()) else {
            return Verdict::Skip("it uses no tokens of an account".into());
        };
        let key = LeaseKey::new("house_rules.tokens", account.as_uuid());
        let limit = Sliding::new(self.tokens_per_day, Unit::Tokens, DAY);
        let claim = Claim::new(key, limit, input.estimate.most.tokens().max(1)).for_call(input.action.as_uuid());
        match self.leases.reserve(&claim).await {
            Ok(reservation) => Verdict::Hold(Box::new(SetAside(reservation))),
            Err(ReserveError::Exhausted(exhausted)) => Verdict::Fail(Violation {
                retry_after: Some(exhausted.retry_after),
                ..Violation::new(
                    DenialKind::RateLimited,
                    "house_rules_budget",
                    "the tokens of this account are used up",
                )
            }),
            Err(ReserveError::Unavailable(_)) => {
                Verdict::Fail(Violation::unavailable("the budget cannot be checked at present"))
            }
        }
    }
}

/// Tokens set aside for one request. Dropped, they go back.
struct SetAside(Reservation);

impl Hold for SetAside {
    fn settle(self: Box<Self>, used: &Usage) {
        self.0.settle(used.tokens());
    }
}
