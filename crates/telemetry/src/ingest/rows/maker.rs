//! What rows of every kind have in common: who sent them, names, ids, times, and a bound.

use chrono::{DateTime, Utc};
use systemprompt_governance::secret_scan::SecretScanner;
use uuid::Uuid;

use super::cleaning::Cleaner;
use crate::otlp::{InstrumentationScope, KeyValue, Resource, any_value};

/// What the rows of one request may hold together.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// At most what a row takes besides its large texts.
const ROW: usize = 1024;
/// The longest name that is kept, in bytes.
pub(super) const NAME: usize = 512;

/// What making rows takes.
pub(super) struct Maker<'a> {
    pub(super) cleaner: Cleaner<'a>,
    received_at: DateTime<Utc>,
    /// How many bytes more the rows may hold.
    left: usize,
    pub(super) rejected: u64,
    pub(super) why: Option<&'static str>,
}

/// What the rows of one library of one resource have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub(super) service: Option<String>,
    pub(super) session: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) resource: String,
}

impl<'a> Maker<'a> {
    pub(super) fn new(scanner: &'a SecretScanner, received_at: DateTime<Utc>) -> Self {
        Self { cleaner: Cleaner::new(scanner), received_at, left: MOST_BYTES, rejected: 0, why: None }
    }

    pub(super) fn origin(&mut self, resource: Option<&Resource>, scope: Option<&InstrumentationScope>) -> Origin {
        let attributes = resource.map_or(&[][..], |resource| &resource.attributes);
        Origin {
            service: text_of(attributes, "service.name").and_then(|name| self.name(name)),
            session: self.session(attributes),
            scope: scope.and_then(|scope| self.name(&scope.name)),
            resource: self.cleaner.attributes(attributes),
        }
    }

    /// The client's own session.
    pub(super) fn session(&self, attributes: &[KeyValue]) -> Option<String> {
        let id = text_of(attributes, "session.id")?;
        (!id.is_empty()).then(|| self.cleaner.id(id, NAME))
    }

    /// A name, if there is one.
    pub(super) fn name(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| self.cleaner.text(name, NAME))
    }

    /// Whether there is room for a row with so many bytes of texts.
    pub(super) fn has_room(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes + ROW);
        match left {
            Some(left) => self.left = left,
            None => self.reject("the request makes larger rows than one may; send less at once"),
        }
        left.is_some()
    }

    pub(super) fn reject(&mut self, why: &'static str) {
        self.rejected += 1;
        self.why.get_or_insert(why);
    }

    /// A time of the sender's; the time of arrival if there is none that a calendar has.
    pub(super) fn time(&self, nanoseconds: u64) -> DateTime<Utc> {
        match i64::try_from(nanoseconds) {
            Ok(nanoseconds) if nanoseconds > 0 => DateTime::from_timestamp_nanos(nanoseconds),
            _ => self.received_at,
        }
    }
}

/// The text an attribute has.
pub(super) fn text_of<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match &value.value {
        Some(any_value::Value::String(text)) => Some(text),
        _ => None,
    }
}

/// A trace id, which is as long as a UUID. Zeros are none.
pub(super) fn trace_id(bytes: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(bytes).ok().filter(|id| !id.is_nil())
}

/// A span id.
pub(super) fn span_id(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 8 && bytes.iter().any(|byte| *byte != 0)).then(|| hex::encode(bytes))
}
