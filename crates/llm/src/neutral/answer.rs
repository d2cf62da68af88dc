//! A whole answer in neutral words.

use super::event::{Delta, Event, PartStart, TokenLogprob};
use super::part::{Part, Text, Thinking, ToolCall};
use crate::answer::summary::{StopReason, UpstreamErrorSummary, Usage};

/// A whole answer in neutral words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that answered, in the provider's words.
    pub model: Option<String>,
    /// What it said, in order.
    pub parts: Vec<Part>,
    /// Why it stopped.
    pub stop_reason: Option<StopReason>,
    /// The text that ended it.
    pub stop_sequence: Option<String>,
    /// What was used.
    pub usage: Usage,
    /// The class of service it was given.
    pub service_tier: Option<String>,
    /// Probabilities of the tokens of its text.
    pub logprobs: Vec<TokenLogprob>,
    /// The provider reports an error.
    pub error: Option<UpstreamErrorSummary>,
    /// It came to its end.
    pub complete: bool,
}

impl Answer {
    /// The answer that a stream builds up.
    pub fn of_events(events: impl IntoIterator<Item = Event>) -> Self {
        let mut answer = Self::default();
        for event in events {
            answer.add(event);
        }
        answer
    }

    /// Takes up the next event of the stream that builds it up.
    pub fn add(&mut self, event: Event) {
        match event {
            Event::Start { id, model } => {
                self.id = self.id.take().or(id);
                self.model = self.model.take().or(model);
            }
            Event::PartStart(start) => self.parts.push(match start {
                PartStart::Text => Part::Text(Text::default()),
                PartStart::Refusal => Part::Refusal(String::new()),
                PartStart::Thinking { redacted } => Part::Thinking(Thinking { redacted, ..Thinking::default() }),
                PartStart::ToolCall { id, name, custom } => {
                    Part::ToolCall(ToolCall { id, name, input: String::new(), custom, signature: None, cache: None })
                }
                PartStart::Native(format, value) => Part::Native(format, value),
            }),
            Event::Delta(delta) => self.delta(delta),
            Event::PartStop => {}
            Event::Usage(usage) => self.usage.update(&usage),
            Event::ServiceTier(tier) => self.service_tier = Some(tier),
            Event::Stop { reason, sequence } => {
                self.stop_reason = Some(reason);
                self.stop_sequence = sequence;
            }
            Event::End => self.complete = true,
            Event::Error(error) => self.error = Some(error),
        }
    }

    fn delta(&mut self, delta: Delta) {
        match (delta, self.parts.last_mut()) {
            (Delta::Logprobs(tokens), _) => self.logprobs.extend(tokens),
            (Delta::Text(more), Some(Part::Text(Text { text, .. }) | Part::Refusal(text))) => text.push_str(&more),
            (Delta::Text(more), Some(Part::Thinking(thinking))) => thinking.text.push_str(&more),
            (Delta::Text(more), Some(Part::ToolCall(call))) => call.input.push_str(&more),
            (Delta::Citation(citation), Some(Part::Text(text))) => text.citations.push(citation),
            (Delta::Signature(signature), Some(Part::Thinking(thinking))) => thinking.signature = Some(signature),
            (Delta::Signature(signature), Some(Part::ToolCall(call))) => call.signature = Some(signature),
            // Readers give no delta that has no place in the part that is open.
            _ => {}
        }
    }

    /// The stream that builds it up.
    pub fn into_events(self) -> Vec<Event> {
        let mut events = vec![Event::Start { id: self.id, model: self.model }];
        let mut logprobs = Some(self.logprobs).filter(|tokens| !tokens.is_empty());
        // What the prompt took is known before the answer begins.
        let prompt = Usage { output_tokens: None, reasoning_tokens: None, ..self.usage };
        events.push(Event::Usage(prompt));
        events.extend(self.service_tier.map(Event::ServiceTier));
        for part in self.parts {
            let (start, mut deltas) = match part {
                Part::Text(text) => {
                    let mut deltas = vec![Delta::Text(text.text)];
                    deltas.extend(text.citations.into_iter().map(Delta::Citation));
                    deltas.extend(logprobs.take().map(Delta::Logprobs));
                    (PartStart::Text, deltas)
                }
                Part::Refusal(words) => (PartStart::Refusal, vec![Delta::Text(words)]),
                Part::Thinking(thinking) => {
                    let mut deltas = vec![Delta::Text(thinking.text)];
                    deltas.extend(thinking.signature.map(Delta::Signature));
                    (PartStart::Thinking { redacted: thinking.redacted }, deltas)
                }
                Part::ToolCall(call) => {
                    // It travels in the id of the call where there is no other place, so it has to be known first.
                    let mut deltas: Vec<Delta> = call.signature.map(Delta::Signature).into_iter().collect();
                    deltas.push(Delta::Text(call.input));
                    (PartStart::ToolCall { id: call.id, name: call.name, custom: call.custom }, deltas)
                }
                Part::Native(format, value) => (PartStart::Native(format, value), Vec::new()),
                // Models answer with neither.
                Part::Media(_) | Part::ToolResult(_) => continue,
            };
            deltas.retain(|delta| !matches!(delta, Delta::Text(text) if text.is_empty()));
            events.push(Event::PartStart(start));
            events.extend(deltas.into_iter().map(Event::Delta));
            events.push(Event::PartStop);
        }
        events.push(Event::Usage(self.usage));
        if let Some(error) = self.error {
            events.push(Event::Error(error));
            return events;
        }
        if let Some(reason) = self.stop_reason {
            events.push(Event::Stop { reason, sequence: self.stop_sequence });
        }
        if self.complete {
            events.push(Event::End);
        }
        events
    }
}

impl Usage {
    /// Takes over what a later word of the provider says. It is of the whole answer so far, so a count may also be lower:
    /// what was cached is told apart from the rest of the prompt once it is known.
    pub fn update(&mut self, stated: &Self) {
        let later = |known: &mut Option<u64>, stated: Option<u64>| *known = stated.or(*known);
        later(&mut self.input_tokens, stated.input_tokens);
        later(&mut self.output_tokens, stated.output_tokens);
        later(&mut self.cache_read_tokens, stated.cache_read_tokens);
        later(&mut self.cache_creation_tokens, stated.cache_creation_tokens);
        later(&mut self.cache_creation_1h_tokens, stated.cache_creation_1h_tokens);
        later(&mut self.reasoning_tokens, stated.reasoning_tokens);
        later(&mut self.audio_input_tokens, stated.audio_input_tokens);
        later(&mut self.image_input_tokens, stated.image_input_tokens);
        later(&mut self.audio_output_tokens, stated.audio_output_tokens);
        later(&mut self.image_output_tokens, stated.image_output_tokens);
        later(&mut self.images, stated.images);
        later(&mut self.web_searches, stated.web_searches);
        later(&mut self.file_searches, stated.file_searches);
        later(&mut self.code_executions, stated.code_executions);
    }
}
