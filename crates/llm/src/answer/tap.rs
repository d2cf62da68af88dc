//! The tap on an answer: bytes in, a summary out.

use memchr::memmem;
use systemprompt_model::json::{Cursor, loose};

use super::reading::Reading;
use super::summary::{AnswerSummary, ToolCall};
use crate::error::ErrorAnswer;
use crate::format::{Definition, Format};
use crate::sse::SseParser;

/// Watches an answer on its way to the caller and never alters it.
///
/// Memory is bounded whatever arrives: a streamed answer costs its excerpts, those of tools' inputs up to 8 MiB together,
/// and at most one event of 1 MiB, a buffered one its own length up to 8 MiB as well. Of a longer one only the end is kept,
/// where every format puts usage and stop reason.
#[derive(Debug)]
pub struct AnswerTap {
    format: &'static Definition,
    input: Input,
    answer: Reading,
    read: u64,
}

#[derive(Debug)]
enum Input {
    /// Called a stream, and nothing but blanks came.
    Undecided(Vec<u8>),
    Events(SseParser),
    Body(Vec<u8>),
    EndOfBody(Vec<u8>),
    /// The body was read.
    Ended,
}

const EVENT_LIMIT: usize = 1024 * 1024;
const BODY_LIMIT: usize = 8 * 1024 * 1024;
const END_OF_BODY: usize = 64 * 1024;

impl AnswerTap {
    /// A tap for one answer.
    ///
    /// `text_limit` is the number of bytes kept of each end of the text and of the thinking, 0 for its length alone; `tool_limit` that of the
    /// start of each tool's input.
    pub fn new(format: Format, streamed: bool, text_limit: usize, tool_limit: usize) -> Self {
        let input = if streamed { Input::Undecided(Vec::new()) } else { Input::Body(Vec::new()) };
        Self { format: format.definition(), input, answer: Reading::new(text_limit, tool_limit), read: 0 }
    }

    /// So many answers to one prompt were asked for; one unless told.
    pub fn expect_choices(&mut self, choices: u64) {
        self.answer.choices = usize::try_from(choices).unwrap_or(usize::MAX);
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.read += chunk.len() as u64;
        if let Input::Undecided(beginning) = &mut self.input {
            beginning.extend_from_slice(chunk);
            if loose::is_blank(beginning) && beginning.len() < EVENT_LIMIT {
                return;
            }
            let beginning = self.decide();
            return self.look(&beginning);
        }
        self.look(chunk);
    }

    /// What is called a stream may be one JSON text all the same; its first byte tells. Gives what was held until then.
    fn decide(&mut self) -> Vec<u8> {
        let Input::Undecided(beginning) = std::mem::replace(&mut self.input, Input::Ended) else { return Vec::new() };
        self.input = if loose::is_structure(&beginning) {
            Input::Body(Vec::new())
        } else {
            Input::Events(SseParser::new(EVENT_LIMIT))
        };
        beginning
    }

    fn look(&mut self, chunk: &[u8]) {
        let Self { format, input, answer, .. } = self;
        match input {
            Input::Events(parser) => parser.feed(chunk, |data| answer.read(format.answer_event, data)),
            Input::Body(body) => {
                body.extend_from_slice(chunk);
                if body.len() > BODY_LIMIT {
                    body.drain(..body.len() - END_OF_BODY);
                    body.shrink_to_fit();
                    *input = Input::EndOfBody(std::mem::take(body));
                }
            }
            Input::EndOfBody(end) => {
                end.extend_from_slice(chunk);
                if end.len() > 2 * END_OF_BODY {
                    end.drain(..end.len() - END_OF_BODY);
                }
            }
            Input::Undecided(_) | Input::Ended => {}
        }
    }

    /// The tools the model wants called, as far as they were said: of one that is being said the name may be there and not
    /// all of the input.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.answer.called_tools()
    }

    /// Whether the model may want tools called that [`tool_calls`](Self::tool_calls) does not have: there were more of them
    /// than are kept, or what was said at once was too large to be read.
    pub fn may_have_missed_calls(&self) -> bool {
        self.answer.calls_missed
            || match &self.input {
                Input::Events(parser) => parser.skipped_events() > 0,
                Input::EndOfBody(_) => true,
                Input::Undecided(_) | Input::Body(_) | Input::Ended => false,
            }
    }

    /// The events that end the stream with this error, where it stands.
    pub fn error_events(&self, error: &ErrorAnswer, request_id: Option<&str>) -> Vec<u8> {
        let body = (self.format.error_body)(error, request_id);
        (self.format.error_events)(&body, request_id, Some(&self.answer))
    }

    /// Whether the provider has ended the answer: its last event, or an error event. After that nothing may be added
    /// to the stream. Always false for a buffered answer.
    pub fn terminal_seen(&self) -> bool {
        self.answer.finished || self.answer.error.is_some()
    }

    /// Whether the model said why it stopped, so that the answer is complete if the stream ends here.
    pub fn has_stopped(&self) -> bool {
        self.answer.has_stopped()
    }

    /// The provider ended its answer, and cleanly. A stream is complete then if the model said why it stopped: many
    /// providers end without the last event that their format has for it. Gives whether a stream had that event, if there is
    /// one in its format.
    pub fn end_of_stream(&mut self) -> bool {
        self.settle();
        let Self { format, input, answer, .. } = self;
        match input {
            Input::Events(parser) => {
                parser.finish(|data| answer.read(format.answer_event, data));
                let said_so = answer.finished || !format.has_last_event;
                answer.finished |= answer.has_stopped_at_the_end();
                said_so
            }
            Input::Body(_) => {
                self.read_body();
                true
            }
            Input::Undecided(_) | Input::EndOfBody(_) | Input::Ended => true,
        }
    }

    /// No more comes that could decide what it is.
    fn settle(&mut self) {
        if let Input::Undecided(_) = self.input {
            let beginning = self.decide();
            self.look(&beginning);
        }
    }

    fn read_body(&mut self) {
        let Self { format, input, answer, read } = self;
        let Input::Body(body) = std::mem::replace(input, Input::Ended) else { return };
        answer.read(format.answer_body, &body);
        // Of what is no answer at all nothing is known.
        if !answer.finished && answer.error.is_none() && loose::is_structure(&body) {
            answer.unread_bytes = *read;
        }
    }

    /// Whether the stream stands between two events, so that an event of ours may be inserted.
    pub fn at_event_boundary(&self) -> bool {
        match &self.input {
            Input::Events(parser) => parser.at_event_boundary(),
            // Blank lines end what is not there; the first byte may be half a mark.
            Input::Undecided(beginning) => beginning.iter().all(|byte| matches!(byte, b'\n' | b'\r')),
            Input::Body(_) | Input::EndOfBody(_) | Input::Ended => false,
        }
    }

    /// What is known of the answer so far, without what was said: of texts and of the inputs of tools there is the length.
    pub fn so_far(&self) -> AnswerSummary {
        let mut summary = self.answer.measured();
        if !matches!(self.input, Input::Events(_)) {
            // A body is read at its end.
            summary.unread_bytes = self.read;
        }
        summary
    }

    /// Ends the answer, wherever it stands, and says what it was.
    pub fn finish(mut self) -> AnswerSummary {
        self.settle();
        if let Input::Body(_) = self.input {
            self.read_body();
        }
        let Self { format, input, mut answer, read } = self;
        match input {
            Input::Events(mut parser) => {
                parser.finish(|data| answer.read(format.answer_event, data));
                answer.unreadable_events += parser.skipped_events();
            }
            Input::Undecided(_) | Input::Body(_) | Input::Ended => {}
            Input::EndOfBody(end) => {
                end_of_body(&mut answer, format, &end);
                answer.unread_bytes = read;
            }
        }
        answer.summary()
    }
}

/// Reads what can be found at the end of an answer whose start was not kept.
fn end_of_body(answer: &mut Reading, format: &Definition, end: &[u8]) {
    let value_of = |key: &str| {
        let quoted = format!("\"{key}\"");
        memmem::rfind_iter(end, quoted.as_bytes())
            // Inside a text the quote would have a backslash before it.
            .find(|at| *at == 0 || end[at - 1] != b'\\')
            .and_then(|at| {
                let after = end[at + quoted.len()..].trim_ascii_start().strip_prefix(b":")?;
                Some(&after[Cursor::new(after).skip().ok()?])
            })
    };
    (format.answer_usage)(answer, value_of(format.usage_field));
    answer.stop(value_of(format.stop_field), format.stop_reason);
    answer.finished = end.trim_ascii_end().ends_with(b"}");
}
