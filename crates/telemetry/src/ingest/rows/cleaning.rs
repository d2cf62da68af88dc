//! What clients say, as it may be stored: no credential, nothing PostgreSQL cannot hold, no text without an end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use systemprompt_governance::secret_scan::{REDACTED, SecretScanner, redact};

use crate::otlp::{AnyValue, KeyValue, any_value};

/// The longest text within attributes that is kept, in bytes.
const TEXT: usize = 64 * 1024;

/// Makes texts and attributes storable.
pub(super) struct Cleaner<'a>(&'a SecretScanner);

impl<'a> Cleaner<'a> {
    pub(super) fn new(scanner: &'a SecretScanner) -> Self {
        Self(scanner)
    }

    /// A text of at most `limit` bytes.
    pub(super) fn text(&self, text: &str, limit: usize) -> String {
        // What is cut off is scanned as well: a credential that is cut in two is still one.
        if self.0.flags(text) { REDACTED.to_owned() } else { shown(text, limit) }
    }

    /// The same for a text that is random by nature.
    pub(super) fn id(&self, id: &str, limit: usize) -> String {
        if self.0.flags_id(id) { REDACTED.to_owned() } else { shown(id, limit) }
    }

    /// Attributes as a JSON object.
    pub(super) fn attributes(&self, attributes: &[KeyValue]) -> String {
        self.json(&object(attributes))
    }

    /// JSON with every credential replaced.
    pub(super) fn json(&self, value: &Value) -> String {
        let text = Bytes::from(value.to_string());
        let scan = self.0.scan(&text);
        let redacted = redact(&text, &scan.flagged);
        String::from_utf8(redacted.into()).expect("JSON in which whole strings were replaced is text")
    }
}

fn shown(text: &str, limit: usize) -> String {
    let cut = &text[..text.floor_char_boundary(limit)];
    // Neither of PostgreSQL's types of text holds this character.
    if cut.contains('\0') { cut.replace('\0', "\u{fffd}") } else { cut.to_owned() }
}

/// Attributes as a map. Of several of the same name the last one counts.
pub(super) fn object(attributes: &[KeyValue]) -> Value {
    let entry =
        |attribute: &KeyValue| (shown(&attribute.key, TEXT), attribute.value.as_ref().map_or(Value::Null, value));
    Value::Object(attributes.iter().map(entry).collect::<Map<_, _>>())
}

/// A value as JSON. How deep it is was bounded when it was read.
pub(super) fn value(any: &AnyValue) -> Value {
    use any_value::Value as Any;
    match &any.value {
        None => Value::Null,
        Some(Any::String(text)) => shown(text, TEXT).into(),
        Some(Any::Bool(flag)) => (*flag).into(),
        Some(Any::Int(number)) => (*number).into(),
        // What is no number is nothing.
        Some(Any::Double(number)) => (*number).into(),
        Some(Any::Array(array)) => array.values.iter().map(value).collect(),
        Some(Any::Map(map)) => object(&map.values),
        Some(Any::Bytes(bytes)) => shown(&STANDARD.encode(bytes), TEXT).into(),
    }
}
