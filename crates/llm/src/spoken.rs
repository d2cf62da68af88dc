//! Asking in neutral words: a [`Request`] that no client wrote becomes one of a format, and its answer is read.
//!
//! It is how somebody inside the server asks. The request that comes of it is like one that a client of the format sent, so
//! it takes the same way; where its provider speaks the format, nothing of the answer is lost on the way back either.

use systemprompt_model::json::{Cursor, loose};

use crate::answer::reading::Reading;
use crate::answer::summary::UpstreamErrorSummary;
use crate::error::{ErrorAnswer, ErrorKind};
use crate::format::Format;
use crate::neutral::codec::ReadStream;
use crate::neutral::names::Names;
use crate::neutral::stops::Stops;
use crate::neutral::{Answer, Encoding, Event, Grounding, Loss, Losses, Request, Tool, Unsupported};
use crate::request::{Address, InferenceRequest};
use crate::sse::SseParser;
use crate::translation_error::TranslationError;

/// A longer event of a provider is passed over.
const EVENT_LIMIT: usize = 16 * 1024 * 1024;

/// A request in the words of a format.
#[derive(Debug)]
pub struct Spoken {
    /// The request, as a client of the format would have sent it.
    pub request: InferenceRequest,
    /// What it does not say, or not in the same words.
    pub losses: Vec<Loss>,
    /// What understands the answer.
    pub hearing: Hearing,
}

impl Request {
    /// Says it in a format that callers speak. What the format has no words for is lost as it is when a request is
    /// translated to it, or refused. The request asks for the model it names, whatever `encoding` says that its provider
    /// calls it.
    pub fn spoken(self, format: Format, encoding: &Encoding) -> Result<Spoken, TranslationError> {
        let (model, stream) = (self.model.clone(), self.stream);
        let Written { bytes, losses, hearing, .. } = Written::of(self, format, encoding)?;
        let address = Address { model: model.clone(), stream };
        let request = if format.says_model_in_path() {
            InferenceRequest::parse_addressed(format, bytes.into(), address)?
        } else {
            let request = InferenceRequest::parse(format, bytes.into())?;
            if request.model == model { request } else { request.asking_for(&model)? }
        };
        Ok(Spoken { request, losses, hearing })
    }
}

/// A request written in a format.
pub(crate) struct Written {
    pub(crate) bytes: Vec<u8>,
    pub(crate) losses: Vec<Loss>,
    pub(crate) hearing: Hearing,
    /// The names of the tools that take text.
    pub(crate) custom_tools: Vec<String>,
    /// A stream is to say at its end what was used.
    pub(crate) stream_usage: bool,
}

impl Written {
    pub(crate) fn of(mut request: Request, to: Format, encoding: &Encoding) -> Result<Self, Unsupported> {
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
        let hearing = Hearing { format: to, names, stops };
        Ok(Self { bytes, losses: losses.into_found(), hearing, custom_tools, stream_usage: request.stream_usage })
    }
}

/// Understands the answers to a request that was written in a format.
#[derive(Debug, Clone)]
pub struct Hearing {
    format: Format,
    /// The tools that the provider knows by other names.
    names: Names,
    /// Texts that end the answer, and that the provider does not know.
    stops: Vec<String>,
}

impl Hearing {
    /// Of a format, where nothing was renamed.
    pub fn of(format: Format) -> Self {
        Self { format, names: Names::default(), stops: Vec::new() }
    }

    /// The format it understands.
    pub fn format(&self) -> Format {
        self.format
    }

    /// A whole answer. `None` if it is no answer of the format, or not all of it, or an error.
    pub fn whole(&self, body: &[u8]) -> Option<Answer> {
        let answer = (self.format.codec().read_answer)(body)?;
        (answer.complete && answer.error.is_none()).then(|| self.mended(answer))
    }

    /// Where a whole answer comes from, if its provider searched the web for it.
    pub fn grounding(&self, body: &[u8]) -> Grounding {
        serde_json::from_slice(body).map(|answer| (self.format.codec().grounding)(&answer)).unwrap_or_default()
    }

    /// A stream.
    pub fn stream(&self) -> HeardStream {
        HeardStream {
            parser: SseParser::new(EVENT_LIMIT),
            reader: (self.format.codec().read_stream)(),
            names: self.names.clone(),
            stops: (!self.stops.is_empty()).then(|| Stops::new(&self.stops)),
            events: Vec::new(),
            trouble: None,
            ended: false,
        }
    }

    /// A stream that nobody asked for, whole. `None` if it did not come to its end, or reports an error.
    pub(crate) fn stream_as_whole(&self, stream: &[u8]) -> Option<Answer> {
        let mut reader = (self.format.codec().read_stream)();
        let mut events = Vec::new();
        let mut parser = SseParser::new(EVENT_LIMIT);
        let mut readable = true;
        parser.feed(stream, |data| readable = readable && read_event(&mut *reader, data, &mut events));
        parser.finish(|data| reader.read(data, &mut events));
        reader.finish(&mut events);
        let answer = Answer::of_events(events);
        let sound = readable && answer.complete && answer.error.is_none() && parser.skipped_events() == 0;
        sound.then(|| self.mended(answer))
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
}

/// A provider's stream, read event by event.
pub struct HeardStream {
    parser: SseParser,
    reader: Box<dyn ReadStream>,
    names: Names,
    stops: Option<Stops>,
    events: Vec<Event>,
    trouble: Option<&'static str>,
    ended: bool,
}

impl HeardStream {
    /// Reads more of the provider's bytes, and tells what they say. The last that is told of what cannot be read is an error.
    pub fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(Event)) {
        if self.ended {
            return;
        }
        let (reader, events) = (&mut *self.reader, &mut self.events);
        let mut readable = true;
        self.parser.feed(bytes, |data| readable = readable && read_event(reader, data, events));
        // What an event says that is not read would be missing in the middle of the answer.
        if self.parser.skipped_events() > 0 {
            self.events.clear();
            return self.cannot_read("the provider sent an event that is too long", tell);
        }
        self.tell(&mut tell);
        if !readable && !self.ended {
            self.cannot_read("the provider sent an event that is not JSON", tell);
        }
    }

    /// Why the stream was given up, if something of it could not be read.
    pub fn trouble(&self) -> Option<&'static str> {
        self.trouble
    }

    fn cannot_read(&mut self, why: &'static str, mut tell: impl FnMut(Event)) {
        if self.give_up(&mut tell) {
            self.trouble = Some(why);
            tell(Event::Error(UpstreamErrorSummary { message: why.to_owned(), ..UpstreamErrorSummary::default() }));
        }
    }

    /// The provider's stream is over. Whether it said to its end what it had to say is [`ended`](Self::ended).
    pub fn finish(&mut self, tell: impl FnMut(Event)) {
        if self.ended {
            return;
        }
        let (reader, events) = (&mut self.reader, &mut self.events);
        self.parser.finish(|data| reader.read(data, events));
        reader.finish(events);
        self.tell(tell);
    }

    /// Whether the end of the answer, or of an error, was told.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Gives the answer up: nothing more is told of it. Whether that is an error; it is none if what the provider had yet to
    /// say was nothing the caller wanted, and then its end is told.
    pub fn give_up(&mut self, tell: impl FnMut(Event)) -> bool {
        if std::mem::replace(&mut self.ended, true) {
            return false;
        }
        let Some(end) = self.stops.as_ref().and_then(Stops::end) else { return true };
        end.into_iter().for_each(tell);
        false
    }

    fn tell(&mut self, mut tell: impl FnMut(Event)) {
        let Self { names, stops, events, ended, .. } = self;
        let mut tell = |mut event: Event| {
            if *ended {
                return;
            }
            names.restore_in(&mut event);
            *ended = matches!(event, Event::End | Event::Error(_));
            tell(event);
        };
        for event in events.drain(..) {
            match stops {
                Some(stops) => stops.pass(event, &mut tell),
                None => tell(event),
            }
        }
    }
}

/// Reads the data of one event, and says whether it could be read: an event that the format does not know is passed over, but
/// what is no JSON may have been any part of the answer. Providers also send events without data, and `[DONE]` where their
/// format has no such word.
fn read_event(reader: &mut dyn ReadStream, data: &[u8], events: &mut Vec<Event>) -> bool {
    if matches!(events.last(), Some(Event::End | Event::Error(_))) {
        return true;
    }
    let text = data.trim_ascii();
    let says_nothing = text.is_empty() || text == b"[DONE]";
    if !says_nothing && !loose::is_whole(text) {
        return false;
    }
    let known = events.len();
    reader.read(data, events);
    says_nothing || events.len() > known || {
        let mut cursor = Cursor::new(text);
        cursor.skip().is_ok() && cursor.end().is_ok()
    }
}

impl std::fmt::Debug for HeardStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeardStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Format {
    /// The error that a provider's body with this status reports, in words of its own but in nobody's format.
    pub fn error_of(self, status: u16, body: &[u8]) -> ErrorAnswer {
        let mut reading = Reading::new(0, 0);
        reading.read(self.definition().answer_body, body);
        let mut error = reading.error.unwrap_or_default();
        if error.message.is_empty() {
            error.message = format!("the upstream provider answered with status {status}");
        }
        ErrorAnswer::of_upstream(status, &error)
    }
}

impl ErrorAnswer {
    /// An error of a provider, to be told in another format than its own.
    pub(crate) fn of_upstream(status: u16, error: &UpstreamErrorSummary) -> Self {
        Self {
            status,
            kind: ErrorKind::of_status(status),
            code: error.known_code(status),
            message: error.message.clone(),
        }
    }
}
