//! The translating lane: a caller of one format and a provider of another.
//!
//! [`InferenceRequest::translate`] writes the request for the provider, says what was lost on the way, and gives the
//! [`Translation`] that brings the answer back. What the provider really sent decides how: a whole answer can become a
//! stream, and a stream a whole answer.

use bytes::Bytes;

use crate::embeddings::{EmbeddingsBack, EmbeddingsForGemini, EmbeddingsRequest};
use crate::error::ErrorAnswer;
use crate::format::Format;
use crate::neutral::codec::{Asked, Caller, WriteStream};
use crate::neutral::{Encoding, Event, Feature, Loss, Treatment};
use crate::request::InferenceRequest;
use crate::spoken::{HeardStream, Hearing, Written};
use crate::translation_error::TranslationError;

/// A request written for a provider of another format.
#[derive(Debug)]
pub struct Translated {
    /// The body.
    pub bytes: Bytes,
    /// What of the caller's request it does not say, or not in the same words.
    pub losses: Vec<Loss>,
    /// The way back.
    pub back: Translation,
}

impl InferenceRequest {
    /// Writes the request for a provider of the format `to`. `id` and `created` are what the answer says of itself where
    /// the provider says nothing.
    pub fn translate(
        &self,
        to: Format,
        encoding: &Encoding,
        id: &str,
        created: i64,
    ) -> Result<Translated, TranslationError> {
        if (self.format, to) == (Format::OpenAiEmbeddings, Format::GeminiEmbeddings) {
            return self.translate_embeddings(encoding);
        }
        if !(self.format.is_conversation() && to.is_conversation()) {
            return Err(TranslationError::NotOffered { from: self.format, to });
        }
        let request = (caller(self.format).decode)(self)?;
        let Written { bytes, losses, hearing, custom_tools, stream_usage } = Written::of(request, to, encoding)?;
        let asked = Asked {
            model: self.model.clone(),
            id: id.to_owned(),
            created,
            body: self.body.clone(),
            custom_tools,
            stream_usage,
        };
        let back = Translation { from: self.format, asked, hearing, embeddings: None };
        Ok(Translated { bytes: bytes.into(), losses, back })
    }

    fn translate_embeddings(&self, encoding: &Encoding) -> Result<Translated, TranslationError> {
        let request = EmbeddingsRequest::parse(self.body.clone())?;
        let EmbeddingsForGemini { bytes, back } = request.for_gemini(&encoding.model)?;
        let asked = Asked {
            model: self.model.clone(),
            id: String::new(),
            created: 0,
            body: Bytes::new(),
            custom_tools: Vec::new(),
            stream_usage: false,
        };
        let hearing = Hearing::of(Format::GeminiEmbeddings);
        let back = Translation { from: Format::OpenAiEmbeddings, asked, hearing, embeddings: Some(back) };
        Ok(Translated { bytes, losses: Vec::new(), back })
    }
}

/// The way back of a translated request: answers of the provider's format, in the caller's.
#[derive(Debug, Clone)]
pub struct Translation {
    from: Format,
    asked: Asked,
    hearing: Hearing,
    /// The way back of embeddings, which are no conversation.
    embeddings: Option<EmbeddingsBack>,
}

impl Translation {
    /// The caller's format.
    pub fn caller(&self) -> Format {
        self.from
    }

    /// The provider's format.
    pub fn provider(&self) -> Format {
        self.hearing.format()
    }

    /// A whole answer, whole. `None` if it is no answer of the provider's format, or not all of it, or an error.
    pub fn whole(&self, body: &[u8]) -> Option<Vec<u8>> {
        if let Some(back) = &self.embeddings {
            return back.whole(body);
        }
        Some((caller(self.from).write_answer)(&self.hearing.whole(body)?, &self.asked))
    }

    /// A whole answer, as the stream that the caller asked for.
    pub fn whole_as_stream(&self, body: &[u8]) -> Option<Vec<u8>> {
        let answer = self.hearing.whole(body)?;
        let mut writer = (caller(self.from).write_stream)(self.asked.clone());
        let mut stream = Vec::new();
        for event in answer.into_events() {
            writer.write(&event, &mut stream);
        }
        Some(stream)
    }

    /// A stream that nobody asked for, whole. `None` if it did not come to its end, or reports an error.
    pub fn stream_as_whole(&self, stream: &[u8]) -> Option<Vec<u8>> {
        Some((caller(self.from).write_answer)(&self.hearing.stream_as_whole(stream)?, &self.asked))
    }

    /// A stream.
    pub fn stream(&self) -> TranslatedStream {
        TranslatedStream { heard: self.hearing.stream(), writer: (caller(self.from).write_stream)(self.asked.clone()) }
    }

    /// The error that a provider's body with this status reports, in words of its own but in nobody's format.
    pub fn error(&self, status: u16, body: &[u8]) -> ErrorAnswer {
        self.hearing.format().error_of(status, body)
    }
}

/// A provider's stream on its way to a caller of another format.
pub struct TranslatedStream {
    heard: HeardStream,
    writer: Box<dyn WriteStream>,
}

impl TranslatedStream {
    /// Reads more of the provider's bytes, and writes what the caller gets of them.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let writer = self.writer.as_mut();
        self.heard.feed(bytes, |event| write(writer, &event, out));
    }

    /// The provider's stream is over. Whether it said to its end what it had to say is [`ended`](Self::ended): if it did
    /// not, an error has to follow.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let writer = self.writer.as_mut();
        self.heard.finish(|event| write(writer, &event, out));
    }

    /// Whether the caller has the end of the answer, or of an error.
    pub fn ended(&self) -> bool {
        self.heard.ended()
    }

    /// Why the stream ended with an error of ours, if something of the provider's could not be read.
    pub fn trouble(&self) -> Option<&'static str> {
        self.heard.trouble()
    }

    /// Ends the stream with an error.
    pub fn fail(&mut self, error: &ErrorAnswer, out: &mut Vec<u8>) {
        let writer = self.writer.as_mut();
        if self.heard.give_up(|event| writer.write(&event, out)) {
            self.writer.fail(error, out);
        }
    }
}

/// Writes an event for a caller.
fn write(writer: &mut dyn WriteStream, event: &Event, out: &mut Vec<u8>) {
    match event {
        Event::Error(error) => writer.fail(&ErrorAnswer::of_upstream(error.http_status(), error), out),
        _ => writer.write(event, out),
    }
}

impl std::fmt::Debug for TranslatedStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TranslatedStream").field("ended", &self.ended()).finish_non_exhaustive()
    }
}

impl Format {
    /// What a request for a provider of this format does with what the format may have no words for.
    pub fn treatment(self, feature: Feature) -> Treatment {
        (self.codec().treatment)(feature)
    }
}

/// What a format does for callers. A request is of a format that they speak, or it would not have been read.
fn caller(format: Format) -> &'static Caller {
    format.codec().caller.as_ref().expect("a format that callers speak")
}
