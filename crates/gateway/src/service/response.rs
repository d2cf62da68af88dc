//! An answer, in the same words whoever gave it.

use std::time::Duration;

use systemprompt_llm::neutral::{Answer, Grounding, Part, ToolCall, WebSource};
use systemprompt_llm::{StopReason, Usage};
use systemprompt_model::{ActionId, Microdollars};

use super::message::{AiMessage, MessageRole};
use crate::settled::Settled;

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct AiResponse {
    /// The record of the request: its id in `ai_requests` and the ledger.
    pub request_id: ActionId,
    /// The provider that answered.
    pub provider: String,
    /// The model that answered, as the provider says.
    pub model: String,
    /// What it said in words. What it refused to say is in here too, and [`finish_reason`](Self::finish_reason) says so.
    pub content: String,
    /// What it thought, as far as it is told.
    pub thinking: Option<String>,
    /// What was used, as the ledger has it.
    pub usage: AiUsage,
    /// Why it stopped.
    pub finish_reason: StopReason,
    /// The tools it wants called.
    pub tool_calls: Vec<ToolCall>,
    /// Where the answer comes from, if the web was searched or sources are cited.
    pub grounding: Option<Grounding>,
    /// The answer is one that was given before to the same request; it cost nothing.
    pub cache_hit: bool,
    /// From the question to the end of the answer, in milliseconds.
    pub latency_ms: u64,
    /// What all attempts cost, as the ledger has it.
    pub cost_microdollars: Microdollars,
    /// The whole answer as a message, to go on with.
    pub message: AiMessage,
}

/// What a request used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AiUsage {
    /// Tokens of the prompt at the full price.
    pub input: u64,
    /// Tokens of the answer, hidden thinking included.
    pub output: u64,
    /// Tokens of the prompt read from the provider's cache.
    pub cache_read: u64,
    /// Tokens of the prompt written to the provider's cache.
    pub cache_creation: u64,
    /// All of them.
    pub total: u64,
    /// Searches of the web that the provider made.
    pub web_searches: u64,
    /// Images that were made.
    pub images: u64,
}

impl From<Usage> for AiUsage {
    fn from(usage: Usage) -> Self {
        let count = Option::unwrap_or_default;
        Self {
            input: count(usage.input_tokens),
            output: count(usage.output_tokens),
            cache_read: count(usage.cache_read_tokens),
            cache_creation: count(usage.cache_creation_tokens),
            total: usage.total(),
            web_searches: count(usage.web_searches),
            images: count(usage.images),
        }
    }
}

impl AiResponse {
    /// The response of an answer that was settled like this, after so long. `grounding` is what is known of its sources beside
    /// what it cites.
    pub(super) fn of(settled: Settled, answer: Answer, mut grounding: Grounding, waited: Duration) -> Self {
        let mut content = String::new();
        let mut thinking = String::new();
        let mut tool_calls = Vec::new();
        for part in &answer.parts {
            match part {
                Part::Text(text) => {
                    content.push_str(&text.text);
                    for citation in &text.citations {
                        let source = WebSource {
                            uri: citation.uri.clone().unwrap_or_default(),
                            title: citation.title.clone(),
                            snippet: citation.snippet.clone(),
                            relevance: None,
                        };
                        grounding.cite(source);
                    }
                }
                Part::Refusal(words) => content.push_str(words),
                Part::Thinking(thought) => thinking.push_str(&thought.text),
                Part::ToolCall(call) => tool_calls.push(call.clone()),
                Part::Media(_) | Part::ToolResult(_) | Part::Native(..) => {}
            }
        }
        Self {
            request_id: settled.request,
            provider: settled.provider,
            model: settled.model,
            content,
            thinking: Some(thinking).filter(|thinking| !thinking.is_empty()),
            usage: settled.usage.into(),
            finish_reason: answer.stop_reason.unwrap_or(StopReason::EndTurn),
            tool_calls,
            grounding: (!grounding.is_empty()).then_some(grounding),
            cache_hit: settled.cached,
            latency_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            cost_microdollars: settled.cost,
            message: AiMessage { role: MessageRole::Assistant, content: String::new(), parts: answer.parts },
        }
    }
}
