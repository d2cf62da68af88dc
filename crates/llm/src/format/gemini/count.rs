//! `POST /v1beta/models/{model}:countTokens`: the contents alone, or a whole request in an envelope.

use serde_json::Value;
use systemprompt_model::json::loose;

use crate::format::definition::{Count, Path};

pub(in crate::format) static COUNT: Count = Count {
    path: Path::OfModel { before: "/models/", whole: ":countTokens", streamed: ":countTokens" },
    inside,
    relayed: written,
    written,
    field: "totalTokens",
};

fn inside(body: &[u8]) -> &[u8] {
    let found = loose::pick(body, ["generateContentRequest", "generate_content_request"]);
    found.into_iter().flatten().find(|request| request.starts_with(b"{")).unwrap_or(body)
}

/// In the envelope the model is named once more; without it, as Vertex AI has it, nowhere but in the path.
fn written(request: &[u8], model: &str, bare: bool) -> Vec<u8> {
    if bare {
        return request.to_vec();
    }
    let model = Value::from(format!("models/{model}"));
    let mut body = format!("{{\"generateContentRequest\":{{\"model\":{model}").into_bytes();
    let members = request.trim_ascii().strip_prefix(b"{").unwrap_or_default().trim_ascii_start();
    if !members.starts_with(b"}") {
        body.push(b',');
    }
    body.extend_from_slice(members);
    body.push(b'}');
    body
}
