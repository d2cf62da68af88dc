//! Guards of extensions, as policies: what they refuse is refused and recorded like anything else.

use std::error::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use systemprompt_database::DbPool;
use systemprompt_extension::gateway::{
    GatewayDenyKind, GatewayDenyReason, GatewayGuardRequest, GatewayRequestGuard, GuardError,
};
use systemprompt_extension::policy::{DenialKind, Phase, Policy, PolicyInput, Subject, Verdict, Violation};

use crate::config::{FaultMode, RequestGuardsConfig};

/// A guard, asked as a policy is.
pub(crate) struct Guard {
    name: &'static str,
    check: Arc<dyn GatewayRequestGuard>,
    db: DbPool,
    limit: Duration,
    on_fault: FaultMode,
}

impl Guard {
    /// The guard of this name, under these settings.
    pub(crate) fn new(
        name: &'static str,
        guard: Arc<dyn GatewayRequestGuard>,
        db: DbPool,
        config: &RequestGuardsConfig,
    ) -> Self {
        Self { name, check: guard, db, limit: Duration::from_millis(config.timeout_ms), on_fault: config.fault_mode }
    }

    /// What is said where the guard says nothing.
    fn fault(&self, why: &str, error: Option<&dyn Error>) -> Verdict {
        let cause = error.map(systemprompt_model::with_causes);
        let cause = cause.as_deref().unwrap_or_default();
        match self.on_fault {
            FaultMode::Closed => {
                tracing::error!(guard = self.name, cause, "a request guard {why}; the request is refused");
                Verdict::Fail(Violation::unavailable(format!("the request guard {why}")))
            }
            FaultMode::Open => {
                tracing::error!(guard = self.name, cause, "a request guard {why}; the request goes on");
                Verdict::Skip(format!("the request guard {why}").into())
            }
        }
    }
}

#[async_trait]
impl Policy for Guard {
    fn id(&self) -> &'static str {
        self.name
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        phase == Phase::Before && subject == Subject::Prompt
    }

    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let Some(model) = input.model else { return Verdict::Skip("no model is asked".into()) };
        let request = GatewayGuardRequest {
            principal: &input.by.principal,
            model: model.name,
            route_id: &input.resource.id,
            provider: model.provider,
            streaming: model.streaming,
        };
        let checking = AssertUnwindSafe(self.check.check(self.db.write(), &request)).catch_unwind();
        match tokio::time::timeout(self.limit, checking).await {
            Ok(Ok(Ok(()))) => Verdict::Pass,
            Ok(Ok(Err(GuardError::Denied(reason)))) => Verdict::Fail(violation(reason)),
            Ok(Ok(Err(GuardError::Failed(error)))) => self.fault("failed", Some(&*error)),
            Ok(Err(_)) => self.fault("panicked", None),
            Err(_) => self.fault("did not answer in time", None),
        }
    }
}

fn violation(reason: GatewayDenyReason) -> Violation {
    let (kind, code) = match reason.kind {
        GatewayDenyKind::Quota => (DenialKind::RateLimited, "guard_quota"),
        GatewayDenyKind::Forbidden => (DenialKind::NotEntitled, "guard_forbidden"),
    };
    Violation {
        retry_after: reason.retry_after_seconds.map(Duration::from_secs),
        ..Violation::new(kind, code, reason.message)
    }
}
