//! The system prompt of a request, exchanged.

use systemprompt_model::json;

/// Another system prompt in the place of this one: where it was in blocks, the last mark for caches stays at its end.
pub(super) fn exchanged(text: &str, before: &[u8]) -> String {
    let text = serde_json::Value::from(text);
    let last = json::elements(before, usize::MAX).into_iter().rev().find_map(|block| {
        let [mark] = json::pick(block, ["cache_control"]).ok()?;
        std::str::from_utf8(mark?).ok().filter(|mark| *mark != "null")
    });
    match last {
        Some(mark) => format!(r#"[{{"type":"text","text":{text},"cache_control":{mark}}}]"#),
        None => text.to_string(),
    }
}
