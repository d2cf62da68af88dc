//! Where a whole answer comes from: calls of the provider's own search, their results, and the citations of the text.

use serde_json::Value;

use crate::format::grounding::{list, source};
use crate::neutral::{Grounding, WebSource};

/// Reads it.
pub(super) fn grounding(answer: &Value) -> Grounding {
    let mut grounding = Grounding::default();
    for block in list(&answer["content"]) {
        match block["type"].as_str() {
            Some("server_tool_use") => grounding.ask(block["input"]["query"].as_str().unwrap_or_default()),
            Some("web_search_tool_result") => {
                list(&block["content"]).for_each(|result| grounding.cite(source(result, "url")));
            }
            Some("text") => {
                for citation in list(&block["citations"]) {
                    let snippet = citation["cited_text"].as_str().map(str::to_owned);
                    grounding.cite(WebSource { snippet, ..source(citation, "url") });
                }
            }
            _ => {}
        }
    }
    grounding
}
