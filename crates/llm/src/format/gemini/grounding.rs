//! Where a whole answer comes from: what Google was asked, what it found, and how sure it is of it.

use serde_json::Value;

use crate::format::grounding::{list, source};
use crate::neutral::{Grounding, WebSource};

/// Reads it.
pub(super) fn grounding(answer: &Value) -> Grounding {
    let mut grounding = Grounding::default();
    for candidate in list(&answer["candidates"]) {
        let told = &candidate["groundingMetadata"];
        list(&told["webSearchQueries"]).for_each(|query| grounding.ask(query.as_str().unwrap_or_default()));
        let found: Vec<WebSource> = list(&told["groundingChunks"])
            .map(|chunk| source(chunk.get("web").or_else(|| chunk.get("retrievedContext")).unwrap_or(chunk), "uri"))
            .collect();
        for found in &found {
            grounding.cite(found.clone());
        }
        for support in list(&told["groundingSupports"]) {
            let sure: Vec<Option<f64>> = list(&support["confidenceScores"]).map(Value::as_f64).collect();
            for (at, index) in list(&support["groundingChunkIndices"]).enumerate() {
                let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
                let Some(found) = index.and_then(|index| found.get(index)) else { continue };
                grounding.cite(WebSource { relevance: sure.get(at).copied().flatten(), ..found.clone() });
            }
        }
    }
    grounding
}
