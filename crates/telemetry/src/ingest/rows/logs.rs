//! Rows of `telemetry_logs`.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::cleaning::value;
use super::maker::{Maker, Origin, span_id, text_of, trace_id};
use crate::otlp::{ExportLogsServiceRequest, LogRecord, any_value};

/// The longest body that is kept, in bytes.
const BODY: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct LogRow {
    pub(crate) session: Option<String>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) severity_number: i16,
    pub(crate) severity: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) trace_id: Option<Uuid>,
    pub(crate) span_id: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) attributes: String,
    pub(crate) resource: String,
}

pub(super) fn rows(request: ExportLogsServiceRequest, maker: &mut Maker<'_>) -> Vec<LogRow> {
    let mut rows = Vec::new();
    for of_resource in &request.resource_logs {
        for of_scope in &of_resource.scope_logs {
            let origin = maker.origin(of_resource.resource.as_ref(), of_scope.scope.as_ref());
            rows.extend(of_scope.log_records.iter().filter_map(|record| row(record, &origin, maker)));
        }
    }
    rows
}

fn row(record: &LogRecord, origin: &Origin, maker: &mut Maker<'_>) -> Option<LogRow> {
    let attributes = maker.cleaner.attributes(&record.attributes);
    let body = record.body.as_ref().and_then(|body| match &body.value {
        None => None,
        Some(any_value::Value::String(text)) => Some(maker.cleaner.text(text, BODY)),
        Some(_) => Some(maker.cleaner.json(&value(body))),
    });
    if !maker.has_room(attributes.len() + body.as_ref().map_or(0, String::len) + origin.resource.len()) {
        return None;
    }
    // Before records had a name of their own, events were told by an attribute.
    let event = maker.name(&record.event_name).or_else(|| maker.name(text_of(&record.attributes, "event.name")?));
    Some(LogRow {
        session: maker.session(&record.attributes).or_else(|| origin.session.clone()),
        at: maker.time(if record.time_unix_nano > 0 { record.time_unix_nano } else { record.observed_time_unix_nano }),
        severity_number: i16::try_from(record.severity_number.clamp(0, 24)).unwrap_or(0),
        severity: maker.name(&record.severity_text),
        event,
        body,
        trace_id: trace_id(&record.trace_id),
        span_id: span_id(&record.span_id),
        service: origin.service.clone(),
        scope: origin.scope.clone(),
        attributes,
        resource: origin.resource.clone(),
    })
}
