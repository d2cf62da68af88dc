//! A question to a model.

use systemprompt_llm::neutral::{Message, Output, Reasoning, Request, Role, Sampling, Text, Tool, ToolChoice};
use systemprompt_model::Attribution;

use super::message::{AiMessage, MessageRole};
use super::tool::ToolDefinition;

/// A question to a model. Only who asks and what have no default.
#[derive(Debug, Clone)]
pub struct AiRequest {
    /// Who asks: whom it is attributed to, counts for and is judged as.
    pub by: Attribution,
    /// The conversation, the latest message last.
    pub messages: Vec<AiMessage>,
    /// The provider that is to answer; the route of the model must lead there. Without a model it is asked for its default
    /// model.
    pub provider: Option<String>,
    /// The model, by a name of `GET /v1/models`.
    pub model: Option<String>,
    /// The longest answer in tokens; `ai.default_max_output_tokens` if absent.
    pub max_output_tokens: Option<u64>,
    /// Sampling.
    pub sampling: Sampling,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How much the model is to think.
    pub reasoning: Option<Reasoning>,
    /// The tools it may call.
    pub tools: Vec<ToolDefinition>,
    /// Whether it must call one.
    pub tool_choice: Option<ToolChoice>,
}

impl AiRequest {
    /// A conversation, to be gone on with by the default model.
    pub fn new(by: Attribution, messages: Vec<AiMessage>) -> Self {
        Self {
            by,
            messages,
            provider: None,
            model: None,
            max_output_tokens: None,
            sampling: Sampling::default(),
            stop: Vec::new(),
            reasoning: None,
            tools: Vec::new(),
            tool_choice: None,
        }
    }

    /// The same of this model.
    #[must_use]
    pub fn with_model(self, model: impl Into<String>) -> Self {
        Self { model: Some(model.into()), ..self }
    }

    /// The same of this provider.
    #[must_use]
    pub fn with_provider(self, provider: impl Into<String>) -> Self {
        Self { provider: Some(provider.into()), ..self }
    }

    /// The same with tools.
    #[must_use]
    pub fn with_tools(self, tools: Vec<ToolDefinition>) -> Self {
        Self { tools, ..self }
    }

    /// The question in neutral words, to this model. What the conversation begins with of the program's is told before it.
    pub(super) fn spoken(&self, model: &str, max_output_tokens: u64) -> Request {
        let mut messages: Vec<Message> = Vec::with_capacity(self.messages.len());
        let mut system = Vec::new();
        for message in &self.messages {
            if message.role == MessageRole::System && messages.is_empty() {
                system.push(Text::plain(message.content.clone()));
                continue;
            }
            let message = message.spoken();
            match messages.last_mut() {
                // Results of tools and what the user says to them are one turn.
                Some(last) if last.role == message.role && message.role == Role::User => {
                    last.parts.extend(message.parts);
                }
                _ => messages.push(message),
            }
        }
        Request {
            model: model.to_owned(),
            system,
            messages,
            tools: self.tools.iter().map(ToolDefinition::spoken).collect::<Vec<Tool>>(),
            tool_choice: self.tool_choice.clone().filter(|_| !self.tools.is_empty()),
            max_output_tokens: Some(self.max_output_tokens.unwrap_or(max_output_tokens)),
            sampling: self.sampling.clone(),
            stop: self.stop.clone(),
            reasoning: self.reasoning,
            output: Output::default(),
            ..Request::default()
        }
    }
}

/// Builds an [`AiRequest`] from the parts every call has.
#[derive(Debug, Clone)]
pub struct AiRequestBuilder(AiRequest);

impl AiRequestBuilder {
    /// Asks this model of this provider; an empty name leaves the choice to the configuration.
    pub fn new(messages: Vec<AiMessage>, provider: &str, model: &str, max_output_tokens: u64, by: Attribution) -> Self {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Self(AiRequest {
            provider: named(provider),
            model: named(model),
            max_output_tokens: Some(max_output_tokens),
            ..AiRequest::new(by, messages)
        })
    }

    /// With this sampling.
    #[must_use]
    pub fn with_sampling(mut self, sampling: Sampling) -> Self {
        self.0.sampling = sampling;
        self
    }

    /// With these tools.
    #[must_use]
    pub fn with_tools(mut self, tools: Vec<ToolDefinition>) -> Self {
        self.0.tools = tools;
        self
    }

    /// With a word on whether a tool must be called.
    #[must_use]
    pub fn with_tool_choice(mut self, choice: ToolChoice) -> Self {
        self.0.tool_choice = Some(choice);
        self
    }

    /// The request.
    pub fn build(self) -> AiRequest {
        self.0
    }
}
