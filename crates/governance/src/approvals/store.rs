//! Asks for approvals, and decides about them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_model::{Ambient, ApprovalId};

use super::queries;
use super::{Approval, ApprovalError, Decider, Resolution, Standing, Wanted};
use crate::administer::{Changed, StateDigest};

/// The calls that wait.
pub struct Approvals {
    db: DbPool,
    ambient: Ambient,
    changed: Family<StateLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

impl Approvals {
    /// Those in this database.
    pub fn new(db: DbPool, ambient: Ambient, metrics: &Metrics) -> Self {
        let changed = Family::<StateLabel, Counter>::default();
        metrics.register(
            "governance_approvals",
            "Calls that began to wait for a second person, were approved, denied, or used their approval",
            changed.clone(),
        );
        for state in ["pending", "approved", "denied", "used"] {
            drop(changed.get_or_create(&StateLabel { state }));
        }
        Self { db, ambient, changed }
    }

    /// How a call stands, which begins to wait if it does not yet. An approval that is good once is used by this.
    pub(crate) async fn stand(&self, wanted: &Wanted<'_>) -> Result<Standing, sqlx::Error> {
        let now = self.ambient.now();
        let mut transaction = self.db.write().begin().await?;
        queries::expire(&mut transaction, &wanted.digest, now).await?;
        let id = ApprovalId::generate(&self.ambient);
        let is_new = queries::begin(&mut transaction, id, wanted, now).await?;
        let approval = queries::open(&mut transaction, &wanted.digest).await?;
        let standing = match approval.state.as_str() {
            "approved" => {
                if wanted.once {
                    queries::use_up(&mut transaction, approval.id).await?;
                    self.count("used");
                }
                Standing::Approved
            }
            "denied" => Standing::Denied(approval),
            _ => Standing::Pending(approval),
        };
        transaction.commit().await?;
        if is_new {
            self.count("pending");
        }
        Ok(standing)
    }

    /// The approvals in this state, or in any, the newest first.
    pub async fn list(&self, state: Option<&str>, limit: u32) -> Result<Vec<Approval>, ApprovalError> {
        Ok(queries::list(self.db.read(), state, self.ambient.now(), i64::from(limit.min(1000))).await?)
    }

    /// One of them.
    pub async fn find(&self, id: ApprovalId) -> Result<Approval, ApprovalError> {
        queries::find(self.db.write(), id, self.ambient.now()).await?.ok_or(ApprovalError::Unknown(id))
    }

    /// Decides about a call that waits: the work of the change [`change_of`](super::change_of).
    pub async fn decide(
        &self,
        id: ApprovalId,
        resolution: Resolution,
        by: &Decider,
        note: Option<&str>,
    ) -> Result<Changed<Approval>, ApprovalError> {
        let before = self.find(id).await?;
        if by.user.is_some() && by.user == before.user_id {
            return Err(ApprovalError::Own);
        }
        let now = self.ambient.now();
        if !queries::decide(self.db.write(), id, resolution.state(), by, note, now).await? {
            let state = self.find(id).await?.state;
            return Err(ApprovalError::NotPending { id, state });
        }
        self.count(resolution.state());
        let after = self.find(id).await?;
        Ok(Changed { before: Some(StateDigest::of(&before)), after: Some(StateDigest::of(&after)), value: after })
    }

    fn count(&self, state: &'static str) {
        self.changed.get_or_create(&StateLabel { state }).inc();
    }
}
