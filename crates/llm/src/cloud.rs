//! What clouds put around a format: the fields of a body that stand elsewhere at the vendor, and errors in words of their
//! own.

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::Value;
use systemprompt_model::json::{Cursor, Member, Span, SyntaxError};

use crate::error::{ErrorAnswer, ErrorKind};
use crate::format::Format;
use crate::request::layout::MemberPlace;

/// What a cloud wants in the body of an Anthropic request, and what it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The value of `anthropic_version`. At Anthropic it is a header.
    pub version: &'static str,
    /// The value of `anthropic_beta`, for a body that has none. At Anthropic it is a header.
    pub beta: Vec<String>,
    /// Whether `stream` stays: some clouds say it in the path only.
    pub keeps_stream: bool,
}

impl Envelope {
    /// The body in this envelope: without `model`, which stands in the path, and otherwise byte for byte as it was. What is
    /// no JSON object stays as it is.
    pub fn around(&self, body: &Bytes) -> Bytes {
        let Ok(Places { inside, cuts, has_beta, is_left }) = self.places(body) else { return body.clone() };
        let mut fields = format!(r#""anthropic_version":{}"#, Value::from(self.version));
        if !has_beta && !self.beta.is_empty() {
            fields += &format!(r#","anthropic_beta":{}"#, Value::from(self.beta.clone()));
        }
        if is_left {
            fields.push(',');
        }
        let mut around = BytesMut::with_capacity(body.len() + fields.len());
        around.put_slice(&body[..inside]);
        around.put_slice(fields.as_bytes());
        let mut copied = inside;
        for cut in cuts {
            around.put_slice(&body[copied..cut.start]);
            copied = cut.end;
        }
        around.put_slice(&body[copied..]);
        around.freeze()
    }

    fn places(&self, body: &[u8]) -> Result<Places, SyntaxError> {
        let mut cursor = Cursor::new(body);
        cursor.kind()?;
        let inside = cursor.offset() + 1;
        let (mut has_beta, mut is_left) = (false, false);
        let mut gone: Vec<MemberPlace> = Vec::new();
        cursor.members(|member: Member<'_>, cursor: &mut Cursor<'_>| {
            let name = &*member.key;
            has_beta |= name == "anthropic_beta";
            if !(name == "model" || name == "anthropic_version" || name == "stream" && !self.keeps_stream) {
                is_left = true;
                return cursor.skip().map(drop);
            }
            let place = MemberPlace::read(&member, cursor)?;
            // Neighbours leave together, or the comma between them would be cut twice.
            match gone.last_mut().and_then(|last| Some((last.joined(&place)?, last))) {
                Some((both, last)) => *last = both,
                None => gone.push(place),
            }
            Ok(())
        })?;
        Ok(Places { inside, cuts: gone.iter().map(MemberPlace::cut).collect(), has_beta, is_left })
    }
}

/// What of a body an envelope changes.
struct Places {
    /// Just after the opening brace.
    inside: usize,
    cuts: Vec<Span>,
    /// It has an `anthropic_beta` of its own.
    has_beta: bool,
    /// Something is left of it.
    is_left: bool,
}

/// A cloud's error in the words of a format: `{"message": …}` of AWS, `{"error": {"message": …, "status": …}}` of Google.
/// Nothing if the format's own words are there already, or there are none at all. Of the formats that clouds put into
/// envelopes only Anthropic's is not the cloud's own.
pub fn cloud_error(format: Format, status: u16, body: &[u8]) -> Option<Vec<u8>> {
    if format != Format::AnthropicMessages {
        return None;
    }
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    // Google puts an error into an array where it would have streamed.
    let value = value.get(0).unwrap_or(&value);
    if value["type"] == "error" && value["error"]["type"].is_string() {
        return None;
    }
    let messages = [&value["error"]["message"], &value["message"], &value["Message"]];
    let plain = String::from_utf8_lossy(body);
    let message = messages.into_iter().find_map(Value::as_str).unwrap_or_else(|| plain.trim());
    if message.is_empty() {
        return None;
    }
    let kind = ErrorKind::of_status(status);
    let message = message.chars().take(4000).collect();
    Some(ErrorAnswer { status, kind, code: None, message }.body(format, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(envelope: &Envelope, body: &str) -> String {
        let bytes = envelope.around(&Bytes::from(body.to_owned()));
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[test]
    fn an_envelope_changes_nothing_but_its_fields() {
        let bedrock = Envelope { version: "b", beta: vec!["x-1".to_owned(), "y-2".to_owned()], keeps_stream: false };
        let vertex = Envelope { version: "v", beta: Vec::new(), keeps_stream: true };
        for (body, of_bedrock, of_vertex) in [
            (
                r#"{"model":"m","stream":true,"max_tokens": 5 }"#,
                r#"{"anthropic_version":"b","anthropic_beta":["x-1","y-2"],"max_tokens": 5 }"#,
                r#"{"anthropic_version":"v","stream":true,"max_tokens": 5 }"#,
            ),
            (
                " {\n \"messages\" : [{\"model\":1}] , \"model\" : \"m\" , \"z\":1e0, \"stream\":false}",
                " {\"anthropic_version\":\"b\",\"anthropic_beta\":[\"x-1\",\"y-2\"],\n \"messages\" : [{\"model\":1}] , \"z\":1e0}",
                " {\"anthropic_version\":\"v\",\n \"messages\" : [{\"model\":1}] , \"z\":1e0, \"stream\":false}",
            ),
            (
                r#"{"anthropic_version":"old","anthropic_beta":["mine"],"model":"m"}"#,
                r#"{"anthropic_version":"b","anthropic_beta":["mine"]}"#,
                r#"{"anthropic_version":"v","anthropic_beta":["mine"]}"#,
            ),
            (
                r#"{"model":"m"}"#,
                r#"{"anthropic_version":"b","anthropic_beta":["x-1","y-2"]}"#,
                r#"{"anthropic_version":"v"}"#,
            ),
        ] {
            assert_eq!(around(&bedrock, body), of_bedrock, "{body}");
            assert_eq!(around(&vertex, body), of_vertex, "{body}");
            for enveloped in [of_bedrock, of_vertex] {
                serde_json::from_str::<Value>(enveloped).expect("JSON");
            }
        }
        assert_eq!(around(&vertex, "[1]"), "[1]");
    }

    #[test]
    fn errors_of_clouds_are_told_in_the_format() {
        let told = |status, body: &str| {
            let told = cloud_error(Format::AnthropicMessages, status, body.as_bytes())?;
            let told: Value = serde_json::from_slice(&told).expect("JSON");
            Some((told["error"]["type"].as_str()?.to_owned(), told["error"]["message"].as_str()?.to_owned()))
        };
        let pair = |kind: &str, message: &str| Some((kind.to_owned(), message.to_owned()));
        assert_eq!(told(429, r#"{"message":"slow down"}"#), pair("rate_limit_error", "slow down"));
        assert_eq!(told(403, r#"{"Message":"no"}"#), pair("permission_error", "no"));
        let google = r#"[{"error":{"code":404,"message":"no such model","status":"NOT_FOUND"}}]"#;
        assert_eq!(told(404, google), pair("not_found_error", "no such model"));
        assert_eq!(told(502, "<html>"), pair("api_error", "<html>"));
        assert_eq!(told(400, r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#), None);
        assert_eq!(told(500, " "), None);
        assert_eq!(cloud_error(Format::Gemini, 429, google.as_bytes()), None);
    }
}
