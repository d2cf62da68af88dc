//! What is known of OpenAI's models, by their names: what some take and others refuse. Of a model nobody knows the least is
//! believed.

use crate::request::facts::Effort;

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    /// It thinks: `gpt-5.2` is `(5, 2)`.
    Thinks(u64, u64),
    /// It thinks, and is of the family before.
    O,
    /// It does not think.
    Plain,
    /// Nobody knows.
    Unknown,
}

impl Model {
    /// The model with this name.
    pub(super) fn of(name: &str) -> Self {
        // Some providers write their name, or the vendor's, in front.
        let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        if ["gpt-3", "gpt-4", "chatgpt"].iter().any(|plain| name.starts_with(plain)) || name.contains("-chat") {
            return if name.starts_with("gpt-") || name.starts_with("chatgpt") { Self::Plain } else { Self::Unknown };
        }
        if ["o1", "o3", "o4"].iter().any(|family| name == *family || name.starts_with(&format!("{family}-"))) {
            return Self::O;
        }
        let Some(version) = name.strip_prefix("gpt-").or_else(|| name.strip_prefix("codex-")) else {
            return Self::Unknown;
        };
        let number: String = version.chars().take_while(|sign| sign.is_ascii_digit() || *sign == '.').collect();
        let mut numbers = number.split('.').map(|part| part.parse().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), minor) if major >= 5 => Self::Thinks(major, minor.unwrap_or(0)),
            _ => Self::Unknown,
        }
    }

    /// Whether it thinks, asked or not.
    pub(super) fn thinks(self) -> bool {
        matches!(self, Self::Thinks(..) | Self::O)
    }

    /// Whether it can be told how to choose its words.
    pub(super) fn takes_sampling(self) -> bool {
        !self.thinks()
    }

    /// The word for an effort that comes closest; `None` if it is better to say nothing.
    pub(super) fn effort(self, effort: Effort) -> Option<&'static str> {
        let version = match self {
            Self::Thinks(major, minor) => (major, minor),
            Self::O => (0, 0),
            Self::Plain => return None,
            Self::Unknown => {
                return match effort {
                    Effort::None => None,
                    Effort::Minimal | Effort::Low => Some("low"),
                    Effort::Medium => Some("medium"),
                    Effort::High | Effort::Xhigh | Effort::Max => Some("high"),
                };
            }
        };
        Some(match effort {
            Effort::None if version >= (5, 1) => "none",
            Effort::None | Effort::Minimal if version == (5, 0) => "minimal",
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::Max if version >= (5, 6) => "max",
            Effort::Xhigh | Effort::Max if version >= (5, 2) => "xhigh",
            Effort::High | Effort::Xhigh | Effort::Max => "high",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_by_their_names() {
        for (name, model) in [
            ("gpt-5", Model::Thinks(5, 0)),
            ("gpt-5-mini-2025-08-07", Model::Thinks(5, 0)),
            ("gpt-5.2-codex", Model::Thinks(5, 2)),
            ("openai/gpt-6-sol", Model::Thinks(6, 0)),
            ("gpt-5-chat-latest", Model::Plain),
            ("gpt-4.1-mini", Model::Plain),
            ("chatgpt-4o-latest", Model::Plain),
            ("o3", Model::O),
            ("o4-mini", Model::O),
            ("openthinker", Model::Unknown),
            ("gpt-oss-120b", Model::Unknown),
            ("deepseek-chat", Model::Unknown),
        ] {
            assert_eq!(Model::of(name), model, "{name}");
        }
        assert_eq!(Model::of("gpt-5").effort(Effort::None), Some("minimal"));
        assert_eq!(Model::of("gpt-5.1").effort(Effort::Xhigh), Some("high"));
        assert_eq!(Model::of("gpt-5.2").effort(Effort::Max), Some("xhigh"));
        assert_eq!(Model::of("gpt-6-sol").effort(Effort::Max), Some("max"));
        assert_eq!(Model::of("gpt-6-sol").effort(Effort::None), Some("none"));
        assert_eq!(Model::of("o3").effort(Effort::Minimal), Some("low"));
        assert_eq!(Model::of("gpt-4o").effort(Effort::High), None);
        assert_eq!(Model::of("mine").effort(Effort::None), None);
    }
}
