//! What safety scanners found, as rows of `ai_safety_findings`.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{Json, LedgerEntry, ProjectionError, Record};
use systemprompt_governance::Effect as _;
use uuid::Uuid;

use super::effect::Infer;

/// What a policy said, as far as it is about findings.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Evaluation {
    findings: Vec<Finding>,
}

/// Something that was found, as an entry has it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Finding {
    blocked: bool,
    category: String,
    phase: String,
    scanner: String,
    sequence: i32,
    severity: String,
}

/// Writes what these entries have of findings: one statement for all of them.
pub(super) async fn insert(connection: &mut PgConnection, entries: &[LedgerEntry]) -> Result<(), ProjectionError> {
    let mut rows: Vec<(Uuid, DateTime<Utc>, Finding)> = Vec::new();
    for entry in entries {
        let (said, at) = match &entry.record {
            Record::Decided(decided) if decided.effect.kind == Infer::KIND => {
                (Some(&decided.decision.evaluations), decided.at)
            }
            Record::Ended(ended) if ended.effect == Infer::KIND => (ended.inspections.as_ref(), ended.at),
            _ => (None, entry.at),
        };
        let Some(said) = said.filter(|said| may_have_findings(said)) else { continue };
        let said: Vec<Evaluation> = said.read().map_err(|error| entry.unreadable(error))?;
        let found = said.into_iter().flat_map(|evaluation| evaluation.findings);
        rows.extend(found.map(|finding| (entry.action.as_uuid(), at, finding)));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let texts = |value: fn(&Finding) -> &str| rows.iter().map(|(_, _, finding)| value(finding)).collect::<Vec<_>>();
    // An end whose beginning retention has dropped leaves nothing, and neither does a second one.
    sqlx::query!(
        r#"
        INSERT INTO ai_safety_findings (request_id, sequence, phase, severity, category, scanner, blocked, created_at)
        SELECT f.request_id, f.sequence, f.phase, f.severity, f.category, f.scanner, f.blocked, f.created_at
        FROM UNNEST($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::timestamptz[])
            AS f (request_id, sequence, phase, severity, category, scanner, blocked, created_at)
        JOIN ai_requests AS r ON r.id = f.request_id
        ON CONFLICT (request_id, sequence) DO NOTHING
        "#,
        &rows.iter().map(|(request, ..)| *request).collect::<Vec<_>>(),
        &rows.iter().map(|(.., finding)| finding.sequence).collect::<Vec<_>>(),
        &texts(|finding| &finding.phase) as _,
        &texts(|finding| &finding.severity) as _,
        &texts(|finding| &finding.category) as _,
        &texts(|finding| &finding.scanner) as _,
        &rows.iter().map(|(.., finding)| finding.blocked).collect::<Vec<_>>(),
        &rows.iter().map(|(_, at, _)| *at).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Most entries have none, and are not read for that.
fn may_have_findings(said: &Json) -> bool {
    said.text().contains("\"findings\"")
}
