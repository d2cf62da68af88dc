//! Asks for approvals, and decides about them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use sqlx::PgConnection;
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_model::{Ambient, ApprovalId, with_causes};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::queries;
use super::{Approval, ApprovalError, Decider, Resolution, Standing, Wanted};
use crate::administer::{Changed, StateDigest};

/// How often what waits is counted: soon enough for whoever is to be told that somebody waits for them.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// The calls that wait.
pub struct Approvals {
    db: DbPool,
    ambient: Ambient,
    changed: Family<StateLabel, Counter>,
    pending: Gauge,
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
        let pending = Gauge::default();
        metrics.register(
            "governance_approvals_pending",
            "Calls that wait for a second person at present, over all servers",
            pending.clone(),
        );
        Self { db, ambient, changed, pending }
    }

    /// How a call stands, which begins to wait if it does not yet. An approval that is good once is used by this.
    pub(crate) async fn stand(&self, wanted: &Wanted<'_>) -> Result<Standing, sqlx::Error> {
        let now = self.ambient.now();
        let mut transaction = self.db.write().begin().await?;
        queries::expire(&mut transaction, &wanted.digest, now).await?;
        let (mut begun, mut approval) = self.open(&mut transaction, wanted, now).await?;
        let mut used = false;
        if approval.state == "approved" && wanted.once {
            let is_first = wanted.is_proposal && queries::propose(&mut transaction, approval.id, now).await?;
            if !is_first {
                queries::use_up(&mut transaction, approval.id).await?;
                used = true;
            }
            if wanted.is_proposal && used {
                // The model asks for it once more. Whether or not somebody made the first call, this is another one.
                (begun, approval) = self.open(&mut transaction, wanted, now).await?;
            }
        }
        transaction.commit().await?;
        for (state, _) in [("used", used), ("pending", begun)].into_iter().filter(|(_, counts)| *counts) {
            self.count(state);
        }
        Ok(match approval.state.as_str() {
            "approved" => Standing::Approved,
            "denied" => Standing::Denied(approval),
            _ => Standing::Pending(approval),
        })
    }

    /// What is open for the call, and whether it was begun now.
    async fn open(
        &self,
        connection: &mut PgConnection,
        wanted: &Wanted<'_>,
        now: DateTime<Utc>,
    ) -> Result<(bool, Approval), sqlx::Error> {
        loop {
            let begun = queries::begin(connection, ApprovalId::generate(&self.ambient), wanted, now).await?;
            // What was open before may have been used up by somebody else since.
            if let Some(approval) = queries::open(connection, &wanted.digest).await? {
                return Ok((begun, approval));
            }
        }
    }

    /// Counts every so often what waits, until cancelled: others begin to wait and decide too, and what waits expires.
    pub(crate) async fn watch(self: Arc<Self>, cancel: CancellationToken) {
        let work = async {
            let mut rounds = interval(COUNT_EVERY);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                rounds.tick().await;
                match queries::count_pending(self.db.read(), self.ambient.now()).await {
                    Ok(pending) => {
                        self.pending.set(pending);
                    }
                    Err(error) => {
                        let error = with_causes(&error);
                        tracing::debug!(error, "what waits for approval could not be counted");
                    }
                }
            }
        };
        cancel.run_until_cancelled(work).await;
    }

    /// The approvals in this state, or in any, the newest first; of somebody who may see no others, those about which holders
    /// of one of `roles` decide.
    pub async fn list(
        &self,
        state: Option<&str>,
        roles: Option<&[String]>,
        limit: u32,
    ) -> Result<Vec<Approval>, ApprovalError> {
        Ok(queries::list(self.db.read(), state, roles, self.ambient.now(), i64::from(limit)).await?)
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
