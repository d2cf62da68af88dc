//! The models as Codex lists them.
//!
//! Codex asks for the list with its version in the query, and reads of each model what it needs to work with it, its
//! instructions included. What it is told wins over what it knows of its vendor's models, and it knows that better; so it is
//! told of the others only. Of a model it is told nothing of, it warns, and guesses.

use schemars::JsonSchema;
use serde::Serialize;

use crate::routing::Listed;

/// How Codex is to work with models that are not its vendor's.
const INSTRUCTIONS: &str = include_str!("codex.md");
/// Names of the models of Codex's vendor.
const OF_ITS_VENDOR: [&str; 6] = ["gpt-", "o1", "o3", "o4", "codex-", "chatgpt-"];
/// Its vendor's models come first.
const FIRST_PRIORITY: usize = 100;
/// The most of what a tool says that a model gets to see, in tokens.
const TOOL_OUTPUT_TOKENS: u32 = 10_000;

/// How hard a model that thinks can be made to, weakest first.
const EFFORTS: [Effort; 3] = [
    Effort { effort: "low", description: "Thinks little and answers soon" },
    Effort { effort: "medium", description: "Thinks as much as most tasks need" },
    Effort { effort: "high", description: "Thinks long about what is hard" },
];

/// A model, in the form that Codex reads.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the fields that Codex reads")]
pub(super) struct CodexModel {
    slug: String,
    display_name: String,
    description: Option<String>,
    default_reasoning_level: Option<&'static str>,
    supported_reasoning_levels: Vec<Effort>,
    shell_type: &'static str,
    visibility: &'static str,
    supported_in_api: bool,
    priority: usize,
    availability_nux: Option<String>,
    upgrade: Option<String>,
    base_instructions: &'static str,
    supports_reasoning_summaries: bool,
    support_verbosity: bool,
    default_verbosity: Option<&'static str>,
    apply_patch_tool_type: Option<&'static str>,
    truncation_policy: Truncation,
    supports_parallel_tool_calls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context_window: Option<u64>,
    experimental_supported_tools: [&'static str; 0],
    input_modalities: Vec<&'static str>,
}

/// How hard a model thinks.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
struct Effort {
    effort: &'static str,
    description: &'static str,
}

/// What of a tool's output is kept.
#[derive(Debug, Serialize, JsonSchema)]
struct Truncation {
    mode: &'static str,
    limit: u32,
}

/// Those of the models that Codex does not know better, in their order.
pub(super) fn models(listed: &[&Listed]) -> Vec<CodexModel> {
    let others = listed.iter().filter(|listed| {
        let id = listed.model.id.as_str();
        !OF_ITS_VENDOR.iter().any(|beginning| id.starts_with(beginning))
    });
    others.enumerate().map(|(at, listed)| CodexModel::of(listed, FIRST_PRIORITY + at)).collect()
}

impl CodexModel {
    fn of(listed: &Listed, priority: usize) -> Self {
        let model = &listed.model;
        let thinks = model.max_thinking_budget.is_some();
        Self {
            slug: model.id.clone(),
            display_name: model.display_name.clone(),
            description: Some(format!("offered by the gateway, from {}", listed.provider.name)),
            default_reasoning_level: thinks.then_some("medium"),
            supported_reasoning_levels: if thinks { EFFORTS.to_vec() } else { Vec::new() },
            shell_type: "unified_exec",
            visibility: "list",
            supported_in_api: true,
            priority,
            availability_nux: None,
            upgrade: None,
            base_instructions: INSTRUCTIONS,
            supports_reasoning_summaries: thinks,
            support_verbosity: false,
            default_verbosity: None,
            apply_patch_tool_type: None,
            truncation_policy: Truncation { mode: "tokens", limit: TOOL_OUTPUT_TOKENS },
            supports_parallel_tool_calls: model.capabilities.tools,
            context_window: model.context_window,
            experimental_supported_tools: [],
            input_modalities: if model.capabilities.vision { vec!["text", "image"] } else { vec!["text"] },
        }
    }
}
