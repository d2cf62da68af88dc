//! Where a whole answer comes from: the annotations of the text. What was searched for is not told.

use serde_json::Value;

use crate::format::grounding::{list, source};
use crate::neutral::Grounding;

/// Reads it.
pub(super) fn grounding(answer: &Value) -> Grounding {
    let mut grounding = Grounding::default();
    let annotations = list(&answer["choices"]).flat_map(|choice| list(&choice["message"]["annotations"]));
    let cited = annotations.filter(|annotation| annotation["type"] == "url_citation");
    cited.for_each(|annotation| grounding.cite(source(&annotation["url_citation"], "url")));
    grounding
}
