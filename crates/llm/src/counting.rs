//! Counting the tokens of a prompt before it is sent: requests to count, and their answers, from every format that has them
//! to every other. Where a provider does not count, an estimate is all there is.

use std::borrow::Cow;

use bytes::Bytes;
use systemprompt_model::json::loose;

use crate::format::Format;
use crate::neutral::Encoding;
use crate::relay::Edits;
use crate::request::InferenceRequest;
use crate::request::error::RequestError;
use crate::translation_error::TranslationError;

impl InferenceRequest {
    /// Reads a request to count tokens, as the inference request whose tokens are to be counted. `model` is the one that the
    /// path names, in formats whose path does.
    pub fn parse_count(format: Format, body: &Bytes, model: Option<String>) -> Result<Self, RequestError> {
        let inside = format.count().map_or(&body[..], |count| (count.inside)(body));
        Self::parse_uncounted(format, body.slice_ref(inside), model)
    }

    /// The request to count for a provider of the format `to`; `None` if providers of it do not count. `bare` says that the
    /// provider takes the request without an envelope, as Vertex AI does.
    pub fn to_count(&self, to: Format, encoding: &Encoding, bare: bool) -> Result<Option<Vec<u8>>, TranslationError> {
        let Some(count) = to.count() else { return Ok(None) };
        if to == self.format {
            let relayed = self.relay(&Edits { model: Some(encoding.model.clone()), ..Edits::default() });
            return Ok(Some((count.relayed)(&relayed.bytes, &encoding.model, bare)));
        }
        let written = self.translate(to, encoding, "", 0)?.bytes;
        Ok(Some((count.written)(&written, &encoding.model, bare)))
    }
}

impl Format {
    /// The path to which requests to count are posted; `None` if the format does not count.
    pub fn count_path(self, model: &str) -> Option<Cow<'static, str>> {
        self.count().map(|count| count.path.of(model, false))
    }

    /// How many tokens a provider's answer says there are; `None` if it does not say.
    pub fn counted(self, answer: &[u8]) -> Option<u64> {
        let [tokens] = loose::pick(answer, [self.count()?.field]);
        loose::count(tokens?)
    }

    /// The answer for a caller that so many tokens were counted.
    pub fn count_answer(self, tokens: u64) -> Option<Vec<u8>> {
        self.count().map(|count| format!("{{\"{}\":{tokens}}}", count.field).into_bytes())
    }
}
