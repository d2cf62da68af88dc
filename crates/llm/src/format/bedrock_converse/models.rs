//! What the models on Bedrock take, told by their ids: `us.anthropic.claude-…`, `amazon.nova-2-lite-v1:0`, or an ARN with such
//! an id in it.

use serde_json::{Map, Value, json};

use crate::format::claude::Model as Claude;
use crate::neutral::Reasoning;
use crate::request::facts::Effort;

/// Whose model it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// Anthropic's.
    Claude(Claude),
    /// Amazon's. Those of the second generation think.
    Nova(bool),
    /// OpenAI's open ones.
    GptOss,
    /// Another's.
    Other,
}

impl Model {
    /// By its id.
    pub(super) fn of(id: &str) -> Self {
        let id = id.to_ascii_lowercase();
        if id.contains("claude") {
            Self::Claude(Claude::of(&id))
        } else if id.contains("nova") {
            Self::Nova(id.contains("nova-2"))
        } else if id.contains("gpt-oss") {
            Self::GptOss
        } else {
            Self::Other
        }
    }

    /// Prompts can be cached up to a mark.
    pub(super) fn takes_cache_points(self) -> bool {
        matches!(self, Self::Claude(_) | Self::Nova(_))
    }

    /// Its answers can be held to a schema.
    pub(super) fn takes_schemas(self) -> bool {
        match self {
            Self::Claude(model) => model.takes_schemas(),
            Self::Nova(_) => false,
            Self::GptOss | Self::Other => true,
        }
    }

    /// It can be told how to sample.
    pub(super) fn takes_sampling(self) -> bool {
        !matches!(self, Self::Claude(model) if !model.takes_sampling())
    }

    /// It takes a temperature or a nucleus threshold, and not both.
    pub(super) fn takes_one_of_sampling(self) -> bool {
        matches!(self, Self::Claude(model) if model.takes_one_of_sampling())
    }

    /// It goes on from the beginning of an answer.
    pub(super) fn takes_prefill(self) -> bool {
        matches!(self, Self::Claude(model) if model.takes_prefill()) || matches!(self, Self::Nova(_))
    }

    /// It can be made to call a tool.
    pub(super) fn takes_forced_tools(self) -> bool {
        !matches!(self, Self::Claude(model) if !model.takes_forced_tools())
    }

    /// The setting for how many of the likeliest tokens it looks at; `None` if there is none.
    pub(super) fn top_k(self, top: u64, fields: &mut Map<String, Value>) -> bool {
        match self {
            Self::Claude(_) => fields.insert("top_k".to_owned(), top.into()),
            Self::Nova(_) => fields.insert("inferenceConfig".to_owned(), json!({ "topK": top })),
            Self::GptOss | Self::Other => return false,
        };
        true
    }

    /// The settings for how much it thinks, in its vendor's own words; whether it can be told.
    pub(super) fn thinking(
        self,
        reasoning: Reasoning,
        limit: Option<u64>,
        most: Option<u64>,
        fields: &mut Map<String, Value>,
    ) -> bool {
        let off = reasoning.off || reasoning.effort == Some(Effort::None);
        match self {
            Self::Claude(model) if off => {
                if model.thinks_by_default() && !model.always_thinks() {
                    fields.insert("thinking".to_owned(), json!({ "type": "disabled" }));
                }
                !model.always_thinks()
            }
            Self::Claude(model) => {
                let adaptively = model.only_adaptively()
                    || model.thinks_adaptively() && (reasoning.adaptive || reasoning.budget.is_none());
                if adaptively {
                    fields.insert("thinking".to_owned(), json!({ "type": "adaptive" }));
                    if let Some(word) = reasoning.effort().and_then(effort).filter(|_| model.takes_effort()) {
                        fields.insert("output_config".to_owned(), json!({ "effort": word }));
                    }
                    return true;
                }
                let asked = reasoning.budget().unwrap_or(4_096);
                // It is a part of the answer's length, and there is a least.
                let most = most.unwrap_or(u64::MAX).min(limit.map_or(u64::MAX, |limit| limit.saturating_sub(1)));
                let budget = asked.max(LEAST_THINKING).min(most);
                if budget < LEAST_THINKING {
                    return false;
                }
                fields.insert("thinking".to_owned(), json!({ "type": "enabled", "budget_tokens": budget }));
                true
            }
            Self::Nova(true) if off => true,
            Self::Nova(true) => {
                let word = reasoning.effort().and_then(effort).unwrap_or("medium");
                fields.insert("reasoningConfig".to_owned(), json!({ "type": "enabled", "maxReasoningEffort": word }));
                true
            }
            Self::GptOss => {
                let word = reasoning.effort().and_then(effort).unwrap_or(if off { "low" } else { "medium" });
                fields.insert("reasoning_effort".to_owned(), word.into());
                !off
            }
            Self::Nova(false) | Self::Other => off,
        }
    }
}

/// The least a Claude thinks, in tokens.
const LEAST_THINKING: u64 = 1_024;

fn effort(effort: Effort) -> Option<&'static str> {
    Some(match effort {
        Effort::None => return None,
        Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_to_think_is_said_in_the_words_of_the_vendor() {
        let budget = Reasoning { budget: Some(20_000), ..Reasoning::default() };
        let high = Reasoning { effort: Some(Effort::High), ..Reasoning::default() };
        let off = Reasoning { off: true, ..Reasoning::default() };
        for (id, reasoning, expected, told) in [
            (
                "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
                budget,
                json!({ "thinking": { "type": "enabled", "budget_tokens": 7_999 } }),
                true,
            ),
            (
                "anthropic.claude-opus-4-7",
                high,
                json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "high" } }),
                true,
            ),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", off, json!({}), true),
            (
                "amazon.nova-2-lite-v1:0",
                high,
                json!({ "reasoningConfig": { "type": "enabled", "maxReasoningEffort": "high" } }),
                true,
            ),
            ("amazon.nova-pro-v1:0", high, json!({}), false),
            ("openai.gpt-oss-120b-1:0", off, json!({ "reasoning_effort": "low" }), false),
            ("meta.llama4", high, json!({}), false),
        ] {
            let mut fields = Map::new();
            assert_eq!(Model::of(id).thinking(reasoning, Some(8_000), None, &mut fields), told, "{id}");
            assert_eq!(Value::from(fields), expected, "{id}");
        }
    }
}
