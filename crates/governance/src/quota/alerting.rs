//! Telling somebody that a limit comes to its end: once for each window, limit and threshold, whichever server sees it.
//!
//! What is reached is written to `ai_quota_alerts`, whose key makes it once, and logged and counted by the server that wrote it.
//! Each place it is to go to, a webhook or somebody's mail, has a row of its own in `ai_quota_alert_deliveries`, where it waits
//! until it was taken there: it is tried again, later each time, by any server, and given up after three days, or sooner where it
//! is refused for good. Each place is looked after on its own, so one that is down or slow holds up no other. A message may arrive
//! twice, under the same id. No request waits for any of this.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde_json::{Value, json};
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_extension::policy::Counted;
use systemprompt_mail::{Address, MailError, Mailer, Message};
use systemprompt_model::{Ambient, Secret, with_causes};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clerk::Reading;
use super::letter::letter;
use super::meter::{Limit, amount};
use super::queries::{self, Due, Raised, Waiting};
use crate::config::{PolicyMode, QuotaAlertConfig};
use crate::webhook::{Courier, key, name, signed};

/// How often a place looks for messages that wait. What this server writes down is told at once.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a webhook may take. A mailer sees to that itself.
const TAKES_AT_MOST: Duration = Duration::from_secs(15);
/// How long messages that are on their way may take once the server stops.
const FINISHES_WITHIN: Duration = Duration::from_secs(5);
/// A message nobody took after this time is given up.
pub(super) const GIVEN_UP_AFTER: TimeDelta = TimeDelta::days(3);
/// The longest a message waits for its next attempt.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(1);
/// How often a message is tried that is refused for good. Providers lock accounts that go on asking.
const REFUSED_AT_MOST: i32 = 5;
/// How often a message is sent that may have been taken.
const MAYBE_TAKEN_AT_MOST: i32 = 3;
/// Crossings that are remembered, so that the table is not asked about them again.
const REMEMBERED: usize = 100_000;

/// The alerts of one server.
pub(super) struct Alerts {
    configured: Vec<QuotaAlertConfig>,
    /// Where messages go, in the order of the alerts.
    pub(super) destinations: Vec<Destination>,
    pub(super) mailer: Arc<Mailer>,
    seen: Mutex<HashSet<(usize, i64, Counted, u32)>>,
    crossed: mpsc::UnboundedSender<Crossing>,
    /// Told when there is something to bring.
    waiting: watch::Sender<()>,
}

/// Where messages of an alert go.
pub(super) struct Destination {
    alert: String,
    /// Which of the places it is, in the table: a webhook has the name of its alert, because its address may hold a secret.
    recipient: String,
    way: Way,
}

/// How a message gets there.
enum Way {
    /// It is posted, signed.
    Webhook { url: String, key: Box<hmac::Key> },
    /// It is mailed.
    Mail(Address),
}

impl Way {
    /// What it is called in the table.
    const fn channel(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Mail(_) => "mail",
        }
    }

    /// For how long nobody else takes a message: longer than an attempt takes.
    const fn lease(&self) -> Duration {
        match self {
            Self::Webhook { .. } => Duration::from_mins(1),
            Self::Mail(_) => Duration::from_secs(Mailer::SENDS_WITHIN.as_secs() + 30),
        }
    }
}

/// Why a message was not taken.
struct NotTaken {
    why: String,
    cause: Cause,
}

/// What that means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It may be taken soon.
    Passing,
    /// Somebody must change something first.
    ForGood,
    /// It may have been taken.
    MaybeTaken,
}

impl NotTaken {
    fn passing(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), cause: Cause::Passing }
    }
}

impl From<MailError> for NotTaken {
    fn from(error: MailError) -> Self {
        let cause = match &error {
            MailError::MaybeTaken { .. } => Cause::MaybeTaken,
            error if error.is_for_good() => Cause::ForGood,
            _ => Cause::Passing,
        };
        Self { why: error.to_string(), cause }
    }
}

impl Destination {
    /// Where messages of this alert go. What cannot be used was refused when the configuration was read.
    fn of(alert: &QuotaAlertConfig, secret: impl Fn(&str) -> Option<Secret>) -> Vec<Self> {
        let destination =
            |recipient: &str, way| Self { alert: alert.name.clone(), recipient: recipient.to_owned(), way };
        let webhook = alert.webhook.iter().filter_map(|webhook| {
            let key = Box::new(key(secret(&webhook.secret)?.expose()));
            Some(destination(&alert.name, Way::Webhook { url: webhook.url.clone(), key }))
        });
        let mail = alert.mail.iter().flat_map(|mail| &mail.to);
        let mail = mail.filter_map(|to| Some(destination(to, Way::Mail(to.parse().ok()?))));
        webhook.chain(mail).collect()
    }
}

/// A part of a limit was reached.
#[derive(Debug)]
pub(super) struct Crossing {
    alert: usize,
    bucket: i64,
    counted: Counted,
    threshold: u32,
    message: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    alert: String,
    threshold: u32,
}

impl Alerts {
    /// The alerts, and what their [recorder](Recorder::run) works on.
    pub(super) fn new(
        alerts: &[QuotaAlertConfig],
        secret: impl Fn(&str) -> Option<Secret>,
        mailer: Arc<Mailer>,
        db: DbPool,
        ambient: Ambient,
        metrics: &Metrics,
    ) -> (Arc<Self>, Recorder) {
        let raised = Family::<AlertLabels, Counter>::default();
        metrics.register("gateway_quota_alerts", "Parts of limits that were reached", raised.clone());
        let (crossed, crossings) = mpsc::unbounded_channel();
        let alerts = Arc::new(Self {
            configured: alerts.to_vec(),
            destinations: alerts.iter().flat_map(|alert| Destination::of(alert, &secret)).collect(),
            mailer,
            seen: Mutex::default(),
            crossed,
            waiting: watch::Sender::new(()),
        });
        let recorder = Recorder { alerts: Arc::clone(&alerts), crossings, db, ambient, raised };
        (alerts, recorder)
    }

    /// Whether there is anywhere to send messages to.
    pub(super) fn has_destinations(&self) -> bool {
        !self.destinations.is_empty()
    }

    /// Looks at what buckets hold now.
    pub(super) fn look(&self, readings: &[Reading]) {
        if self.configured.is_empty() {
            return;
        }
        for reading in readings {
            let meter = &reading.bucket.counted_by;
            let enforced = meter.enforced.iter().map(|(counted, limit)| (counted, limit, PolicyMode::Enforce));
            let warned = meter.warned.iter().map(|(counted, limit)| (counted, limit, PolicyMode::Warn));
            for (counted, limit, mode) in enforced.chain(warned) {
                for (index, alert) in self.configured.iter().enumerate() {
                    if !alert.policies.is_empty() && !alert.policies.contains(&limit.policy) {
                        continue;
                    }
                    for threshold in &alert.thresholds {
                        self.compare(reading, counted, (limit, mode), (index, *threshold));
                    }
                }
            }
        }
    }

    fn compare(&self, reading: &Reading, counted: Counted, of: (&Limit, PolicyMode), at: (usize, u32)) {
        let ((limit, mode), (index, threshold)) = (of, at);
        let used = amount(&reading.used, counted);
        if u128::from(used) * 100 < u128::from(limit.most) * u128::from(threshold) {
            return;
        }
        let mut seen = self.seen.lock().expect("no panic while the lock is held");
        if seen.len() >= REMEMBERED {
            seen.clear();
        }
        if !seen.insert((index, reading.id, counted, threshold)) {
            return;
        }
        let bucket = &reading.bucket;
        let message = json!({
            "type": "quota.threshold",
            "data": {
                "alert": self.configured[index].name,
                "policy": limit.policy,
                "quota": bucket.counted_by.name,
                "subject": {"kind": bucket.kind, "id": bucket.subject, "name": bucket.subject_name},
                "meter": bucket.meter,
                "match": bucket.counted_by.matched(),
                "window": {
                    "start": bucket.start,
                    "end": bucket.end,
                    "time_zone": bucket.counted_by.windows.zone().name(),
                },
                "counted": counted.as_str(),
                "threshold_percent": threshold,
                "used": used,
                "limit": limit.most,
                "mode": mode,
            },
        });
        // When nobody records any more the server is stopping; another request will see it.
        let _ = self.crossed.send(Crossing { alert: index, bucket: reading.id, counted, threshold, message });
    }
}

/// Writes down what was reached.
pub(crate) struct Recorder {
    alerts: Arc<Alerts>,
    crossings: mpsc::UnboundedReceiver<Crossing>,
    db: DbPool,
    ambient: Ambient,
    raised: Family<AlertLabels, Counter>,
}

impl Recorder {
    /// Works until cancelled.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        while let Some(Some(crossing)) = cancel.run_until_cancelled(self.crossings.recv()).await {
            if let Err(error) = self.record(&crossing).await {
                let error = with_causes(&error);
                tracing::error!(error, message = %crossing.message, "an alert could not be recorded");
                // Whoever counts next sees it again.
                let key = (crossing.alert, crossing.bucket, crossing.counted, crossing.threshold);
                self.alerts.seen.lock().expect("no panic while the lock is held").remove(&key);
            }
        }
    }

    async fn record(&self, crossing: &Crossing) -> Result<(), sqlx::Error> {
        let alert = &self.alerts.configured[crossing.alert];
        let now = self.ambient.now();
        let destinations = || self.alerts.destinations.iter().filter(|destination| destination.alert == alert.name);
        let raised = Raised {
            alert: &alert.name,
            bucket: crossing.bucket,
            counted: crossing.counted.as_str(),
            threshold: crossing.threshold.cast_signed(),
            message_id: Uuid::from_bytes(self.ambient.bytes()),
            message: &crossing.message,
            channels: destinations().map(|destination| destination.way.channel().to_owned()).collect(),
            recipients: destinations().map(|destination| destination.recipient.clone()).collect(),
        };
        if !queries::raise(self.db.write(), &raised, now).await? {
            return Ok(());
        }
        let data = &crossing.message["data"];
        tracing::warn!(
            alert = alert.name,
            quota = %data["quota"],
            subject = %data["subject"]["name"],
            counted = crossing.counted.as_str(),
            used = %data["used"],
            limit = %data["limit"],
            threshold_percent = crossing.threshold,
            "a quota has reached a part of its limit"
        );
        self.raised.get_or_create(&AlertLabels { alert: alert.name.clone(), threshold: crossing.threshold }).inc();
        self.alerts.waiting.send_replace(());
        Ok(())
    }
}

/// Brings messages to where they are to go, until cancelled.
pub(super) async fn deliver(
    alerts: Arc<Alerts>,
    courier: Arc<dyn Courier>,
    db: DbPool,
    ambient: Ambient,
    cancel: CancellationToken,
) {
    let places = alerts.destinations.iter().map(async |to| {
        let mut waiting = alerts.waiting.subscribe();
        let mut rounds = interval(LOOK_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = rounds.tick() => {}
                Ok(()) = waiting.changed() => {}
            }
            if let Err(error) = deliver_to(to, &alerts.mailer, &*courier, &db, &ambient, &cancel).await {
                let error = with_causes(&error);
                tracing::warn!(error, alert = to.alert, "alerts that wait to be sent cannot be read or marked");
            }
        }
    });
    // What is on its way when the server stops may arrive and be marked; cut short, it would be told again.
    let cut = async {
        cancel.cancelled().await;
        sleep(FINISHES_WITHIN).await;
    };
    tokio::select! {
        _ = join_all(places) => {}
        () = cut => {}
    }
}

/// One round of a place: all that is due there, until cancelled. Says how many messages were taken.
pub(super) async fn deliver_to(
    to: &Destination,
    mailer: &Mailer,
    courier: &dyn Courier,
    db: &DbPool,
    ambient: &Ambient,
    cancel: &CancellationToken,
) -> Result<usize, sqlx::Error> {
    // Without a server nothing is tried, and nothing counts as tried.
    if matches!(to.way, Way::Mail(_)) && !mailer.is_configured() {
        return Ok(0);
    }
    let begun = ambient.now();
    let mut taken = 0;
    while !cancel.is_cancelled() {
        // What was due when the round began is taken once, so this ends.
        let due = Due { by: begun, raised_after: begun - GIVEN_UP_AFTER, leased_until: ambient.now() + to.way.lease() };
        let place = (to.alert.as_str(), to.way.channel(), to.recipient.as_str());
        let Some(waiting) = queries::take_waiting(db.write(), place, due).await? else { break };
        taken += usize::from(deliver_one(to, mailer, courier, db, ambient, &waiting).await?);
    }
    Ok(taken)
}

/// Brings one message to one place, and writes down what became of it. Says whether it was taken.
async fn deliver_one(
    to: &Destination,
    mailer: &Mailer,
    courier: &dyn Courier,
    db: &DbPool,
    ambient: &Ambient,
    waiting: &Waiting,
) -> Result<bool, sqlx::Error> {
    let sent = match &to.way {
        Way::Webhook { url, key } => {
            let body = with_time(&waiting.message, waiting.raised_at);
            let headers = signed(key, waiting.message_id, ambient.now(), &body);
            let sent = timeout(TAKES_AT_MOST, courier.post(url, &headers, body)).await;
            sent.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(NotTaken::passing)
        }
        Way::Mail(to) => mail(mailer, to, waiting).await,
    };
    let now = ambient.now();
    let Err(NotTaken { why, cause }) = sent else {
        queries::delivered(db.write(), waiting, now).await?;
        return Ok(true);
    };
    let strikes = waiting.strikes + i32::from(cause != Cause::Passing);
    let (wait, is_over) = match cause {
        Cause::Passing => (later(waiting.attempts), false),
        Cause::ForGood => (LONGEST_WAIT, strikes >= REFUSED_AT_MOST),
        Cause::MaybeTaken => (later(waiting.attempts), strikes >= MAYBE_TAKEN_AT_MOST),
    };
    let (alert, channel, recipient) = (&to.alert, &waiting.channel, &waiting.recipient);
    tracing::warn!(alert, channel, recipient, why, given_up = is_over, "an alert was not taken");
    queries::not_delivered(db.write(), waiting, strikes, (!is_over).then(|| now + wait), &why).await?;
    Ok(false)
}

/// How long a message waits after so many attempts: twice as long each time.
fn later(attempts: i32) -> TimeDelta {
    TimeDelta::seconds(10 << attempts.clamp(0, 9)).min(LONGEST_WAIT)
}

async fn mail(mailer: &Mailer, to: &Address, waiting: &Waiting) -> Result<(), NotTaken> {
    let letter = letter(&waiting.message, waiting.raised_at);
    let letter = letter.map_err(|error| NotTaken::passing(format!("the message is of another version: {error}")))?;
    let message = Message {
        to: to.clone(),
        subject: letter.subject,
        text: letter.text,
        id: name(waiting.message_id),
        written_at: waiting.raised_at,
    };
    mailer.send(&message).await?;
    Ok(())
}

fn with_time(message: &Value, raised_at: DateTime<Utc>) -> String {
    let mut message = message.clone();
    if let Some(fields) = message.as_object_mut() {
        fields.insert("timestamp".to_owned(), json!(raised_at));
    }
    message.to_string()
}
