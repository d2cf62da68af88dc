//! Where a whole answer comes from: the searches the provider made, and the annotations of the text.

use serde_json::Value;

use crate::format::grounding::{list, source};
use crate::neutral::Grounding;

/// Reads it.
pub(super) fn grounding(answer: &Value) -> Grounding {
    let mut grounding = Grounding::default();
    for item in list(&answer["output"]) {
        let action = &item["action"];
        match item["type"].as_str() {
            Some("web_search_call") => {
                list(&action["queries"]).chain([&action["query"]]).for_each(|query| {
                    grounding.ask(query.as_str().unwrap_or_default());
                });
                list(&action["sources"]).for_each(|found| grounding.cite(source(found, "url")));
            }
            Some("message") => {
                let annotations = list(&item["content"]).flat_map(|part| list(&part["annotations"]));
                let cited = annotations.filter(|annotation| annotation["type"] == "url_citation");
                cited.for_each(|annotation| grounding.cite(source(annotation, "url")));
            }
            _ => {}
        }
    }
    grounding
}
