//! Facts of a request that mean the same in every format.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest name of a model, in bytes.
pub(crate) const LONGEST_MODEL: usize = 256;

/// How hard a model is asked to think. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Not at all.
    None,
    /// As little as the model can.
    Minimal,
    /// Little.
    Low,
    /// The usual amount.
    Medium,
    /// Much.
    High,
    /// More than `high`.
    Xhigh,
    /// As much as the model can.
    Max,
}

impl Effort {
    /// Reads a name; `None` if it is none we know.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::None),
            "minimal" => Some(Self::Minimal),
            "low" => Some(Self::Low),
            "medium" => Some(Self::Medium),
            "high" => Some(Self::High),
            "xhigh" => Some(Self::Xhigh),
            "max" => Some(Self::Max),
            _ => None,
        }
    }

    /// The thinking budget, in tokens, that stands for an effort; `None` for not thinking at all.
    pub(crate) fn budget(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Minimal | Self::Low => Some(1_024),
            Self::Medium => Some(4_096),
            Self::High => Some(16_384),
            Self::Xhigh | Self::Max => Some(32_768),
        }
    }

    /// The steps at which a thinking budget, in tokens, stands for an effort.
    pub(crate) fn from_budget(tokens: u64) -> Self {
        match tokens {
            16_384.. => Self::High,
            4_096.. => Self::Medium,
            _ => Self::Low,
        }
    }
}

/// The form an answer must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Free text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that matches a schema.
    JsonSchema,
}
