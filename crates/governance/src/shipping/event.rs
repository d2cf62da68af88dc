//! Entries of the log as flat events, as a SIEM takes them: who did what, with what, and what came of it.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{Decided, LedgerEntry, Record};
use uuid::Uuid;

use crate::ledger::read::{self, LoggedEntry};

/// An event. What an entry does not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct SiemEvent {
    /// The entry: `chain:seq`. The same whenever it is told again.
    pub(super) id: String,
    pub(super) timestamp: String,
    #[serde(skip)]
    pub(super) at: DateTime<Utc>,
    /// The chain, and the place in it.
    #[serde(skip)]
    pub(super) place: (Uuid, i64),
    /// `decision.allow`, `decision.warn`, `decision.deny`, `action.attempted`, `action.completed`, `action.failed`,
    /// `action.abandoned`, `ledger.checkpoint`.
    pub(super) event_type: String,
    /// `info`, `warning`.
    pub(super) level: &'static str,
    pub(super) user_id: Option<String>,
    /// Its roles at that time, separated by commas.
    pub(super) role: Option<String>,
    pub(super) department: Option<String>,
    pub(super) actor: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) key_id: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) mcp_server: Option<String>,
    pub(super) tool: Option<String>,
    pub(super) effect: Option<String>,
    pub(super) resource: Option<String>,
    pub(super) status: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) duration_ms: Option<i64>,
    pub(super) tokens_in: Option<i64>,
    pub(super) tokens_out: Option<i64>,
    pub(super) cost_usd: Option<f64>,
    pub(super) session_id: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) trace_id: Option<String>,
    pub(super) client: Option<String>,
}

/// The events of these entries. Whose an end is stands in the decision before it, which is looked up if it is not here.
pub(super) async fn events(
    connection: &mut PgConnection,
    stored: &[LoggedEntry],
) -> Result<Vec<SiemEvent>, sqlx::Error> {
    // What cannot be read is told as it stands: a destination does not wait for a newer version.
    let read: Vec<_> = stored.iter().map(|entry| (entry, entry.read().ok().flatten())).collect();
    let mut decisions: HashMap<Uuid, Decided> = HashMap::new();
    let mut wanted = BTreeSet::new();
    for (entry, said) in &read {
        match said {
            Some(LedgerEntry { record: Record::Decided(decided), .. }) => {
                decisions.insert(entry.action, Decided::clone(decided));
            }
            Some(_) if !entry.action.is_nil() && !decisions.contains_key(&entry.action) => {
                wanted.insert(entry.action);
            }
            _ => {}
        }
    }
    let wanted: Vec<Uuid> = wanted.into_iter().filter(|action| !decisions.contains_key(action)).collect();
    if !wanted.is_empty() {
        for entry in read::about(connection, &wanted).await? {
            if let Ok(Some(LedgerEntry { record: Record::Decided(decided), .. })) = entry.read() {
                decisions.insert(entry.action, *decided);
            }
        }
    }
    Ok(read
        .into_iter()
        .map(|(entry, said)| {
            let mut event = SiemEvent {
                id: format!("{}:{}", entry.chain, entry.seq),
                timestamp: entry.at.to_rfc3339_opts(SecondsFormat::Micros, true),
                at: entry.at,
                place: (entry.chain, entry.seq),
                event_type: format!("ledger.{}", entry.kind),
                level: "info",
                request_id: (!entry.action.is_nil()).then(|| entry.action.to_string()),
                ..SiemEvent::default()
            };
            if let Some(decided) = decisions.get(&entry.action) {
                event.about(decided);
            }
            if let Some(said) = said {
                event.say(&said.record);
            }
            event
        })
        .collect())
}

impl SiemEvent {
    fn about(&mut self, decided: &Decided) {
        let by = &decided.by;
        let of_kind =
            |kind: &str| by.actors.iter().find(|actor| actor.kind.as_str() == kind).map(|actor| actor.id.clone());
        self.user_id = by.user.map(|user| user.to_string());
        self.actor = by.actors.first().map(|actor| format!("{} {}", actor.kind.as_str(), actor.id));
        self.role = (!by.roles.is_empty()).then(|| by.roles.join(","));
        self.department.clone_from(&by.department);
        self.credential = Some(by.credential.clone());
        self.key_id = by.key.map(|key| key.to_string());
        self.agent = of_kind("agent");
        self.session_id = by.session.map(|session| session.to_string());
        self.trace_id = Some(by.trace.to_string());
        self.client.clone_from(&by.client);
        self.effect = Some(decided.effect.kind.to_string());
        self.resource = Some(format!("{} {}", decided.resource.kind, decided.resource.id));
        self.policy = Some(decided.decision.policy.clone());
        if decided.effect.kind == "call_tool" {
            self.tool = Some(decided.decision.subject.clone());
            self.mcp_server = Some(decided.resource.id.clone());
        }
    }

    fn say(&mut self, record: &Record) {
        match record {
            Record::Decided(decided) => {
                self.event_type = format!("decision.{}", decided.decision.verdict);
                self.level = if decided.decision.verdict == "allow" { "info" } else { "warning" };
                self.status = Some(if decided.is_refused() { "rejected" } else { "admitted" }.to_owned());
                self.reason.clone_from(&decided.decision.reason);
            }
            Record::Attempted(attempted) => {
                "action.attempted".clone_into(&mut self.event_type);
                self.reason = Some(attempted.why.clone());
            }
            Record::Ended(ended) => {
                self.event_type = format!("action.{}", ended.status);
                self.level = if ended.status == "completed" { "info" } else { "warning" };
                self.status = Some(ended.status.clone());
                self.reason.clone_from(&ended.reason);
                self.duration_ms = ended.latency_ms;
                self.tokens_in = Some(ended.usage.input_tokens);
                self.tokens_out = Some(ended.usage.output_tokens);
                self.cost_usd = Some(ended.usage.cost_microdollars as f64 / 1e6);
            }
            Record::Abandoned(abandoned) => {
                "action.abandoned".clone_into(&mut self.event_type);
                self.level = "warning";
                self.status = Some("abandoned".to_owned());
                self.reason = Some(abandoned.reason.clone());
            }
            Record::Checkpoint(_) => {}
        }
    }
}

/// The events as a request of OTLP over HTTP, in its JSON form.
pub(super) fn otlp(events: &[SiemEvent]) -> Value {
    let records: Vec<Value> = events
        .iter()
        .map(|event| {
            let fields = serde_json::to_value(event).unwrap_or_default();
            let attributes: Vec<Value> = fields
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| {
                    let value = match value {
                        Value::Null => return None,
                        Value::Number(number) if number.is_i64() => json!({"intValue": number.to_string()}),
                        Value::Number(number) => json!({"doubleValue": number}),
                        Value::String(text) => json!({"stringValue": text}),
                        other => json!({"stringValue": other.to_string()}),
                    };
                    Some(json!({"key": key, "value": value}))
                })
                .collect();
            let (number, text) = if event.level == "warning" { (13, "WARN") } else { (9, "INFO") };
            let time = event.at.timestamp_nanos_opt().unwrap_or_default().to_string();
            json!({
                "timeUnixNano": time,
                "severityNumber": number,
                "severityText": text,
                "body": {"stringValue": event.event_type},
                "attributes": attributes,
            })
        })
        .collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "systemprompt"}}]},
        "scopeLogs": [{"scope": {"name": "systemprompt.ledger"}, "logRecords": records}],
    }]})
}
