//! A request in neutral words.

use super::feature::Feature;
use super::json::Json;
use super::part::{CacheMark, Part, Text};
use crate::format::Format;
use crate::request::facts::{Effort, ResponseFormat};

/// A request in neutral words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The model, as the caller named it.
    pub model: String,
    /// What the operator of the conversation tells the model before it begins.
    pub system: Vec<Text>,
    /// The conversation.
    pub messages: Vec<Message>,
    /// The tools offered.
    pub tools: Vec<Tool>,
    /// Whether a tool is to be called.
    pub tool_choice: Option<ToolChoice>,
    /// Whether several tools may be called at once; `None` leaves it to the model.
    pub parallel_tool_calls: Option<bool>,
    /// The longest answer, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Sampling.
    pub sampling: Sampling,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// How much the model is to think.
    pub reasoning: Option<Reasoning>,
    /// The form of the answer.
    pub output: Output,
    /// How many of the likeliest tokens are told with each token; `Some(0)` tells only the chosen one.
    pub logprobs: Option<u64>,
    /// The class of service, in the caller's word.
    pub service_tier: Option<String>,
    /// What cached prompts are kept under.
    pub prompt_cache_key: Option<String>,
    /// The answer is wanted as a stream.
    pub stream: bool,
    /// The stream is to say at its end what was used, where that is left to the caller.
    pub stream_usage: bool,
    /// What the caller said and no neutral word exists for, each with the path of its field.
    pub further: Vec<(Feature, String)>,
}

/// A message of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Whose it is.
    pub role: Role,
    /// What it says.
    pub parts: Vec<Part>,
}

/// Whose a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person's, or the program's that asks. Results of tools are theirs too.
    User,
    /// The model's.
    Assistant,
    /// The operator's, in the middle of the conversation.
    System,
}

/// A tool the model may call.
#[derive(Debug, Clone, PartialEq)]
pub enum Tool {
    /// One that takes JSON.
    Function(Function),
    /// One that takes text.
    Custom(CustomTool),
    /// A search of the web that the provider makes by itself.
    WebSearch(WebSearch),
    /// Another tool of this format's vendor, as it stands there, with the word for its kind.
    Native(Format, String, Json),
}

/// A tool that takes JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The JSON Schema of its input. Absent: it takes nothing.
    pub parameters: Option<Json>,
    /// The input is to match the schema exactly.
    pub strict: Option<bool>,
    /// The prompt up to here shall be cached.
    pub cache: Option<CacheMark>,
}

/// A tool that takes text.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomTool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// The grammar of its input, as OpenAI writes it: `{type: grammar, syntax, definition}`.
    pub format: Option<Json>,
}

impl CustomTool {
    /// The tool as one that takes JSON, with its text as `input`; what [`ToolCall::input_text`](super::ToolCall::input_text)
    /// reads.
    pub fn as_function(&self) -> Function {
        let format = self.format.as_ref().map(Json::to_value).unwrap_or_default();
        let grammar = if format["grammar"].is_object() { &format["grammar"] } else { &format };
        let description = match (grammar["syntax"].as_str(), grammar["definition"].as_str()) {
            (Some(syntax), Some(definition)) => format!("Text of this {syntax} grammar:\n{definition}"),
            _ => "Text, as the tool takes it.".to_owned(),
        };
        let parameters = serde_json::json!({
            "type": "object",
            "properties": { "input": { "type": "string", "description": description } },
            "required": ["input"],
            "additionalProperties": false,
        });
        Function {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters: Some(Json::of(&parameters)),
            ..Function::default()
        }
    }
}

impl Request {
    /// What is lost where a provider cannot search the web.
    pub(crate) fn search_feature(&self) -> Feature {
        let others = self.tools.iter().any(|tool| matches!(tool, Tool::Function(_) | Tool::Custom(_)));
        if others { Feature::WebSearchAmongTools } else { Feature::WebSearch }
    }
}

/// A search of the web that the provider makes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WebSearch {
    /// At most so many searches.
    pub max_uses: Option<u64>,
    /// Only these domains.
    pub allowed_domains: Vec<String>,
    /// Not these domains.
    pub blocked_domains: Vec<String>,
    /// Where the user is, as Anthropic and OpenAI write it: `{type: approximate, city, region, country, timezone}`.
    pub user_location: Option<Json>,
    /// How much of the context searches may take: OpenAI's `low`, `medium`, `high`.
    pub context_size: Option<String>,
}

/// Whether a tool is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model sees fit.
    Auto,
    /// None.
    None,
    /// At least one, whichever.
    Required,
    /// This one.
    Named(String),
    /// One of these.
    Among {
        /// At least one of them must be called.
        required: bool,
        /// The tools.
        names: Vec<String>,
    },
}

/// Sampling.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// The temperature.
    pub temperature: Option<f64>,
    /// The nucleus threshold.
    pub top_p: Option<f64>,
    /// How many of the likeliest tokens are looked at.
    pub top_k: Option<u64>,
    /// The penalty for tokens that were there.
    pub presence_penalty: Option<f64>,
    /// The penalty for tokens by how often they were there.
    pub frequency_penalty: Option<f64>,
    /// For answers that repeat.
    pub seed: Option<i64>,
}

/// How much a model is to think.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// At most so many tokens.
    pub budget: Option<u64>,
    /// So hard.
    pub effort: Option<Effort>,
    /// It decides itself how much.
    pub adaptive: bool,
    /// It shall not think.
    pub off: bool,
    /// What it thought is to be told, at least in summary.
    pub told: Option<bool>,
}

impl Reasoning {
    /// How hard, by name: the one given, or the step its budget stands for.
    pub fn effort(&self) -> Option<Effort> {
        if self.off {
            return Some(Effort::None);
        }
        self.effort.or_else(|| self.budget.map(Effort::from_budget))
    }

    /// How many tokens, at most: the number given, or the one its effort stands for. `None` if the model shall not think, or
    /// decides itself.
    pub fn budget(&self) -> Option<u64> {
        if self.off || self.adaptive && self.effort.is_none() {
            return None;
        }
        self.budget.or_else(|| self.effort.and_then(Effort::budget))
    }
}

/// The form of the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// Which.
    pub format: ResponseFormat,
    /// The schema, with [`ResponseFormat::JsonSchema`].
    pub schema: Option<Json>,
    /// The name of the schema.
    pub name: Option<String>,
    /// What the schema is for.
    pub description: Option<String>,
    /// The answer is to match the schema exactly.
    pub strict: Option<bool>,
    /// How long-winded: OpenAI's `low`, `medium`, `high`.
    pub verbosity: Option<String>,
    /// The answer is to have images.
    pub images: Option<ImageOutput>,
}

/// The images of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageOutput {
    /// Width to height, such as `16:9`.
    pub aspect_ratio: Option<String>,
    /// How large: Google's `1K`, `2K`, `4K`.
    pub size: Option<String>,
}

impl Request {
    /// Has the user say something if nobody does: most formats want a conversation beside the operator's words.
    pub(crate) fn ask_something(&mut self) {
        let says_nothing = |part: &Part| matches!(part, Part::Text(text) if text.text.is_empty());
        if self.messages.iter().flat_map(|message| &message.parts).all(says_nothing) {
            let parts = vec![Part::Text(Text::plain("Continue."))];
            self.messages = vec![Message { role: Role::User, parts }];
        }
    }

    /// The calls of the conversation by their ids, with the names of their tools.
    pub fn call_names(&self) -> std::collections::HashMap<&str, &str> {
        let parts = self.messages.iter().flat_map(|message| &message.parts);
        parts
            .filter_map(|part| match part {
                Part::ToolCall(call) => Some((call.id.as_str(), call.name.as_str())),
                _ => None,
            })
            .collect()
    }
}
