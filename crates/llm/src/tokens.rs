//! Counting the tokens of a request without asking its provider, for those who ask how long it is.
//!
//! OpenAI publishes its vocabulary (`o200k_base`, MIT), which every model of the catalog uses, so its texts are counted with
//! it. Anthropic and Google publish none that may be shipped; their texts are counted with the same vocabulary and raised by
//! what their tokenizers are known to need more, so that a prompt is sooner said to be too long than to fit.
//!
//! Nothing on the way of a request counts like this. The vocabulary takes about a tenth of a second to load, 45 MB of memory
//! once it is there and, measured with a release build, 6 to 12 ms for 100 KiB, where reading such a request takes less than
//! one; and on prose, code and JSON the four characters a token of
//! [`estimated_input_tokens`](InferenceRequest::estimated_input_tokens) were within a tenth of it. So routing, reservations
//! and unfinished answers go by characters, and the vocabulary is loaded when somebody first asks here. Callers on a runtime
//! run this where nobody waits for a turn.

use systemprompt_model::json::Cursor;
use tiktoken_rs::o200k_base_singleton;

use crate::InferenceRequest;
use crate::request::reader::{TOKENS_OF_INLINE_MEDIA, is_inline_media};

/// Tokens that frame each message.
const FRAME: u64 = 4;
/// Tokens that begin the answer.
const BEGINNING: u64 = 3;
/// The longest text that is given to the tokenizer at once. It takes more than linear time for a run of one kind of
/// character, of which longer pieces may consist.
const PIECE: usize = 8 * 1024;

/// Whose tokenizer a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    OpenAi,
    Anthropic,
    Other,
}

impl Family {
    fn of(model: &str) -> Self {
        // Providers of several vendors' models put the vendor in front.
        let name = model.rsplit(['/', ':']).next().unwrap_or(model).to_ascii_lowercase();
        let begins = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
        if begins(&["gpt", "o1", "o3", "o4", "chatgpt", "codex"]) {
            Self::OpenAi
        } else if name.contains("claude") {
            Self::Anthropic
        } else {
            Self::Other
        }
    }

    /// How many tokens a hundred of the vocabulary stand for.
    fn percent(self) -> u64 {
        match self {
            Self::OpenAi => 100,
            // Anthropic says that its newer tokenizer needs up to 1.35 times as many as the one before, which needed about
            // as many as this one.
            Self::Anthropic => 135,
            Self::Other => 110,
        }
    }
}

/// The tokens of a request's prompt for `model`, as well as can be said without its provider. An image, sound or file counts
/// a thousand.
pub fn count(model: &str, request: &InferenceRequest) -> u64 {
    let vocabulary = o200k_base_singleton();
    let (mut tokens, mut media) = (0_u64, 0_u64);
    let mut add = |text: &str| tokens += vocabulary.encode_ordinary(text).len() as u64;
    // It was read before, so it is JSON.
    let read = Cursor::new(request.body()).walk(|key, text| {
        if is_inline_media(key, &text) {
            media += 1;
        } else {
            let text = text.decode();
            let mut rest: &str = &text;
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.floor_char_boundary(PIECE));
                add(piece);
                rest = more;
            }
        }
    });
    if read.is_err() {
        return request.estimated_input_tokens;
    }
    // The names of fields in the schemas of tools are said to the model too; about as many as there are texts in them.
    let frames = (request.message_count as u64 + 2 * request.tools as u64).saturating_mul(FRAME);
    let said = (tokens + frames + BEGINNING).saturating_mul(Family::of(model).percent()).div_ceil(100);
    said.saturating_add(media * TOKENS_OF_INLINE_MEDIA)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::Format;

    fn request(content: serde_json::Value) -> InferenceRequest {
        let body = json!({"model": "gpt-5", "messages": [{"role": "user", "content": content}]});
        InferenceRequest::parse(Format::OpenAiChat, Bytes::from(body.to_string())).expect("a request")
    }

    #[test]
    fn texts_are_counted_with_the_vocabulary() {
        // "gpt-5" and "user" are four and one.
        let frame = FRAME + BEGINNING + 5;
        for (text, tokens) in [("", 0), ("Hello, world!", 4), ("Grüße aus Köln", 4), ("fn main() {}\n", 5)] {
            let counted = count("gpt-5", &request(json!(text))) - frame;
            assert!(counted.abs_diff(tokens) <= 1, "`{text}` are {counted}");
        }
        let prose = "The quick brown fox jumps over the lazy dog. ".repeat(50);
        let asked = request(json!(prose));
        assert_eq!(count("openai/gpt-5-mini", &asked), 500 + 1 + frame);
        assert!(count("claude-sonnet-5-5", &asked) > count("gemini-3.8-flash", &asked));
        assert!(count("gemini-3.8-flash", &asked) > count("gpt-5", &asked));
    }

    #[test]
    fn an_image_is_not_counted_as_text() {
        let image =
            json!([{"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", "A".repeat(9999))}}]);
        assert!((1000..1100).contains(&count("gpt-5", &request(image))));
    }

    #[test]
    fn a_long_run_takes_no_longer_than_its_length() {
        // Counted in pieces: as one, a megabyte of one letter would take many times as long.
        let counted = count("gpt-5", &request(json!("a".repeat(1 << 20))));
        assert!((100_000..200_000).contains(&counted), "{counted}");
    }
}
