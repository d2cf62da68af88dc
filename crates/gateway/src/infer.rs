//! The effect of the gateway: asking a model.

use std::time::Duration;

use systemprompt_extension::policy::{Subject, Usage};
use systemprompt_governance::{Effect, Facts, FactsWriter};
use systemprompt_llm::catalog::Pricing;
use systemprompt_llm::{self as llm, InferenceRequest};

use crate::routing::Destination;

/// Most texts that end an answer that are recorded.
const STOP_SEQUENCE_LIMIT: usize = 64;

/// Most tool calls of one answer that are recorded.
const TOOL_CALL_LIMIT: usize = 128;

/// Asking a model: everything about it that is recorded with the decision.
#[derive(Debug, Clone)]
pub struct Infer {
    dialect: &'static str,
    conversation: String,
    requested_model: String,
    stream: bool,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u64>,
    stop_sequences: Vec<String>,
    tools: usize,
    way: Option<Way>,
    estimate: Usage,
}

/// Where it goes; a request that found no way has none.
#[derive(Debug, Clone)]
struct Way {
    provider: String,
    upstream_model: String,
    route_match: String,
}

impl Infer {
    /// What `request` is, on its way to `destination`.
    pub(crate) fn new(request: &InferenceRequest, conversation: String, destination: Option<&Destination>) -> Self {
        let output = request.max_tokens.unwrap_or(0);
        let expected = llm::Usage {
            input_tokens: Some(request.estimated_input_tokens),
            output_tokens: Some(output),
            ..llm::Usage::default()
        };
        Self {
            dialect: request.format.as_str(),
            conversation,
            requested_model: request.model.clone(),
            stream: request.stream,
            temperature: request.temperature,
            top_p: request.top_p,
            max_tokens: request.max_tokens,
            stop_sequences: request.stop_sequences.iter().take(STOP_SEQUENCE_LIMIT).cloned().collect(),
            tools: request.tools,
            way: destination.map(|destination| Way {
                provider: destination.route.provider.name.clone(),
                upstream_model: destination.upstream_model.clone(),
                route_match: destination.route_match.clone(),
            }),
            estimate: Usage {
                calls: 1,
                tokens: request.estimated_input_tokens.saturating_add(output),
                cost: destination.map(|destination| destination.pricing.cost(&expected)).unwrap_or_default(),
            },
        }
    }

    /// The model as the provider calls it.
    pub(crate) fn upstream_model(&self) -> Option<&str> {
        self.way.as_ref().map(|way| way.upstream_model.as_str())
    }
}

impl Effect for Infer {
    const KIND: &'static str = "infer";
    type Result = Answered;

    fn subject(&self) -> Subject<'_> {
        Subject::Prompt
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.stranger_id("conversation", Some(&self.conversation));
        facts.text("dialect", self.dialect);
        facts.count("max_tokens", self.max_tokens);
        facts.optional_text("provider", self.way.as_ref().map(|way| way.provider.as_str()));
        facts.stranger("requested_model", Some(&self.requested_model));
        facts.stranger("route_match", self.way.as_ref().map(|way| way.route_match.as_str()));
        facts.part_of_content("stop_sequences", &self.stop_sequences);
        facts.boolean("streamed", self.stream);
        facts.number("temperature", self.temperature);
        facts.count("tools_offered", Some(self.tools as u64));
        facts.number("top_p", self.top_p);
        facts.stranger("upstream_model", self.upstream_model());
    }

    fn estimate(&self) -> Usage {
        self.estimate
    }
}

/// What a model answered, apart from the answer.
#[derive(Debug)]
pub struct Answered {
    pub(crate) usage: llm::Usage,
    pub(crate) pricing: Pricing,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) http_status: Option<u16>,
    /// The model that answered, as the provider says, or the one that was asked.
    pub(crate) model: Option<String>,
    pub(crate) provider_request_id: Option<String>,
    pub(crate) stop_reason: Option<String>,
    /// Id and name of each tool the model asked for.
    pub(crate) tool_calls: Vec<(String, String)>,
}

impl Answered {
    /// What it used up.
    pub(crate) fn used(&self) -> Usage {
        Usage {
            calls: 1,
            tokens: self.usage.prompt_tokens().saturating_add(self.usage.output_tokens.unwrap_or(0)),
            cost: self.pricing.cost(&self.usage),
        }
    }
}

impl Facts for Answered {
    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        let tokens = |count: Option<u64>| Some(count.unwrap_or(0));
        facts.count("cache_creation_tokens", tokens(self.usage.cache_creation_tokens));
        facts.count("cache_read_tokens", tokens(self.usage.cache_read_tokens));
        let first_byte = self.first_byte.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        facts.count("first_byte_ms", first_byte);
        facts.count("http_status", self.http_status.map(u64::from));
        facts.count("input_tokens", tokens(self.usage.input_tokens));
        facts.stranger("model", self.model.as_deref());
        facts.count("output_tokens", tokens(self.usage.output_tokens));
        facts.stranger_id("provider_request_id", self.provider_request_id.as_deref());
        facts.stranger("stop_reason", self.stop_reason.as_deref());
        let recorded = &self.tool_calls[..self.tool_calls.len().min(TOOL_CALL_LIMIT)];
        facts.list("tool_calls", recorded, |(id, name), call| {
            call.stranger_id("id", Some(id));
            call.stranger("name", Some(name));
        });
    }
}
