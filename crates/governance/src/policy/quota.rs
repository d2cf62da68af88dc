//! `quota`: how much may be used in which time, as `services/gateway` says. What it counts and how is in [`crate::quota`].

use std::sync::Arc;

use async_trait::async_trait;
use systemprompt_extension::policy::{Allowance, Estimate, Hold, Policy, PolicyInput, Subject, Usage, Verdict};

use crate::quota::{Counting, Meters, Quotas, Said};

/// The policy.
pub(crate) struct Quota {
    quotas: Arc<Quotas>,
    meters: Meters,
}

impl Quota {
    /// What records call it.
    pub(crate) const ID: &'static str = "quota";

    /// Counts what these meters say.
    pub(crate) fn new(quotas: Arc<Quotas>, meters: Meters) -> Self {
        Self { quotas, meters }
    }
}

#[async_trait]
impl Policy for Quota {
    fn id(&self) -> &'static str {
        Self::ID
    }

    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if input.subject != Subject::Prompt {
            return Verdict::Skip("it uses no model".into());
        }
        if input.estimate == Estimate::default() {
            return Verdict::Skip("it uses nothing up".into());
        }
        match self.quotas.judge(&self.meters, input).await {
            Said::NotConcerned => Verdict::Skip("no quota concerns it".into()),
            Said::Repeated => Verdict::Skip("it is counted already".into()),
            Said::Counted { hold, warning: None } => Verdict::Hold(Box::new(hold)),
            Said::Counted { hold, warning: Some(warning) } => Verdict::HoldAndWarn(Box::new(hold), warning),
            Said::Refused(violation) => Verdict::Fail(violation),
        }
    }
}

impl Hold for Counting {
    fn settle(self: Box<Self>, used: &Usage) {
        (*self).settle(used);
    }

    fn allowances(&self) -> &[Allowance] {
        self.allowances()
    }
}
