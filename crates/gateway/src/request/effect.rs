//! The effect: a model is asked.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use systemprompt_extension::policy::{Estimate, ModelCall, Subject, Usage};
use systemprompt_governance::{Effect, Facts, FactsWriter, Target};
use systemprompt_llm::neutral::Loss;
use systemprompt_llm::{Format, InferenceRequest, destructive_tool_names, earlier_turns, tool_names};

use crate::routing::{Destination, Way};

/// Most texts that end an answer that are recorded.
const STOP_SEQUENCE_LIMIT: usize = 64;
/// Tokens of an answer that is as long as usual: most are shorter, and clients ask for far longer ones than they get.
const USUAL_OUTPUT: u64 = 1000;
/// Most tool calls of one answer that are recorded.
const TOOL_CALL_LIMIT: usize = 128;

/// Asking a model.
#[derive(Debug, Clone)]
pub(crate) struct Infer {
    /// The agent of the client that asks, as the client identifies it.
    agent: Option<String>,
    /// The conversation this belongs to, as the caller or the gateway identifies it.
    conversation: String,
    format: Format,
    /// What of the caller's request the provider is not told, or not in the same words.
    pub(crate) losses: Vec<Loss>,
    max_tokens: Option<u64>,
    /// The model as the provider calls it; empty when the request is refused before one was chosen.
    model: String,
    provider: String,
    requested_model: String,
    route_match: String,
    stop_sequences: Vec<String>,
    stream: bool,
    /// What was done to the caller's system prompt, by its name in the configuration or in an extension.
    pub(crate) system_prompt_override: Option<String>,
    temperature: Option<f64>,
    tools: u64,
    /// What the caller's request says of them.
    offered_tools: Option<Bytes>,
    /// The caller's headers that are passed on.
    headers: Vec<(String, String)>,
    /// Where its targets process what they are sent, of those that say so.
    regions: Vec<(Target, String)>,
    top_p: Option<f64>,
    estimate: Estimate,
    /// The model by its configured name, for quotas of one model.
    quota_model: Option<String>,
}

impl Infer {
    /// The effect of sending `request` along `way`. Without one it is a request that can only be refused.
    pub(crate) fn new(
        request: &InferenceRequest,
        conversation: Option<&str>,
        agent: Option<&str>,
        way: Option<&Way>,
    ) -> Self {
        let first = way.map(|way| &way.first);
        Self {
            agent: agent.map(str::to_owned),
            conversation: conversation.map_or_else(|| request.conversation_id(), str::to_owned),
            format: request.format,
            losses: Vec::new(),
            max_tokens: request.max_tokens,
            model: first.map(|to| to.upstream_model.clone()).unwrap_or_default(),
            provider: first.map(|to| to.provider.name.to_string()).unwrap_or_default(),
            requested_model: request.model.clone(),
            route_match: way.map(|way| way.route_match.clone()).unwrap_or_default(),
            stop_sequences: request.stop_sequences.iter().take(STOP_SEQUENCE_LIMIT).cloned().collect(),
            stream: request.stream,
            system_prompt_override: None,
            temperature: request.temperature,
            tools: request.tools as u64,
            offered_tools: request.offered_tools(),
            headers: Vec::new(),
            regions: way.map(regions).unwrap_or_default(),
            top_p: request.top_p,
            estimate: way.map_or(Estimate::ONE_CALL, |way| estimate(request, way, request.estimated_input_tokens)),
            quota_model: way.map(|way| way.first.model_id().to_owned()),
        }
    }
}

impl Infer {
    /// The same, with these headers of the caller's.
    pub(crate) fn accompanied_by(self, headers: Vec<(String, String)>) -> Self {
        Self { headers, ..self }
    }

    /// The same, with a prompt of so many tokens as it leaves: something may have been put into it.
    pub(crate) fn leaving_with(self, input_tokens: u64, request: &InferenceRequest, way: &Way) -> Self {
        Self { estimate: estimate(request, way, input_tokens), ..self }
    }
}

/// The regions of the places of a way.
fn regions(way: &Way) -> Vec<(Target, String)> {
    let region = |to: &Destination| Some((to.permit_target.clone(), to.provider.region.clone()?));
    way.candidates().filter_map(|to| region(to)).collect()
}

/// What a request will use up: with an answer of the usual length at the first choice, and with one as long as it may be
/// where that costs most. Of an answer without a limit nothing more is known than what is usual.
fn estimate(request: &InferenceRequest, way: &Way, input: u64) -> Estimate {
    let with = |to: &Destination, longest: u64| {
        let limit = match (request.max_tokens, to.max_output_tokens) {
            (Some(asked), Some(limit)) => asked.min(limit),
            (asked, limit) => asked.or(limit).unwrap_or(USUAL_OUTPUT),
        };
        // An embedding is no text. What an image takes is known only when it is there.
        let limit = if request.format == Format::OpenAiEmbeddings { 0 } else { limit };
        let output = limit.min(longest).saturating_mul(request.answers);
        let tokens = systemprompt_llm::Usage {
            input_tokens: Some(input),
            output_tokens: Some(output),
            images: request.makes_images.then_some(request.answers),
            ..systemprompt_llm::Usage::default()
        };
        let cost = to.pricing.map(|pricing| pricing.cost(&tokens, None)).unwrap_or_default();
        Usage { calls: 1, input_tokens: input, output_tokens: output, cost }
    };
    let expected = with(&way.first, USUAL_OUTPUT);
    let most = way.candidates().map(|to| with(to, u64::MAX)).fold(expected, |most, next| Usage {
        output_tokens: most.output_tokens.max(next.output_tokens),
        cost: most.cost.max(next.cost),
        ..most
    });
    Estimate { expected, most }
}

impl Effect for Infer {
    const KIND: &'static str = "infer";
    type Result = Inferred;

    fn subject(&self) -> Subject<'_> {
        Subject::Prompt
    }

    fn earlier(&self, content: &[u8]) -> Vec<Range<usize>> {
        earlier_turns(content)
    }

    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.stranger_id("agent", self.agent.as_deref());
        facts.stranger_id("conversation", Some(&self.conversation));
        facts.text("dialect", self.format.as_str());
        facts.list("headers", &self.headers, |(name, value), facts| {
            facts.stranger("name", Some(name));
            facts.stranger("value", Some(value));
        });
        facts.list("losses", &self.losses, |loss, facts| {
            facts.text("feature", loss.feature.as_str());
            facts.stranger("field", Some(&loss.field));
            facts.text("treatment", loss.treatment.as_str());
        });
        facts.count("max_tokens", self.max_tokens);
        facts.stranger("model", Some(&self.model));
        facts.optional_text("provider", Some(&self.provider));
        facts.stranger("requested_model", Some(&self.requested_model));
        facts.stranger("route_match", Some(&self.route_match));
        facts.part_of_content("stop_sequences", &self.stop_sequences);
        facts.boolean("stream", self.stream);
        facts.optional_text("system_prompt_override", self.system_prompt_override.as_deref());
        facts.number("temperature", self.temperature);
        facts.count("tools", Some(self.tools));
        facts.number("top_p", self.top_p);
    }

    fn region(&self, target: &Target) -> Option<&str> {
        self.regions.iter().find(|(known, _)| known == target).map(|(_, region)| region.as_str())
    }

    fn offered_tools(&self) -> Vec<String> {
        self.offered_tools.as_deref().map(tool_names).unwrap_or_default()
    }

    fn destructive_tools(&self) -> Vec<String> {
        self.offered_tools.as_deref().map(destructive_tool_names).unwrap_or_default()
    }

    fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    fn is_replaceable(&self) -> bool {
        true
    }

    fn estimate(&self) -> Estimate {
        self.estimate
    }

    fn model(&self) -> Option<ModelCall<'_>> {
        let name = self.quota_model.as_deref()?;
        Some(ModelCall { name, provider: &self.provider, streaming: self.stream })
    }
}

/// What [`Infer`] writes, read back: what is absent was empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct InferFacts {
    pub(super) agent: Option<String>,
    pub(super) conversation: Option<String>,
    pub(super) dialect: String,
    pub(super) headers: Vec<HeaderFacts>,
    pub(super) losses: Vec<LossFacts>,
    pub(super) max_tokens: Option<i64>,
    pub(super) model: Option<String>,
    pub(super) provider: Option<String>,
    pub(super) requested_model: Option<String>,
    pub(super) route_match: Option<String>,
    pub(super) stop_sequences: Option<Vec<String>>,
    pub(super) stream: bool,
    pub(super) system_prompt_override: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) tools: i64,
    pub(super) top_p: Option<f64>,
}

/// A header of the caller's that was passed on.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct HeaderFacts {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Something the provider of a request was not told, or not in the same words.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LossFacts {
    /// What it is.
    pub(crate) feature: String,
    /// Where it stood in the caller's request.
    pub(crate) field: String,
    /// Whether it was left out or said in other words.
    pub(crate) treatment: String,
}

/// Who counted what a request used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum UsageSource {
    /// The provider, all of it.
    Provider,
    /// Some or all of it was estimated from lengths.
    Estimated,
    /// The provider, with numbers that cannot be: what is recorded is the most that can.
    Bounded,
    /// There was nothing to count.
    #[default]
    None,
}

impl UsageSource {
    /// The word for it in the ledger.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Estimated => "estimated",
            Self::Bounded => "bounded",
            Self::None => "none",
        }
    }
}

/// How the cost of a request came about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CostSource {
    /// From what the provider counted.
    Provider,
    /// From counts some or all of which were estimated.
    Estimated,
    /// It used something, and nobody knows a price: it is not known and recorded as zero.
    Unpriced,
    /// It used nothing.
    #[default]
    None,
}

impl CostSource {
    /// The word for it in the ledger.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Estimated => "estimated",
            Self::Unpriced => "unpriced",
            Self::None => "none",
        }
    }
}

/// What came of asking a model.
#[derive(Debug, Default)]
pub(crate) struct Inferred {
    pub(crate) usage: systemprompt_llm::Usage,
    pub(crate) usage_source: UsageSource,
    pub(crate) cost_source: CostSource,
    /// The version of the prices.
    pub(crate) prices: Option<NaiveDate>,
    /// It was answered from what an earlier request had been answered.
    pub(crate) cache_hit: bool,
    /// The class of service the provider gave it.
    pub(crate) service_tier: Option<String>,
    /// Something of the answer could not be read.
    pub(crate) partial: bool,
    /// How the route was left for another place than its first, in the stead of what the decision says of it.
    pub(crate) route_match: Option<String>,
    /// What was done to the system prompt at the place that answered, in the stead of what the decision says of it.
    pub(crate) system_prompt_override: Option<String>,
    /// The provider that answered.
    pub(crate) served_provider: Option<String>,
    /// The status the provider answered with.
    pub(crate) http_status: Option<u16>,
    /// The model that answered, as the provider says.
    pub(crate) model: Option<String>,
    /// The provider's own id of the request.
    pub(crate) provider_request_id: Option<String>,
    /// Why the answer ended.
    pub(crate) stop_reason: Option<String>,
    /// The tools the model asked for.
    pub(crate) tool_calls: Vec<ToolCallFacts>,
    /// From sending to the first byte of the answer, in milliseconds.
    pub(crate) ttft_ms: Option<u64>,
}

/// A tool the model asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ToolCallFacts {
    /// The id the model gave it.
    pub(crate) id: String,
    pub(crate) name: String,
}

/// The name of the part of the content that holds the input of a tool call.
pub(crate) fn tool_call_part(sequence: usize) -> Cow<'static, str> {
    format!("tool_call.{sequence}").into()
}

impl Facts for Inferred {
    fn facts(&self, facts: &mut FactsWriter<'_, '_>) {
        facts.count("audio_input_tokens", self.usage.audio_input_tokens);
        facts.count("audio_output_tokens", self.usage.audio_output_tokens);
        facts.count("cache_creation_1h_tokens", self.usage.cache_creation_1h_tokens);
        facts.count("cache_creation_tokens", Some(self.usage.cache_creation_tokens.unwrap_or(0)));
        facts.boolean("cache_hit", self.cache_hit);
        facts.count("cache_read_tokens", Some(self.usage.cache_read_tokens.unwrap_or(0)));
        facts.count("code_executions", self.usage.code_executions);
        facts.text("cost_source", self.cost_source.as_str());
        facts.count("file_searches", self.usage.file_searches);
        facts.count("http_status", self.http_status.map(u64::from));
        facts.count("image_input_tokens", self.usage.image_input_tokens);
        facts.count("image_output_tokens", self.usage.image_output_tokens);
        facts.count("images", self.usage.images);
        facts.count("input_tokens", Some(self.usage.input_tokens.unwrap_or(0)));
        facts.stranger("model", self.model.as_deref());
        facts.count("output_tokens", Some(self.usage.output_tokens.unwrap_or(0)));
        facts.boolean("partial", self.partial);
        facts.optional_text("prices", self.prices.map(|day| day.to_string()).as_deref());
        facts.stranger_id("provider_request_id", self.provider_request_id.as_deref());
        facts.count("reasoning_tokens", self.usage.reasoning_tokens);
        facts.stranger("route_match", self.route_match.as_deref());
        facts.optional_text("served_provider", self.served_provider.as_deref());
        facts.stranger("service_tier", self.service_tier.as_deref());
        facts.stranger("stop_reason", self.stop_reason.as_deref());
        facts.optional_text("system_prompt_override", self.system_prompt_override.as_deref());
        let recorded = &self.tool_calls[..self.tool_calls.len().min(TOOL_CALL_LIMIT)];
        facts.list("tool_calls", recorded, |call, facts| {
            facts.stranger_id("id", Some(&call.id));
            facts.stranger("name", Some(&call.name));
        });
        facts.count("ttft_ms", self.ttft_ms);
        facts.text("usage_source", self.usage_source.as_str());
        facts.count("web_searches", self.usage.web_searches);
    }
}

/// What [`Inferred`] writes, read back: what is absent was empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct InferredFacts {
    pub(super) audio_input_tokens: Option<i64>,
    pub(super) audio_output_tokens: Option<i64>,
    pub(super) code_executions: Option<i64>,
    pub(super) cost_source: Option<String>,
    pub(super) file_searches: Option<i64>,
    pub(super) image_input_tokens: Option<i64>,
    pub(super) image_output_tokens: Option<i64>,
    pub(super) images: Option<i64>,
    pub(super) prices: Option<String>,
    pub(super) cache_creation_1h_tokens: Option<i64>,
    pub(super) cache_creation_tokens: i64,
    pub(super) cache_hit: Option<bool>,
    pub(super) cache_read_tokens: i64,
    pub(super) http_status: Option<i16>,
    pub(super) input_tokens: i64,
    pub(super) model: Option<String>,
    pub(super) output_tokens: i64,
    pub(super) partial: bool,
    pub(super) provider_request_id: Option<String>,
    pub(super) reasoning_tokens: Option<i64>,
    pub(super) route_match: Option<String>,
    pub(super) served_provider: Option<String>,
    pub(super) service_tier: Option<String>,
    pub(super) stop_reason: Option<String>,
    pub(super) system_prompt_override: Option<String>,
    pub(super) tool_calls: Vec<ToolCallFacts>,
    pub(super) ttft_ms: Option<i64>,
    pub(super) usage_source: Option<String>,
    pub(super) web_searches: Option<i64>,
}
