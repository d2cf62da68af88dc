//! The translating lane: a caller of one format and a provider of another.
//!
//! [`InferenceRequest::translate`] writes the request for the provider, says what was lost on the way, and gives the
//! [`Translation`] that brings the answer back. What the provider really sent decides how: a whole answer can become a
//! stream, and a stream a whole answer.

use bytes::Bytes;

use crate::answer::reading::Reading;
use crate::answer::summary::UpstreamErrorSummary;
use crate::embeddings::{EmbeddingsBack, EmbeddingsForGemini, EmbeddingsRequest};
use crate::error::ErrorAnswer;
use crate::format::Format;
use crate::neutral::codec::{Asked, Caller, ReadStream, WriteStream};
use crate::neutral::names::Names;
use crate::neutral::stops::Stops;
use crate::neutral::{Answer, Encoding, Event, Feature, Loss, Losses, Tool, Treatment, Unsupported};
use crate::request::InferenceRequest;
use crate::request::error::RequestError;
use crate::sse::SseParser;

/// A longer event of a provider is passed over.
const EVENT_LIMIT: usize = 16 * 1024 * 1024;

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

/// Why a request cannot be written for a provider of another format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslationError {
    /// Something in it is not as its own format has it. In the relay lane the provider would have said so.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It says something the provider's format has no words for.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Nothing like it can be asked of the provider.
    #[error("{from} cannot be asked of a provider of the {to} format; choose another model")]
    NotOffered {
        /// What is asked.
        from: Format,
        /// The provider's format.
        to: Format,
    },
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
        let mut request = (caller(self.format).decode)(self)?;
        request.ask_something();
        let codec = to.codec();
        let mut losses = Losses::new(to, codec.treatment);
        for (feature, field) in &request.further {
            losses.lose(*feature, field.clone())?;
        }
        let custom_tools = request.tools.iter().filter_map(|tool| match tool {
            Tool::Custom(tool) => Some(tool.name.clone()),
            _ => None,
        });
        let custom_tools = custom_tools.collect();
        let names = Names::fit(&mut request);
        let bytes = (codec.encode)(&request, encoding, &mut losses)?;
        let stops = if losses.stops() { request.stop } else { Vec::new() };
        let asked = Asked {
            model: self.model.clone(),
            id: id.to_owned(),
            created,
            body: self.body.clone(),
            custom_tools,
            stream_usage: request.stream_usage,
        };
        Ok(Translated {
            bytes: bytes.into(),
            losses: losses.into_found(),
            back: Translation { from: self.format, to, asked, names, stops, embeddings: None },
        })
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
        let (names, stops) = (Names::default(), Vec::new());
        let (from, to) = (Format::OpenAiEmbeddings, Format::GeminiEmbeddings);
        let back = Translation { from, to, asked, names, stops, embeddings: Some(back) };
        Ok(Translated { bytes, losses: Vec::new(), back })
    }
}

/// The way back of a translated request: answers of the provider's format, in the caller's.
#[derive(Debug, Clone)]
pub struct Translation {
    from: Format,
    to: Format,
    asked: Asked,
    /// The tools that the provider knows by other names.
    names: Names,
    /// Texts that end the answer, and that the provider does not know.
    stops: Vec<String>,
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
        self.to
    }

    /// A whole answer, whole. `None` if it is no answer of the provider's format, or not all of it, or an error.
    pub fn whole(&self, body: &[u8]) -> Option<Vec<u8>> {
        if let Some(back) = &self.embeddings {
            return back.whole(body);
        }
        Some((caller(self.from).write_answer)(&self.answer(body)?, &self.asked))
    }

    /// A whole answer, as the stream that the caller asked for.
    pub fn whole_as_stream(&self, body: &[u8]) -> Option<Vec<u8>> {
        let answer = self.answer(body)?;
        let mut writer = (caller(self.from).write_stream)(self.asked.clone());
        let mut stream = Vec::new();
        for event in answer.into_events() {
            writer.write(&event, &mut stream);
        }
        Some(stream)
    }

    /// A stream that nobody asked for, whole. `None` if it did not come to its end, or reports an error.
    pub fn stream_as_whole(&self, stream: &[u8]) -> Option<Vec<u8>> {
        let mut reader = (self.to.codec().read_stream)();
        let mut events = Vec::new();
        let mut parser = SseParser::new(EVENT_LIMIT);
        parser.feed(stream, |data| reader.read(data, &mut events));
        parser.finish(|data| reader.read(data, &mut events));
        reader.finish(&mut events);
        let answer = Answer::of_events(events);
        let sound = answer.complete && answer.error.is_none() && parser.skipped_events() == 0;
        sound.then(|| (caller(self.from).write_answer)(&self.mended(answer), &self.asked))
    }

    /// What a body of the provider says, if it says all of it.
    fn answer(&self, body: &[u8]) -> Option<Answer> {
        let answer = (self.to.codec().read_answer)(body)?;
        (answer.complete && answer.error.is_none()).then(|| self.mended(answer))
    }

    /// The answer up to where one of the texts that end it comes up, with the caller's names of tools.
    fn mended(&self, mut answer: Answer) -> Answer {
        self.names.restore(&mut answer);
        if self.stops.is_empty() {
            return answer;
        }
        let mut stops = Stops::new(&self.stops);
        let mut events = Vec::new();
        for event in answer.into_events() {
            stops.pass(event, |event| events.push(event));
        }
        Answer::of_events(events)
    }

    /// A stream.
    pub fn stream(&self) -> TranslatedStream {
        TranslatedStream {
            parser: SseParser::new(EVENT_LIMIT),
            reader: (self.to.codec().read_stream)(),
            writer: (caller(self.from).write_stream)(self.asked.clone()),
            names: self.names.clone(),
            stops: (!self.stops.is_empty()).then(|| Stops::new(&self.stops)),
            events: Vec::new(),
            ended: false,
        }
    }

    /// The error that a provider's body with this status reports, in words of its own but in nobody's format.
    pub fn error(&self, status: u16, body: &[u8]) -> ErrorAnswer {
        let mut reading = Reading::new(0, 0);
        reading.read(self.to.definition().answer_body, body);
        let mut error = reading.error.unwrap_or_default();
        if error.message.is_empty() {
            error.message = format!("the upstream provider answered with status {status}");
        }
        ErrorAnswer::of_upstream(status, &error)
    }
}

/// A provider's stream on its way to a caller of another format.
pub struct TranslatedStream {
    parser: SseParser,
    reader: Box<dyn ReadStream>,
    writer: Box<dyn WriteStream>,
    names: Names,
    stops: Option<Stops>,
    events: Vec<Event>,
    ended: bool,
}

impl TranslatedStream {
    /// Reads more of the provider's bytes, and writes what the caller gets of them.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let (reader, events) = (&mut self.reader, &mut self.events);
        self.parser.feed(bytes, |data| reader.read(data, events));
        self.write(out);
    }

    /// The provider's stream is over. Whether it said to its end what it had to say is [`ended`](Self::ended): if it did
    /// not, an error has to follow.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let (reader, events) = (&mut self.reader, &mut self.events);
        self.parser.finish(|data| reader.read(data, events));
        reader.finish(events);
        self.write(out);
    }

    /// Whether the caller has the end of the answer, or of an error.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Ends the stream with an error.
    pub fn fail(&mut self, error: &ErrorAnswer, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        // What the provider had yet to say was nothing the caller wanted.
        match self.stops.as_ref().and_then(Stops::end) {
            Some(end) => end.iter().for_each(|event| self.writer.write(event, out)),
            None => self.writer.fail(error, out),
        }
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        let Self { writer, names, stops, events, ended, parser, .. } = self;
        let mut tell = |mut event: Event| {
            if *ended {
                return;
            }
            names.restore_in(&mut event);
            if let Event::Error(error) = &event {
                writer.fail(&ErrorAnswer::of_upstream(error.http_status(), error), out);
            } else {
                writer.write(&event, out);
            }
            *ended = matches!(event, Event::End | Event::Error(_));
        };
        // What an event says that is not read would be missing in the middle of the answer.
        if parser.skipped_events() > 0 {
            events.clear();
            return self.fail(&ErrorAnswer::upstream_interrupted("the provider sent an event that is too long"), out);
        }
        for event in events.drain(..) {
            match stops {
                Some(stops) => stops.pass(event, &mut tell),
                None => tell(event),
            }
        }
    }
}

impl std::fmt::Debug for TranslatedStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TranslatedStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl ErrorAnswer {
    /// An error of a provider, to be told in another format than its own.
    pub(crate) fn of_upstream(status: u16, error: &UpstreamErrorSummary) -> Self {
        use crate::error::ErrorKind;
        let kind = match status {
            401 => ErrorKind::Authentication,
            403 => ErrorKind::Permission,
            404 => ErrorKind::NotFound,
            413 => ErrorKind::TooLarge,
            429 => ErrorKind::RateLimit,
            400..500 => ErrorKind::InvalidRequest,
            _ => ErrorKind::Api,
        };
        Self { status, kind, code: error.known_code(status), message: error.message.clone() }
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
