//! Instructions: what the operator of a conversation tells the model, before it begins and in the middle of it. A gateway may
//! say it in the place of its callers, or have it left out.

use std::borrow::Cow;

use bytes::Bytes;
use systemprompt_model::json::{self, Cursor, Kind, Span, SyntaxError};

use crate::format::definition::Instructions;
use crate::request::InferenceRequest;
use crate::request::error::RequestError;
use crate::request::layout::MemberPlace;
use crate::request::reader::Reader;
use crate::splice::{self, Splice};

impl InferenceRequest {
    /// The same request with `text` in the place of all that its caller has the model told as its operator: the system prompt,
    /// and what is said in the same role in the middle of the conversation. Without a text that is left out. Everything else
    /// stays byte for byte as it is, and so does what the conversation is known by.
    ///
    /// # Errors
    ///
    /// Nothing would be left of the conversation.
    pub fn with_instructions(&self, text: Option<&str>) -> Result<Self, RequestError> {
        let definition = self.format.definition();
        let Some(instructions) = &definition.instructions else { return Ok(self.clone()) };
        let found = Found::in_body(&self.body, instructions, definition.conversation)?;
        if found.left == 0 {
            return Err(RequestError::OnlyInstructions { field: definition.conversation });
        }
        let body = splice::apply(&self.body, found.splices(&self.body, instructions, text));
        let mut request = self.reread(body)?;
        request.conversation_key = self.conversation_key;
        Ok(request)
    }

    /// A changed body, read as this one was.
    fn reread(&self, body: Bytes) -> Result<Self, RequestError> {
        let mut reader = Reader::default();
        // The path said both.
        if self.layout.model.is_none() {
            reader.model = Some(self.model.clone());
            reader.stream = self.stream;
        }
        // Whether there must be a limit was asked when it was read first.
        reader.counting = true;
        Self::read(self.format, body, reader)
    }
}

/// Where instructions are in a body.
#[derive(Default)]
struct Found {
    /// Just after the opening brace.
    inside: usize,
    /// The value of the field of their own, if it is there.
    value: Option<Span>,
    /// Whole members: what some provider could take for that field, and the field itself.
    members: Vec<MemberPlace>,
    /// The member of the field among them.
    field: Option<usize>,
    /// Just after the opening bracket of the conversation, if it is an array.
    conversation: Option<usize>,
    /// Elements of the conversation.
    elements: Vec<MemberPlace>,
    /// The role of the first of them.
    role: Option<String>,
    /// How many others there are.
    left: usize,
}

impl Found {
    fn in_body(body: &[u8], instructions: &Instructions, conversation: &str) -> Result<Self, SyntaxError> {
        let mut found = Self::default();
        let names = match instructions {
            Instructions::Field { names, .. } => names,
            Instructions::Messages => &[][..],
        };
        let mut cursor = Cursor::new(body);
        let span = cursor.members(|member, cursor| {
            if names.iter().any(|name| name.eq_ignore_ascii_case(&member.key)) {
                cursor.kind()?;
                let start = cursor.offset();
                let place = MemberPlace::read(&member, cursor)?;
                if names.contains(&&*member.key) {
                    found.value = Some(start..cursor.offset());
                    found.field = Some(found.members.len());
                }
                found.members.push(place);
                return Ok(());
            }
            if member.key != conversation {
                return cursor.skip().map(drop);
            }
            match cursor.kind()? {
                Kind::Array => found.conversation(body, cursor),
                Kind::Object => {
                    found.left = usize::from(role(body, cursor)?.is_none());
                    Ok(())
                }
                _ => {
                    found.left = 1;
                    cursor.skip().map(drop)
                }
            }
        })?;
        found.inside = span.start + 1;
        Ok(found)
    }

    fn conversation(&mut self, body: &[u8], cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
        let mut previous_end = None;
        let span = cursor.elements(|_, cursor| {
            cursor.kind()?;
            let start = cursor.offset();
            match role(body, cursor)? {
                Some(role) => {
                    self.elements.push(MemberPlace::element(start, previous_end, cursor));
                    self.role.get_or_insert(role);
                }
                None => self.left += 1,
            }
            previous_end = Some(cursor.offset());
            Ok::<_, SyntaxError>(())
        })?;
        self.conversation = Some(span.start + 1);
        Ok(())
    }

    fn splices(mut self, body: &[u8], instructions: &Instructions, text: Option<&str>) -> Vec<Splice> {
        let mut splices = Vec::new();
        match (text, instructions) {
            (None, _) => {}
            (Some(text), Instructions::Field { names, value }) => {
                if let (Some(at), Some(field)) = (self.value.take(), self.field) {
                    self.members.remove(field);
                    let written = value(text, &body[at.clone()]);
                    splices.push(Splice::new(at, written));
                } else {
                    let name = names.first().copied().unwrap_or_default();
                    let member = format!("\"{name}\":{},", value(text, b"null"));
                    splices.push(Splice::new(self.inside..self.inside, member));
                }
            }
            (Some(text), Instructions::Messages) => {
                // As an operator's message is called by this caller.
                let role = self.role.as_deref().unwrap_or("system");
                let message = format!("{{\"role\":\"{role}\",\"content\":{}}},", serde_json::Value::from(text));
                splices.extend(self.conversation.map(|inside| Splice::new(inside..inside, message)));
            }
        }
        splices.extend(splice::cuts(&self.members));
        splices.extend(splice::cuts(&self.elements));
        splices
    }
}

/// Reads an element of a conversation: the operator's role, in lower case, if it is an operator's message. Where a role is
/// there twice, either counts.
fn role(body: &[u8], cursor: &mut Cursor<'_>) -> Result<Option<String>, SyntaxError> {
    let mut found = None;
    if cursor.kind()? != Kind::Object {
        cursor.skip()?;
        return Ok(found);
    }
    cursor.members(|member, cursor| {
        let value = cursor.skip()?;
        if member.key.eq_ignore_ascii_case("role") {
            let role = json::text(&body[value]).map(Cow::into_owned).unwrap_or_default().to_ascii_lowercase();
            found = found.take().or(matches!(role.as_str(), "system" | "developer").then_some(role));
        }
        Ok::<_, SyntaxError>(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Format};

    fn request(format: Format, body: &str) -> InferenceRequest {
        let body = Bytes::from(body.to_owned());
        if format == Format::Gemini {
            let address = Address { model: "gemini-x".to_owned(), stream: true };
            return InferenceRequest::parse_addressed(format, body, address).expect("a request");
        }
        InferenceRequest::parse(format, body).expect("a request")
    }

    #[test]
    fn instructions_are_replaced_or_left_out_and_nothing_else_changes() {
        use Format::{AnthropicMessages, Gemini, OpenAiChat, OpenAiResponses};
        for (format, body, replaced, stripped) in [
            // A field of its own: a text, blocks with a mark for caches, nothing.
            (
                AnthropicMessages,
                r#"{"model":"m", "max_tokens":1,"system":"theirs" ,"messages":[{"role":"user","content":"hi"}],"x":[1,  2]}"#,
                r#"{"model":"m", "max_tokens":1,"system":"ours \"1\"" ,"messages":[{"role":"user","content":"hi"}],"x":[1,  2]}"#,
                r#"{"model":"m", "max_tokens":1,"messages":[{"role":"user","content":"hi"}],"x":[1,  2]}"#,
            ),
            (
                AnthropicMessages,
                r#"{"system":[{"type":"text","text":"a"},{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}],"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
                r#"{"system":[{"type":"text","text":"ours \"1\"","cache_control":{"type":"ephemeral"}}],"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
            ),
            (
                AnthropicMessages,
                r#"{ "model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
                r#"{"system":"ours \"1\"", "model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
                r#"{ "model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
            ),
            // In the middle of the conversation, and under a name that some provider may read.
            (
                AnthropicMessages,
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}, {"role":"system","content":"now"},{"content":"x","r\u006fle":"system"}],"System":"theirs"}"#,
                r#"{"system":"ours \"1\"","model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
                r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
            ),
            // Messages.
            (
                OpenAiChat,
                r#"{"model":"m","messages":[{"role":"developer","content":"a"},{"role":"system","content":[{"type":"text","text":"b"}]}, {"role":"user","content":"hi"},{"role":"system","content":"c"}],"n":1}"#,
                r#"{"model":"m","messages":[{"role":"developer","content":"ours \"1\""},{"role":"user","content":"hi"}],"n":1}"#,
                r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"n":1}"#,
            ),
            (
                OpenAiChat,
                r#"{"model":"m","messages":[ {"role":"user","content":"hi"}]}"#,
                r#"{"model":"m","messages":[{"role":"system","content":"ours \"1\""}, {"role":"user","content":"hi"}]}"#,
                r#"{"model":"m","messages":[ {"role":"user","content":"hi"}]}"#,
            ),
            (
                OpenAiChat,
                r#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"System","role":"user","content":"c"}]}"#,
                r#"{"model":"m","messages":[{"role":"system","content":"ours \"1\""},{"role":"user","content":"hi"}]}"#,
                r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            ),
            // A field, and items.
            (
                OpenAiResponses,
                r#"{"model":"m","instructions":"theirs","input":[{"role":"developer","content":"a"},{"type":"message","role":"user","content":"hi"}],"store":false}"#,
                r#"{"model":"m","instructions":"ours \"1\"","input":[{"type":"message","role":"user","content":"hi"}],"store":false}"#,
                r#"{"model":"m","input":[{"type":"message","role":"user","content":"hi"}],"store":false}"#,
            ),
            (
                OpenAiResponses,
                r#"{"model":"m","input":"hi","instructions":null}"#,
                r#"{"model":"m","input":"hi","instructions":"ours \"1\""}"#,
                r#"{"model":"m","input":"hi"}"#,
            ),
            (
                Gemini,
                r#"{"system_instruction":{"parts":[{"text":"theirs"}]},"contents":[{"parts":[{"text":"hi"}]},{"role":"system","parts":[]}]}"#,
                r#"{"system_instruction":{"parts":[{"text":"ours \"1\""}]},"contents":[{"parts":[{"text":"hi"}]}]}"#,
                r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
            ),
            (
                Gemini,
                r#"{"contents":{"parts":[{"text":"hi"}]}}"#,
                r#"{"systemInstruction":{"parts":[{"text":"ours \"1\""}]},"contents":{"parts":[{"text":"hi"}]}}"#,
                r#"{"contents":{"parts":[{"text":"hi"}]}}"#,
            ),
        ] {
            let asked = request(format, body);
            for (text, expected) in [(Some("ours \"1\""), replaced), (None, stripped)] {
                let changed = asked.with_instructions(text).expect(body);
                assert_eq!(std::str::from_utf8(changed.body()), Ok(expected), "{body}");
                assert_eq!((&changed.model, changed.stream), (&asked.model, asked.stream), "{body}");
                assert_eq!(changed.conversation_key, asked.conversation_key, "it stays the same conversation");
                let again = changed.with_instructions(text).expect("still a request");
                let value = |request: &InferenceRequest| {
                    serde_json::from_slice::<serde_json::Value>(request.body()).expect("JSON")
                };
                assert_eq!(value(&again), value(&changed), "twice is once");
            }
        }
    }

    #[test]
    fn a_conversation_of_nothing_else_is_refused() {
        for (format, body, field) in [
            (Format::OpenAiChat, r#"{"model":"m","messages":[{"role":"system","content":"a"}]}"#, "messages"),
            (Format::OpenAiResponses, r#"{"model":"m","input":[{"role":"system","content":"a"}]}"#, "input"),
            (Format::Gemini, r#"{"contents":{"role":"system","parts":[{"text":"a"}]}}"#, "contents"),
        ] {
            for text in [None, Some("ours")] {
                let error = request(format, body).with_instructions(text).expect_err(body);
                assert_eq!(error, RequestError::OnlyInstructions { field });
            }
        }
    }

    #[test]
    fn a_request_to_count_needs_no_limit() {
        let body = Bytes::from_static(br#"{"model":"m","system":"s","messages":[{"role":"user","content":"hi"}]}"#);
        let counted =
            InferenceRequest::parse_count(Format::AnthropicMessages, &body, None).expect("a request to count");
        assert!(counted.with_instructions(Some("ours")).is_ok());
    }

    #[test]
    fn what_is_no_conversation_has_none() {
        let body = r#"{"model":"m","input":["a"],"instructions":"x"}"#;
        let asked = request(Format::OpenAiEmbeddings, body);
        assert_eq!(asked.with_instructions(Some("ours")).expect("a request").body(), body);
    }
}
