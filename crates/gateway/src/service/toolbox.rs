//! Tools that are called for a model, and the conversation that comes of it.

use async_trait::async_trait;
use futures_util::future::join_all;
use systemprompt_llm::neutral::{Part, Text, ToolCall, ToolResult};
use systemprompt_model::{Attribution, Microdollars};

use super::ai::AiService;
use super::error::AiError;
use super::message::AiMessage;
use super::request::AiRequest;
use super::response::AiResponse;
use super::tool::ToolDefinition;

/// Has tools and calls them.
#[async_trait]
pub trait ToolProvider: Send + Sync {
    /// The tools to offer.
    fn tools(&self) -> Vec<ToolDefinition>;

    /// Calls one of them, whose input was checked against its schema, in the name of whoever asked the model. What goes wrong
    /// is told to the model.
    async fn execute(&self, call: &ToolCall, by: &Attribution) -> ToolOutput;
}

/// No tools.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopToolProvider;

impl NoopToolProvider {
    /// No tools.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl ToolProvider for NoopToolProvider {
    fn tools(&self) -> Vec<ToolDefinition> {
        Vec::new()
    }

    async fn execute(&self, call: &ToolCall, _: &Attribution) -> ToolOutput {
        ToolOutput::error(format!("there is no tool `{}`", call.name))
    }
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOutput {
    /// What the tool says: texts and media.
    pub parts: Vec<Part>,
    /// Whether it failed.
    pub is_error: bool,
}

impl ToolOutput {
    /// It worked.
    pub fn success(text: impl Into<String>) -> Self {
        Self { parts: vec![Part::Text(Text::plain(text))], is_error: false }
    }

    /// It did not.
    pub fn error(text: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::success(text) }
    }
}

/// How often a model may go on calling tools: it is asked so often at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolLimit(pub u32);

impl Default for ToolLimit {
    fn default() -> Self {
        Self(10)
    }
}

/// A conversation in which tools were called.
#[derive(Debug, Clone)]
pub struct ToolRun {
    /// The last answer, which calls none.
    pub response: AiResponse,
    /// Everything that was said, from the request's messages to the last answer.
    pub messages: Vec<AiMessage>,
    /// How often the model was asked.
    pub rounds: u32,
    /// What all answers cost together.
    pub cost_microdollars: Microdollars,
}

impl AiService {
    /// Asks a model, calls the tools it wants, all calls of an answer at the same time, and tells it what came of them, until
    /// it wants none. Each question is a request of its own with a decision and a record.
    ///
    /// What a tool does is its provider's: nothing here decides whether it may.
    pub async fn generate_with_tools(
        &self,
        request: &AiRequest,
        provider: &dyn ToolProvider,
        limit: ToolLimit,
    ) -> Result<ToolRun, AiError> {
        let mut request = request.clone();
        request.tools = provider.tools();
        let mut cost = 0_i64;
        let mut round = 0;
        loop {
            round += 1;
            let response = self.generate(&request).await?;
            cost = cost.saturating_add(response.cost_microdollars.0);
            request.messages.push(response.message.clone());
            if response.tool_calls.is_empty() {
                let messages = std::mem::take(&mut request.messages);
                return Ok(ToolRun { response, messages, rounds: round, cost_microdollars: Microdollars(cost) });
            }
            if round >= limit.0 {
                return Err(AiError::ToolLimit { rounds: round, response: Box::new(response) });
            }
            let results = join_all(response.tool_calls.iter().map(|call| run(provider, &request, call))).await;
            request.messages.push(AiMessage::tool_results(results));
            // It did what it had to.
            request.tool_choice = None;
        }
    }
}

/// Calls a tool, if it is one and its input fits.
async fn run(provider: &dyn ToolProvider, request: &AiRequest, call: &ToolCall) -> ToolResult {
    let output = match request.tools.iter().find(|tool| tool.name == call.name) {
        None => ToolOutput::error(format!("there is no tool `{}`", call.name)),
        Some(tool) => match super::structured::mistakes(&tool.input_schema, &call.input_object().to_value()) {
            Ok(mistakes) if mistakes.is_empty() => provider.execute(call, &request.by).await,
            Ok(mistakes) => ToolOutput::error(format!("the input does not match the schema: {}", mistakes.join("; "))),
            Err(error) => ToolOutput::error(error),
        },
    };
    ToolResult {
        call_id: call.id.clone(),
        name: Some(call.name.clone()),
        parts: output.parts,
        is_error: output.is_error,
        custom: false,
        cache: None,
    }
}
