//! Quotas and budgets: how much of the models' work somebody may use in which time, over all servers together.
//!
//! ```text
//!  services/gateway/*.yaml ─► meters ──┐
//!                                      ▼
//!  PolicyInput ─► policy `quota` ─► clerk ══ one statement for all that wait ══► ai_quota_buckets, ai_quota_holds
//!                    │                 ▲
//!                    └─► Hold ─────────┘ what it used at its end
//! ```
//!
//! A request is counted in every window that concerns it, or refused and counted in none ([`clerk`]). Its tokens and its cost
//! are counted as estimated until its end tells what they were; what is never sent is given back. The counts are in
//! PostgreSQL, so they outlive servers. What a server leaves behind that dies is found by what the ledger says of the
//! request ([`Quotas::recover`]): a request that ended is settled with its usage, one that was abandoned with what was set
//! aside for it, and one that was never decided with nothing.
//!
//! Without windows nothing of this is asked.

mod alerting;
mod bucket;
mod clerk;
mod letter;
mod meter;
mod queries;
mod store;
mod verdict;
mod window;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::TimeDelta;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_extension::policy::{Allowance, Counted, DenialKind, PolicyInput, Usage, Violation};
use systemprompt_mail::Mailer;
use systemprompt_model::{ActionId, Ambient, Secret, with_causes};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::alerting::{Alerts, Recorder};
use self::bucket::{Bucket, Claim, Ended, Wanted};
use self::clerk::{Answer, Clerk, Desk, Held, Reading};
pub(crate) use self::meter::Meters;
use self::meter::{Limits, Meter, Whose};
use self::verdict::Found;
use self::window::Window;
use crate::config::{FaultMode, GatewayPolicyConfig, QuotaAlertConfig, QuotaReservation};
use crate::webhook::Courier;

#[cfg(test)]
mod tests;

pub use self::store::{QuotaAlertRow, QuotaDelivery, QuotaDeliveryState, QuotaFilter, QuotaRow, alerts, list};

/// How often it is looked for what servers left behind that died.
const RECOVER_EVERY: Duration = Duration::from_secs(30);
/// A request that was not decided after this time never will be.
const UNDECIDED_AFTER: TimeDelta = TimeDelta::minutes(2);
/// How long windows are kept that have ended.
const KEPT: TimeDelta = TimeDelta::days(62);

/// The schema of the quotas.
pub(crate) const SCHEMA: &str = include_str!("../../schema/quotas.sql");
/// What brings the alerts of earlier versions into it.
pub(crate) const ALERT_DELIVERIES: &str = include_str!("../../migrations/002_alert_deliveries.sql");

/// The quotas of one server.
pub struct Quotas {
    clerk: Clerk,
    alerts: Arc<Alerts>,
    objections: Family<ObjectionLabels, Counter>,
    db: DbPool,
    ambient: Ambient,
    /// Requests that this server has counted and not ended.
    open: Arc<Open>,
}

#[derive(Default)]
struct Open(Mutex<HashSet<ActionId>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashSet<ActionId>> {
        self.0.lock().expect("no panic while the lock is held")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectionLabels {
    quota: String,
    mode: &'static str,
}

/// What the quotas say to a request.
pub(crate) enum Said {
    /// No window concerns it.
    NotConcerned,
    /// It is counted already.
    Repeated,
    /// It is counted; `warning` if it is beyond a limit that only warns.
    Counted {
        /// What was set aside for it.
        hold: Counting,
        /// What it objects to.
        warning: Option<Violation>,
    },
    /// It may not be made.
    Refused(Violation),
}

/// A request that is counted.
pub(crate) struct Counting {
    held: Option<Held>,
    action: ActionId,
    open: Arc<Open>,
    allowances: Vec<Allowance>,
}

impl Counting {
    /// It has ended and used this.
    pub(crate) fn settle(mut self, used: &Usage) {
        if let Some(held) = self.held.take() {
            held.settle(used);
        }
    }

    /// What is left of the limits it is part of.
    pub(crate) fn allowances(&self) -> &[Allowance] {
        &self.allowances
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.open.lock().remove(&self.action);
    }
}

impl Quotas {
    /// The quotas of these policies, and the tasks to be run. Nothing is asked of the database yet. `secret` gives what
    /// messages are signed with, `mailer` sends those that are mailed.
    pub(crate) fn new(
        alerts: &[QuotaAlertConfig],
        secret: impl Fn(&str) -> Option<Secret>,
        mailer: Arc<Mailer>,
        db: DbPool,
        ambient: Ambient,
        metrics: &Metrics,
    ) -> (Arc<Self>, Desk, Recorder) {
        let (alerts, recorder) = Alerts::new(alerts, secret, mailer, Arc::clone(&db), ambient.clone(), metrics);
        let watch = {
            let alerts = Arc::clone(&alerts);
            Arc::new(move |readings: &[Reading]| alerts.look(readings))
        };
        let (clerk, desk) = Clerk::new(Arc::clone(&db), ambient.clone(), watch);
        let objections = Family::<ObjectionLabels, Counter>::default();
        metrics.register(
            "gateway_quota_objections",
            "Requests beyond a quota, refused or warned of",
            objections.clone(),
        );
        let open = Arc::default();
        (Arc::new(Self { clerk, alerts, objections, db, ambient, open }), desk, recorder)
    }

    /// Keeps the policies in the database as they are now, for whoever reads them there.
    pub(crate) async fn keep_policies(&self, policies: &[GatewayPolicyConfig]) -> Result<(), sqlx::Error> {
        store::keep(self.db.write(), policies, self.ambient.now()).await
    }

    /// Counts a request in all windows of `meters` that concern it, or says why it may not be made.
    pub(crate) async fn judge(&self, meters: &Meters, input: &PolicyInput<'_>) -> Said {
        let now = self.ambient.now();
        let mut concerned = Vec::new();
        let mut reservation = QuotaReservation::None;
        for meter in meters.iter().filter(|meter| meter.concerns(input)) {
            let Some(whose) = meter.whose(input) else {
                if meter.fault == FaultMode::Open {
                    continue;
                }
                return Said::Refused(unknown_subject(meter.subject.as_str()));
            };
            reservation = reservation.max(meter.reservation);
            concerned.push((meter, whose, meter.windows.at(now)));
        }
        if concerned.is_empty() {
            return Said::NotConcerned;
        }
        let set_aside = match reservation {
            QuotaReservation::None => Usage::ONE_CALL,
            QuotaReservation::Expected => input.estimate.expected,
            QuotaReservation::Maximum => input.estimate.most,
        };
        let set_aside = Usage { calls: 1, ..set_aside };
        let wanted = Wanted {
            action: input.action,
            set_aside,
            claims: concerned.iter().map(|(meter, whose, window)| claim(meter, whose, *window)).collect(),
        };
        if !self.open.lock().insert(input.action) {
            return Said::Repeated;
        }
        // Whatever happens from here on, it is not counted twice and not remembered for ever.
        let mut counting =
            Counting { held: None, action: input.action, open: Arc::clone(&self.open), allowances: Vec::new() };
        match self.clerk.begin(wanted).await {
            Ok(Answer::Granted(held)) => {
                let found = found(&concerned, &held.found);
                let warning = verdict::warning(&found, &set_aside, now);
                if let Some((quota, _)) = &warning {
                    self.object(quota, "warn");
                }
                let warning = warning.map(|(_, violation)| violation);
                counting.allowances = verdict::allowances(&found, &set_aside, now);
                counting.held = Some(held);
                Said::Counted { hold: counting, warning }
            }
            Ok(Answer::Refused { found: usage }) => {
                let found = found(&concerned, &usage);
                let (quota, violation) = verdict::refusal(&found, &set_aside, now);
                self.object(&quota, "enforce");
                Said::Refused(violation)
            }
            Err(clerk::Unavailable) => Said::Refused(Violation::unavailable("the quota cannot be checked at present")),
        }
    }

    fn object(&self, quota: &str, mode: &'static str) {
        self.objections.get_or_create(&ObjectionLabels { quota: quota.to_owned(), mode }).inc();
    }

    /// Whether there is anywhere alerts are sent to.
    pub fn has_alert_destinations(&self) -> bool {
        self.alerts.has_destinations()
    }

    /// Brings alerts that wait to where they are to go, until cancelled: those for webhooks by `courier`.
    pub async fn deliver_alerts(self: Arc<Self>, courier: Arc<dyn Courier>, cancel: CancellationToken) {
        let (alerts, db, ambient) = (Arc::clone(&self.alerts), Arc::clone(&self.db), self.ambient.clone());
        alerting::deliver(alerts, courier, db, ambient, cancel).await;
    }

    /// Settles what servers left behind that died. Says how many requests that were.
    pub(crate) async fn recover(&self) -> Result<usize, sqlx::Error> {
        let before = self.ambient.now() - UNDECIDED_AFTER;
        let left = queries::left_behind(self.db.write(), before).await?;
        let found = left.len();
        for left in left {
            let action = ActionId::from_uuid(left.action);
            self.clerk.end(Ended { action, used: left.used, buckets: Vec::new() });
        }
        self.clerk.flush().await;
        Ok(found)
    }

    /// Looks for what was left behind, and forgets what is long over, until cancelled.
    pub(crate) async fn maintain(self: Arc<Self>, cancel: CancellationToken) {
        let work = async {
            let mut rounds = interval(RECOVER_EVERY);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for round in 0_u32.. {
                rounds.tick().await;
                let house = async {
                    let settled = self.recover().await?;
                    if settled > 0 {
                        tracing::warn!(
                            requests = settled,
                            "settled the quotas of requests that dead servers left behind"
                        );
                    }
                    let given_up =
                        queries::give_up(self.db.write(), self.ambient.now() - alerting::GIVEN_UP_AFTER).await?;
                    if given_up > 0 {
                        tracing::warn!(
                            messages = given_up,
                            "gave up messages of alerts that were not taken in three days"
                        );
                    }
                    if round.is_multiple_of(120) {
                        queries::delete_ended(self.db.write(), self.ambient.now() - KEPT).await?;
                    }
                    Ok::<_, sqlx::Error>(())
                };
                if let Err(error) = house.await {
                    let error = with_causes(&error);
                    tracing::warn!(error, "the housekeeping of the quotas failed and will be tried again");
                }
            }
        };
        cancel.run_until_cancelled(work).await;
    }

    /// Waits until everything is told that requests used, for `limit` at most.
    pub(crate) async fn flush(&self, limit: Duration) {
        if timeout(limit, self.clerk.flush()).await.is_err() {
            tracing::warn!("what the last requests used is counted at the next start");
        }
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").finish_non_exhaustive()
    }
}

/// What a request found in the buckets that concern it.
fn found<'m>(concerned: &[(&'m Arc<Meter>, Whose, Window)], used: &[Usage]) -> Vec<Found<'m>> {
    let found = concerned.iter().zip(used).map(|((meter, whose, window), used)| Found {
        meter,
        whose: whose.clone(),
        window: *window,
        used: *used,
    });
    found.collect()
}

/// What a request wants of a meter.
fn claim(meter: &Arc<Meter>, whose: &Whose, window: Window) -> Claim {
    let most = |limits: &Limits, counted| limits.of(counted).map(|limit| i64::try_from(limit.most).unwrap_or(i64::MAX));
    let kinds = [Counted::Requests, Counted::InputTokens, Counted::OutputTokens, Counted::Microdollars];
    Claim {
        bucket: Bucket {
            kind: meter.subject.as_str().to_owned(),
            subject: whose.id.clone(),
            meter: meter.key.clone(),
            start: window.start,
            end: window.end,
            subject_name: whose.name.clone(),
            counted_by: Arc::clone(meter),
        },
        strict: meter.reservation == QuotaReservation::Maximum,
        most: kinds.map(|counted| most(&meter.enforced, counted)),
    }
}

fn unknown_subject(subject: &str) -> Violation {
    let what = match subject {
        "key" => "it was not made with an API key".to_owned(),
        "user" => "it is not of a user".to_owned(),
        "model" => "it names no model".to_owned(),
        attribute => format!("its user has no attribute `{attribute}`"),
    };
    let reason = format!("a quota counts by {subject}, and nobody can say which of them this request is of: {what}");
    Violation::new(DenialKind::NotEntitled, "quota_subject_unknown", reason).with_advice(
        "An administrator can give it with `systemprompt admin users`, or let such requests pass with \
         `quota_fault_mode: open` in services/gateway",
    )
}
