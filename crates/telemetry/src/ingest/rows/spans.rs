//! Rows of `telemetry_spans`.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::cleaning::object;
use super::maker::{Maker, NAME, Origin, span_id, trace_id};
use crate::otlp::{ExportTraceServiceRequest, Span};

/// The longest reason that is kept, in bytes.
const MESSAGE: usize = 4096;

#[derive(Debug)]
pub(crate) struct SpanRow {
    pub(crate) session: Option<String>,
    pub(crate) trace_id: Uuid,
    pub(crate) span_id: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) duration_us: i64,
    pub(crate) status: &'static str,
    pub(crate) status_message: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) attributes: String,
    pub(crate) events: String,
    pub(crate) links: String,
    pub(crate) resource: String,
}

pub(super) fn rows(request: ExportTraceServiceRequest, maker: &mut Maker<'_>) -> Vec<SpanRow> {
    let mut rows = Vec::new();
    for of_resource in &request.resource_spans {
        for of_scope in &of_resource.scope_spans {
            let origin = maker.origin(of_resource.resource.as_ref(), of_scope.scope.as_ref());
            rows.extend(of_scope.spans.iter().filter_map(|span| row(span, &origin, maker)));
        }
    }
    rows
}

fn row(span: &Span, origin: &Origin, maker: &mut Maker<'_>) -> Option<SpanRow> {
    let parent = span_id(&span.parent_span_id);
    let (Some(trace_id), Some(span_id)) = (trace_id(&span.trace_id), span_id(&span.span_id)) else {
        maker.reject("a span has no trace id of 16 bytes or no span id of 8");
        return None;
    };
    let attributes = maker.cleaner.attributes(&span.attributes);
    let events = span.events.iter().map(|event| {
        json!({ "name": event.name, "at": maker.time(event.time_unix_nano), "attributes": object(&event.attributes) })
    });
    let events = maker.cleaner.json(&without_nul(events.collect()));
    let links = span.links.iter().map(|link| {
        let (trace, span) = (hex::encode(&link.trace_id), hex::encode(&link.span_id));
        json!({ "trace_id": trace, "span_id": span, "attributes": object(&link.attributes) })
    });
    let links = maker.cleaner.json(&links.collect());
    if !maker.has_room(attributes.len() + events.len() + links.len() + origin.resource.len()) {
        return None;
    }
    let status = span.status.as_ref();
    let message = status.map(|status| status.message.as_str()).filter(|message| !message.is_empty());
    let nanoseconds = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    Some(SpanRow {
        session: maker.session(&span.attributes).or_else(|| origin.session.clone()),
        trace_id,
        span_id,
        parent,
        name: maker.cleaner.text(&span.name, NAME),
        kind: match span.kind {
            1 => "internal",
            2 => "server",
            3 => "client",
            4 => "producer",
            5 => "consumer",
            _ => "unspecified",
        },
        started_at: maker.time(span.start_time_unix_nano),
        duration_us: i64::try_from(nanoseconds / 1000).unwrap_or(i64::MAX),
        status: match status.map_or(0, |status| status.code) {
            1 => "ok",
            2 => "error",
            _ => "unset",
        },
        status_message: message.map(|message| maker.cleaner.text(message, MESSAGE)),
        service: origin.service.clone(),
        scope: origin.scope.clone(),
        attributes,
        events,
        links,
        resource: origin.resource.clone(),
    })
}

/// Names of events are the only texts in there that were not cleaned.
fn without_nul(mut events: Value) -> Value {
    for event in events.as_array_mut().into_iter().flatten() {
        if let Some(name) = event["name"].as_str().filter(|name| name.contains('\0')) {
            event["name"] = name.replace('\0', "\u{fffd}").into();
        }
    }
    events
}
