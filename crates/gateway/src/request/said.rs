//! What was said in a request and its answer, read from the bodies as they were kept.

use serde::Serialize;
use serde_json::{Value, json};
use systemprompt_governance::safety::masked;
use systemprompt_llm::{AnswerTap, Format};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// Its place.
    pub sequence: u32,
    /// Who said it.
    pub role: String,
    /// What was said: a text, or blocks as the dialect has them.
    pub content: Value,
}

/// The ends of something long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Excerpt {
    /// `request` or `response`.
    pub of: &'static str,
    /// Its full size.
    pub bytes: i64,
    /// Its beginning.
    pub head: String,
    /// Its end.
    pub tail: String,
}

impl Message {
    /// Masks personal data in what was said.
    pub(super) fn mask(&mut self) {
        mask(&mut self.content);
    }
}

impl Excerpt {
    /// Masks personal data in what is there.
    pub(super) fn mask(&mut self) {
        for text in [&mut self.head, &mut self.tail] {
            *text = masked(text).into_owned();
        }
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::String(text) => *text = masked(text).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => fields.values_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The messages of a request body of any dialect that has them: `system`, `instructions` or `systemInstruction`, then
/// `messages`, `input` or `contents`.
pub(super) fn messages_of_request(body: &str) -> Vec<Message> {
    let Ok(Value::Object(mut body)) = serde_json::from_str(body) else { return Vec::new() };
    let mut first = |keys: &[&str]| keys.iter().find_map(|key| body.remove(*key));
    let system = first(&["system", "instructions", "systemInstruction", "system_instruction"]);
    let system = system.map(|mut said| {
        let parts = said.get_mut("parts").map(Value::take);
        ("system".to_owned(), parts.unwrap_or(said))
    });
    let listed = match first(&["messages", "input", "contents"]) {
        Some(Value::Array(messages)) => messages,
        _ => Vec::new(),
    };
    let listed = listed.into_iter().map(|mut message| {
        let role = message.get("role").and_then(Value::as_str).unwrap_or("unknown").to_owned();
        // A message without `content` is shown as it is: tool results of some dialects have other keys.
        let content = ["content", "parts"].into_iter().find_map(|key| message.get_mut(key).map(Value::take));
        let content = content.unwrap_or(message);
        (role, content)
    });
    let numbered = system.into_iter().chain(listed).zip(0..);
    numbered.map(|((role, content), sequence)| Message { sequence, role, content }).collect()
}

/// An answer as a message: the content of a JSON answer, what the events of a streamed one say together, otherwise the text
/// itself.
pub(super) fn answer(sequence: u32, body: &str, dialect: &str) -> Message {
    let content = content_of_json(body)
        .or_else(|| content_of_stream(body, dialect))
        .unwrap_or_else(|| Value::String(body.to_owned()));
    Message { sequence, role: "assistant".to_owned(), content }
}

/// What one end of an answer says that was too long to be kept in whole.
pub(super) fn part_of_answer(part: &str, dialect: &str) -> String {
    match content_of_stream(part, dialect) {
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => part.to_owned(),
    }
}

fn content_of_json(body: &str) -> Option<Value> {
    let mut body = serde_json::from_str::<Value>(body).ok()?;
    if let Some(content) = body.get_mut("content") {
        return Some(content.take());
    }
    let (choices, place) = match body.get("candidates") {
        Some(_) => (body.get_mut("candidates"), "/content/parts"),
        None => (body.get_mut("choices"), "/message/content"),
    };
    let choices = choices?.as_array_mut()?;
    let said = choices.iter_mut().filter_map(|choice| choice.pointer_mut(place).map(Value::take));
    let mut said: Vec<Value> = said.collect();
    if said.len() > 1 { Some(Value::Array(said)) } else { said.pop() }
}

/// What the events say together, thinking apart from the answer; nothing if these are no events.
fn content_of_stream(body: &str, dialect: &str) -> Option<Value> {
    let format = Format::ALL.into_iter().find(|of| of.as_str() == dialect)?;
    if !body.lines().any(|line| line.starts_with("data:")) {
        return None;
    }
    let mut tap = AnswerTap::new(format, true, body.len(), 0);
    tap.feed(body.as_bytes());
    let summary = tap.finish();
    let whole = |text: &systemprompt_llm::Excerpt| format!("{}{}", text.head, text.tail);
    let failed = summary.error.as_ref().map(|error| format!("error: {}", error.message));
    let said: Vec<_> = [whole(&summary.text)].into_iter().chain(failed).filter(|part| !part.is_empty()).collect();
    let (thinking, text) = (whole(&summary.thinking), said.join("\n"));
    Some(if thinking.is_empty() {
        Value::String(text)
    } else {
        json!([{"type": "thinking", "thinking": thinking}, {"type": "text", "text": text}])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_found_in_every_dialect() {
        for (body, expected) in [
            (
                json!({"system": "be kind", "messages": [{"role": "user", "content": "hello"}]}),
                json!([{"sequence": 0, "role": "system", "content": "be kind"},
                       {"sequence": 1, "role": "user", "content": "hello"}]),
            ),
            (
                json!({"messages": [{"role": "system", "content": "s"}, {"role": "assistant", "tool_calls": []}]}),
                json!([{"sequence": 0, "role": "system", "content": "s"},
                       {"sequence": 1, "role": "assistant", "content": {"role": "assistant", "tool_calls": []}}]),
            ),
            (
                json!({"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
                json!([{"sequence": 0, "role": "system", "content": [{"text": "s"}]},
                       {"sequence": 1, "role": "user", "content": [{"text": "hi"}]}]),
            ),
            (json!([1]), json!([])),
        ] {
            let messages = messages_of_request(&body.to_string());
            assert_eq!(serde_json::to_value(messages).unwrap(), expected, "{body}");
        }
    }

    #[test]
    fn an_answer_is_a_message() {
        for (body, expected) in [
            (r#"{"content":[{"type":"text","text":"hi"}]}"#, json!([{"type": "text", "text": "hi"}])),
            (r#"{"choices":[{"message":{"content":"hi"}}]}"#, json!("hi")),
            (r#"{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}"#, json!(["a", "b"])),
            (r#"{"candidates":[{"content":{"parts":[{"text":"hi"}]}}]}"#, json!([{"text": "hi"}])),
            ("hi there", json!("hi there")),
        ] {
            assert_eq!(answer(3, body, "openai-chat").content, expected);
        }
    }

    #[test]
    fn a_streamed_answer_is_the_text_its_events_say_together() {
        let anthropic = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n\
            event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"THINK\",\"THINK\":\"\"}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"THINK_delta\",\"THINK\":\"one \"}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"THINK_delta\",\"THINK\":\"two\"}}\n\n\
            event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
        let thought = anthropic.replace("THINK", "thinking");
        let said = anthropic.replace("THINK", "text");
        assert_eq!(answer(0, &said, "anthropic-messages").content, json!("one two"));
        assert_eq!(
            answer(0, &thought, "anthropic-messages").content,
            json!([{"type": "thinking", "thinking": "one two"}, {"type": "text", "text": ""}])
        );
        let openai = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"one \"}}]}\n\n\
            data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        assert_eq!(answer(0, openai, "openai-chat").content, json!("one two"));
        // Either end of one that was too long to be kept begins or ends somewhere.
        let (head, tail) = openai.split_at(openai.find("two").expect("it is there"));
        assert_eq!(part_of_answer(head, "openai-chat"), "one ");
        assert!(!part_of_answer(tail, "openai-chat").contains("data:"), "{tail}");
        assert_eq!(part_of_answer("no events", "openai-chat"), "no events");
    }
}
