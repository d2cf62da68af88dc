//! `POST /v1/messages/count_tokens`: a request without the settings that say how to answer.

use systemprompt_model::json::loose;

use crate::format::definition::{Count, Path};

pub(in crate::format) static COUNT: Count = Count {
    path: Path::Fixed("/messages/count_tokens"),
    inside: |body| body,
    relayed: |request, _, _| request.to_vec(),
    written,
    field: "input_tokens",
};

/// What counts, of all that a request says. The vendor refuses the rest.
const COUNTED: [&str; 7] = ["model", "system", "messages", "tools", "tool_choice", "thinking", "output_config"];

fn written(request: &[u8], _: &str, _: bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(request.len());
    for (name, value) in COUNTED.into_iter().zip(loose::pick(request, COUNTED)) {
        let Some(value) = value else { continue };
        kept.extend_from_slice(if kept.is_empty() { b"{\"" } else { b",\"" });
        kept.extend_from_slice(name.as_bytes());
        kept.extend_from_slice(b"\":");
        kept.extend_from_slice(value);
    }
    kept.push(b'}');
    kept
}
