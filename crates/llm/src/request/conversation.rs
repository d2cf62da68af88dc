//! What stays the same through a conversation.

use systemprompt_model::Fnv1a;
use systemprompt_model::json::{Cursor, Kind, Span, SyntaxError};

/// The beginning of a conversation, which every later request of it repeats.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// Where the system text is: the `system` field, or the contents of the system messages at the start.
    pub(crate) system: Vec<Span>,
    first: Option<(String, Option<Span>)>,
    only_system_so_far: Option<(String, Option<Span>)>,
}

impl Opening {
    /// Shows the next message.
    ///
    /// System messages before the first other one are system text. Otherwise all conversations of a program that talks
    /// `openai-chat` would have the same first message, its system prompt, and be one conversation.
    pub(crate) fn message(&mut self, role: &str, content: Option<Span>) {
        if self.first.is_some() {
            return;
        }
        if matches!(role, "system" | "developer") {
            self.system.extend(content.clone());
            self.only_system_so_far.get_or_insert_with(|| (role.to_owned(), content));
        } else {
            self.first = Some((role.to_owned(), content));
        }
    }

    /// FNV-1a 64 over length-prefixed segments: system text if any, role and content of the first message.
    pub(crate) fn key(&self, body: &[u8]) -> u64 {
        let mut hash = Fnv1a::default();
        let mut system = Vec::new();
        for span in &self.system {
            plain_text(&body[span.clone()], &mut system);
        }
        if !system.is_empty() {
            segment(&mut hash, &system);
        }
        if let Some((role, content)) = self.first.as_ref().or(self.only_system_so_far.as_ref()) {
            segment(&mut hash, role.as_bytes());
            let mut text = Vec::new();
            if let Some(content) = content {
                plain_text(&body[content.clone()], &mut text);
            }
            segment(&mut hash, &text);
        }
        hash.finish()
    }
}

/// A longer text is hashed in larger steps. Coding assistants begin with 100 KiB, and each request hashes them again.
const LONG: usize = 4096;

/// Claude Code sends this as a system block of its own and changes it from request to request.
const CHANGING_BLOCK: &str = "x-anthropic-billing-header:";

/// Appends the text of a string or of an array of content blocks, blocks separated by line ends.
///
/// A block's text is the text; of a block that has none, all members count as they stand. `cache_control` never does:
/// clients move the marker along as a conversation grows.
fn plain_text(value: &[u8], text: &mut Vec<u8>) {
    let separate = |text: &mut Vec<u8>| {
        if !text.is_empty() {
            text.push(b'\n');
        }
    };
    let mut cursor = Cursor::new(value);
    // The value has been read before, so it is valid JSON and reading it again cannot fail.
    let _: Result<(), SyntaxError> = (|| {
        match cursor.kind()? {
            Kind::String => {
                separate(text);
                text.extend_from_slice(cursor.string()?.decode().as_bytes());
            }
            Kind::Array => {
                cursor.elements(|_, cursor| {
                    if cursor.kind()? != Kind::Object {
                        separate(text);
                        text.extend_from_slice(&value[cursor.skip()?]);
                        return Ok(());
                    }
                    cursor.members(|member, cursor| {
                        match (&*member.key, cursor.kind()?) {
                            ("text", Kind::String) => {
                                let block = cursor.string()?.decode();
                                if !block.starts_with(CHANGING_BLOCK) {
                                    separate(text);
                                    text.extend_from_slice(block.as_bytes());
                                }
                            }
                            ("type" | "cache_control", _) => {
                                cursor.skip()?;
                            }
                            _ => text.extend_from_slice(&value[cursor.skip()?]),
                        }
                        Ok::<_, SyntaxError>(())
                    })?;
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })();
}

/// The length goes first, so that no two sequences of segments have the same bytes.
fn segment(hash: &mut Fnv1a, bytes: &[u8]) {
    hash.write(&(bytes.len() as u64).to_le_bytes());
    if bytes.len() > LONG { hash.write_long(bytes) } else { hash.write(bytes) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::{Format, InferenceRequest};

    fn key(format: Format, rest: &str) -> u64 {
        let body = format!(r#"{{"model":"m","max_tokens":1,{rest}}}"#);
        InferenceRequest::parse(format, Bytes::from(body)).expect("a request").conversation_key
    }

    #[test]
    fn a_conversation_keeps_its_key_while_it_grows() {
        let anthropic = |rest: &str| key(Format::AnthropicMessages, rest);
        let start = anthropic(r#""system":"be kind","messages":[{"role":"user","content":"hello"}]"#);
        for same in [
            r#""system":"be kind","messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"hi"},{"role":"user","content":"more"}]"#,
            r#""messages":[{"content":"hel\u006co","role":"user"}],"system":"be kind""#,
            r#""system":[{"type":"text","text":"be kind","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}]"#,
            r#""system":[{"type":"text","text":"x-anthropic-billing-header: cch=1f;"},{"type":"text","text":"be kind"}],"messages":[{"role":"user","content":"hello"}]"#,
        ] {
            assert_eq!(anthropic(same), start, "{same}");
        }
        for other in [
            r#""messages":[{"role":"user","content":"hello"}]"#,
            r#""system":"be kin","messages":[{"role":"user","content":"dhello"}]"#,
            r#""system":"be kind","messages":[{"role":"assistant","content":"hello"}]"#,
            r#""system":"be kind","messages":[{"role":"user","content":[{"type":"text","text":"hello"},{"type":"image","source":{"type":"url","url":"https://a/1.png"}}]}]"#,
        ] {
            assert_ne!(anthropic(other), start, "{other}");
        }
    }

    #[test]
    fn system_messages_at_the_start_are_system_text() {
        let openai = |rest: &str| key(Format::OpenAiChat, rest);
        let one = openai(r#""messages":[{"role":"system","content":"s"},{"role":"user","content":"one"}]"#);
        let two = openai(r#""messages":[{"role":"system","content":"s"},{"role":"user","content":"two"}]"#);
        assert_ne!(one, two);
        assert_eq!(one, key(Format::AnthropicMessages, r#""system":"s","messages":[{"role":"user","content":"one"}]"#));
        let only = openai(r#""messages":[{"role":"system","content":"s"}]"#);
        assert_ne!(only, one);
    }
}
