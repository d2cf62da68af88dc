//! What formats have in common when they say where an answer comes from.

use serde_json::Value;

use crate::neutral::{Grounding, WebSource};

/// The members of a list that may not be there.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A source with the address and the title an object gives it under these names.
pub(super) fn source(value: &Value, uri: &str) -> WebSource {
    let text = |name: &str| value[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    WebSource { uri: text(uri).unwrap_or_default(), title: text("title"), ..WebSource::default() }
}

/// Of a format that has no words for it.
pub(super) fn none(_: &Value) -> Grounding {
    Grounding::default()
}
