//! Telling somebody that a limit comes to its end: once for each window, limit and threshold, whichever server sees it.
//!
//! What is reached is written to `ai_quota_alerts`, whose key makes it once, and logged and counted by the server that wrote it.
//! A message that has somewhere to go waits there until it was taken: it is tried again, later each time, by any server, and
//! given up after three days. It may arrive twice, under the same id. No request waits for any of this.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use serde_json::{Value, json};
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_extension::policy::Counted;
use systemprompt_model::{Ambient, Secret, with_causes};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clerk::Reading;
use super::meter::{Limit, amount};
use super::queries::{self, Raised};
use crate::config::QuotaAlertConfig;

/// How often it is looked for messages that wait.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long whoever is told may take.
const TAKES_AT_MOST: Duration = Duration::from_secs(15);
/// A message nobody took after this time is given up.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::days(3);
/// Crossings that are remembered, so that the table is not asked about them again.
const REMEMBERED: usize = 100_000;

/// Brings a message to its address.
#[async_trait]
pub trait Courier: Send + Sync {
    /// Posts `body` to `url` with these headers. Anything but a success is an error, in words for the log.
    async fn post(&self, url: &str, headers: &[(&'static str, String)], body: String) -> Result<(), String>;
}

/// The alerts of one server.
pub(super) struct Alerts {
    configured: Vec<QuotaAlertConfig>,
    /// What messages of each alert are signed with.
    keys: BTreeMap<String, hmac::Key>,
    seen: Mutex<HashSet<(usize, i64, Counted, u32)>>,
    crossed: mpsc::UnboundedSender<Crossing>,
    waiting: Arc<Notify>,
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
        db: DbPool,
        ambient: Ambient,
        metrics: &Metrics,
    ) -> (Arc<Self>, Recorder) {
        let keys = alerts.iter().filter_map(|alert| {
            let secret = secret(&alert.webhook.as_ref()?.secret)?;
            Some((alert.name.clone(), key(secret.expose())))
        });
        let raised = Family::<AlertLabels, Counter>::default();
        metrics.register("gateway_quota_alerts", "Parts of limits that were reached", raised.clone());
        let (crossed, crossings) = mpsc::unbounded_channel();
        let keys = keys.collect();
        let waiting = Arc::new(Notify::new());
        let alerts = Arc::new(Self { configured: alerts.to_vec(), keys, seen: Mutex::default(), crossed, waiting });
        let recorder = Recorder { alerts: Arc::clone(&alerts), crossings, db, ambient, raised };
        (alerts, recorder)
    }

    /// Whether there is anywhere to send messages to.
    pub(super) fn has_webhooks(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Looks at what buckets hold now.
    pub(super) fn look(&self, readings: &[Reading]) {
        if self.configured.is_empty() {
            return;
        }
        for reading in readings {
            let meter = &reading.bucket.counted_by;
            for (counted, limit) in meter.enforced.iter().chain(meter.warned.iter()) {
                for (index, alert) in self.configured.iter().enumerate() {
                    if !alert.policies.is_empty() && !alert.policies.contains(&limit.policy) {
                        continue;
                    }
                    for threshold in &alert.thresholds {
                        self.compare(reading, counted, limit, (index, *threshold), &meter.name);
                    }
                }
            }
        }
    }

    fn compare(&self, reading: &Reading, counted: Counted, limit: &Limit, at: (usize, u32), meter: &str) {
        let (index, threshold) = at;
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
                "quota": meter,
                "subject": {"kind": bucket.kind, "id": bucket.subject, "name": bucket.subject_name},
                "meter": bucket.meter,
                "window": {"start": bucket.start, "end": bucket.end},
                "counted": counted.as_str(),
                "threshold_percent": threshold,
                "used": used,
                "limit": limit.most,
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
        let raised = Raised {
            alert: &alert.name,
            bucket: crossing.bucket,
            counted: crossing.counted.as_str(),
            threshold: crossing.threshold.cast_signed(),
            message_id: Uuid::from_bytes(self.ambient.bytes()),
            message: &crossing.message,
            has_webhook: alert.webhook.is_some(),
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
        self.alerts.waiting.notify_one();
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
    let work = async {
        let mut rounds = interval(LOOK_EVERY);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = rounds.tick() => {}
                () = alerts.waiting.notified() => {}
            }
            if let Err(error) = deliver_waiting(&alerts, &*courier, &db, &ambient).await {
                let error = with_causes(&error);
                tracing::warn!(error, "alerts that wait to be sent cannot be read");
            }
        }
    };
    cancel.run_until_cancelled(work).await;
}

/// One round. Says how many messages were taken.
pub(super) async fn deliver_waiting(
    alerts: &Alerts,
    courier: &dyn Courier,
    db: &DbPool,
    ambient: &Ambient,
) -> Result<usize, sqlx::Error> {
    let mut taken = 0;
    let now = ambient.now();
    let names: Vec<String> = alerts.keys.keys().cloned().collect();
    for waiting in queries::take_waiting(db.write(), &names, now).await? {
        let alert = alerts.configured.iter().find(|alert| alert.name == waiting.alert);
        let (Some(webhook), Some(key)) =
            (alert.and_then(|alert| alert.webhook.as_ref()), alerts.keys.get(&waiting.alert))
        else {
            continue;
        };
        let body = with_time(&waiting.message, waiting.raised_at);
        let headers = signed(key, waiting.message_id, now, &body);
        let sent = match timeout(TAKES_AT_MOST, courier.post(&webhook.url, &headers, body)).await {
            Ok(sent) => sent,
            Err(_) => Err("no answer in time".to_owned()),
        };
        match sent {
            Ok(()) => {
                queries::delivered(db.write(), waiting.message_id, ambient.now()).await?;
                taken += 1;
            }
            Err(why) => {
                let is_over = now - waiting.raised_at > GIVEN_UP_AFTER;
                let wait = TimeDelta::seconds(10_i64.saturating_mul(1 << waiting.attempts.clamp(0, 9)))
                    .min(TimeDelta::hours(1));
                let next = (!is_over).then(|| now + wait);
                tracing::warn!(alert = waiting.alert, why, given_up = is_over, "an alert was not taken by its webhook");
                queries::not_delivered(db.write(), waiting.message_id, next, &why).await?;
            }
        }
    }
    Ok(taken)
}

fn with_time(message: &Value, raised_at: DateTime<Utc>) -> String {
    let mut message = message.clone();
    if let Some(fields) = message.as_object_mut() {
        fields.insert("timestamp".to_owned(), json!(raised_at));
    }
    message.to_string()
}

/// The key of a secret: what follows `whsec_` in Base64, otherwise its text.
fn key(secret: &str) -> hmac::Key {
    let decoded = secret.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    hmac::Key::new(hmac::HMAC_SHA256, decoded.as_deref().unwrap_or(secret.as_bytes()))
}

/// The headers of Standard Webhooks.
fn signed(key: &hmac::Key, id: Uuid, now: DateTime<Utc>, body: &str) -> [(&'static str, String); 3] {
    let id = format!("msg_{}", id.simple());
    let time = now.timestamp().to_string();
    let signature = hmac::sign(key, format!("{id}.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(signature));
    [("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", signature)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_signed_as_the_standard_says() {
        // The example of the specification of Standard Webhooks, with an id of ours.
        let key = key(concat!("whsec", "_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        let now = DateTime::from_timestamp(1_614_265_330, 0).expect("a time");
        let [id, time, signature] = signed(&key, Uuid::nil(), now, r#"{"test": 2432232314}"#);
        assert_eq!(id.1, "msg_00000000000000000000000000000000");
        assert_eq!(time.1, "1614265330");
        let expected = hmac::sign(&key, format!("{}.{}.{}", id.1, time.1, r#"{"test": 2432232314}"#).as_bytes());
        assert_eq!(signature.1, format!("v1,{}", STANDARD.encode(expected)));
        let decoded = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("Base64");
        let vendor = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &decoded),
            br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#,
        );
        assert_eq!(STANDARD.encode(vendor), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
