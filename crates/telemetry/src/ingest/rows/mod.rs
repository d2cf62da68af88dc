//! From messages to rows: flat, without credentials, and within a bound whatever was sent.
//!
//! Rows repeat what the messages say once, so a small request could make large ones. What is beyond [`MOST_BYTES`] is
//! rejected, which the sender is told.

mod cleaning;
mod logs;
mod metrics;
mod spans;

use chrono::{DateTime, Utc};
use systemprompt_governance::secret_scan::SecretScanner;
use uuid::Uuid;

use super::Signal;
use super::read::Request;
use crate::otlp::{InstrumentationScope, KeyValue, Resource, any_value};
use cleaning::Cleaner;

pub(super) use logs::LogRow;
pub(super) use metrics::PointRow;
pub(super) use spans::SpanRow;

/// What the rows of one request may hold together.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// At most what a row takes besides its large texts.
const ROW: usize = 1024;
/// The longest name that is kept, in bytes.
const NAME: usize = 512;

/// The rows of a request.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) items: Items,
    /// How many there are no rows of.
    pub(super) rejected: u64,
    /// Why.
    pub(super) why: Option<&'static str>,
}

/// Rows of one kind.
#[derive(Debug)]
pub(super) enum Items {
    Spans(Vec<SpanRow>),
    Logs(Vec<LogRow>),
    Points(Vec<PointRow>),
}

impl Rows {
    pub(super) fn signal(&self) -> Signal {
        match self.items {
            Items::Spans(_) => Signal::Traces,
            Items::Logs(_) => Signal::Logs,
            Items::Points(_) => Signal::Metrics,
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.items {
            Items::Spans(rows) => rows.len(),
            Items::Logs(rows) => rows.len(),
            Items::Points(rows) => rows.len(),
        }
    }
}

/// The rows of a request that came at a time.
pub(super) fn rows(request: Request, received_at: DateTime<Utc>, scanner: &SecretScanner) -> Rows {
    let mut maker = Maker { cleaner: Cleaner::new(scanner), received_at, left: MOST_BYTES, rejected: 0, why: None };
    let items = match request {
        Request::Traces(request) => Items::Spans(spans::rows(request, &mut maker)),
        Request::Logs(request) => Items::Logs(logs::rows(request, &mut maker)),
        Request::Metrics(request) => Items::Points(metrics::rows(request, &mut maker)),
    };
    Rows { items, rejected: maker.rejected, why: maker.why }
}

/// What making rows takes.
struct Maker<'a> {
    cleaner: Cleaner<'a>,
    received_at: DateTime<Utc>,
    /// How many bytes more the rows may hold.
    left: usize,
    rejected: u64,
    why: Option<&'static str>,
}

/// What the rows of one library of one resource have in common.
#[derive(Debug, Clone, Default)]
struct Origin {
    service: Option<String>,
    session: Option<String>,
    scope: Option<String>,
    resource: String,
}

impl Maker<'_> {
    fn origin(&mut self, resource: Option<&Resource>, scope: Option<&InstrumentationScope>) -> Origin {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        Origin {
            service: text_of(attributes, "service.name").and_then(|name| self.name(name)),
            session: self.session(attributes),
            scope: scope.and_then(|scope| self.name(&scope.name)),
            resource: self.cleaner.attributes(attributes),
        }
    }

    /// The client's own session.
    fn session(&self, attributes: &[KeyValue]) -> Option<String> {
        let id = text_of(attributes, "session.id")?;
        (!id.is_empty()).then(|| self.cleaner.id(id, NAME))
    }

    /// A name, if there is one.
    fn name(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| self.cleaner.text(name, NAME))
    }

    /// Whether there is room for a row with so many bytes of texts.
    fn has_room(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes + ROW);
        match left {
            Some(left) => self.left = left,
            None => self.reject("the request makes larger rows than one may; send less at once"),
        }
        left.is_some()
    }

    fn reject(&mut self, why: &'static str) {
        self.rejected += 1;
        self.why.get_or_insert(why);
    }

    /// A time of the sender's; the time of arrival if there is none that a calendar has.
    fn time(&self, nanoseconds: u64) -> DateTime<Utc> {
        match i64::try_from(nanoseconds) {
            Ok(nanoseconds) if nanoseconds > 0 => DateTime::from_timestamp_nanos(nanoseconds),
            _ => self.received_at,
        }
    }
}

/// The text an attribute has.
fn text_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match &value.value {
        Some(any_value::Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A trace id, which is as long as a UUID. Zeros are none.
fn trace_id(bytes: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(bytes).ok().filter(|id| !id.is_nil())
}

/// A span id.
fn span_id(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 8 && bytes.iter().any(|byte| *byte != 0)).then(|| hex::encode(bytes))
}
