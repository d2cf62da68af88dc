//! What the models of OpenAI take, told by their names. Others, at providers that are merely compatible, take what their
//! servers take.

use crate::request::facts::Effort;

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// One that thinks before it answers, with its version in tenths: `o1` and its like have none.
    Reasoning(Option<u32>),
    /// One that does not.
    Plain,
    /// One that is not OpenAI's, and whether its family is known to think. A server whose model does not may refuse to be
    /// told how hard it shall.
    Other(bool),
}

/// Words in the names of models of others that think.
const THINKERS: [&str; 14] = [
    "claude",
    "deepseek",
    "gemini-2.5",
    "gemini-3",
    "glm",
    "gpt-oss",
    "grok-3-mini",
    "kimi",
    "magistral",
    "minimax",
    "qwen3",
    "qwq",
    "reason",
    "think",
];

impl Model {
    /// By its name.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.rsplit('/').next().unwrap_or(&name);
        if ["o1", "o3", "o4"].into_iter().any(|family| name == family || name.starts_with(&format!("{family}-"))) {
            return Self::Reasoning(None);
        }
        if name.starts_with("chatgpt-4o") || name.contains("-chat-latest") {
            return Self::Plain;
        }
        let other = || Self::Other(THINKERS.iter().any(|word| name.contains(word)));
        let Some(version) = name.strip_prefix("gpt-") else { return other() };
        let digits: String = version.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
        let (major, minor) = digits.split_once('.').unwrap_or((&digits, "0"));
        match (major.parse::<u32>(), minor.parse::<u32>()) {
            (Ok(major @ 5..), minor) => Self::Reasoning(Some(major * 10 + minor.unwrap_or(0).min(9))),
            (Ok(_), _) => Self::Plain,
            (Err(_), _) => other(),
        }
    }

    /// It thinks, asked or not.
    pub(crate) fn thinks(self) -> bool {
        matches!(self, Self::Reasoning(_))
    }

    /// The word for how hard it thinks; `None` if it cannot be told that.
    pub(crate) fn effort(self, effort: Effort) -> Option<&'static str> {
        let has_none = match self {
            Self::Plain | Self::Other(false) => return None,
            // What not every one of them understands is better left to it.
            Self::Other(true) if effort == Effort::None => return None,
            Self::Other(true) => false,
            Self::Reasoning(version) => version.is_some_and(|version| version > 50),
        };
        Some(match effort {
            Effort::None if has_none => "none",
            Effort::None | Effort::Minimal if self == Self::Reasoning(Some(50)) => "minimal",
            Effort::None | Effort::Minimal | Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::Xhigh | Effort::Max if matches!(self, Self::Reasoning(Some(52..))) => "xhigh",
            Effort::High | Effort::Xhigh | Effort::Max => "high",
        })
    }

    /// It can be told how to sample, and where to stop, when it thinks this hard. Models that think take neither.
    pub(crate) fn takes_sampling(self, effort: Option<&str>) -> bool {
        match self {
            Self::Reasoning(Some(51..)) => effort.is_none_or(|effort| effort == "none"),
            Self::Reasoning(_) => false,
            Self::Plain | Self::Other(_) => true,
        }
    }

    /// It takes texts that end the answer.
    pub(crate) fn takes_stop(self) -> bool {
        !self.thinks()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_model_takes() {
        for (name, model) in [
            ("gpt-5", Model::Reasoning(Some(50))),
            ("gpt-5-mini-2025-08-07", Model::Reasoning(Some(50))),
            ("openai/gpt-5.2", Model::Reasoning(Some(52))),
            ("gpt-5.6-sol", Model::Reasoning(Some(56))),
            ("gpt-6-sol", Model::Reasoning(Some(60))),
            ("gpt-5-chat-latest", Model::Plain),
            ("gpt-4.1-mini", Model::Plain),
            ("gpt-4o", Model::Plain),
            ("o3", Model::Reasoning(None)),
            ("o4-mini", Model::Reasoning(None)),
            ("openai/gpt-oss-120b", Model::Other(true)),
            ("deepseek-reasoner", Model::Other(true)),
            ("llama-3.3-70b", Model::Other(false)),
        ] {
            assert_eq!(Model::of(name), model, "{name}");
        }
        assert_eq!(Model::of("gpt-5").effort(Effort::None), Some("minimal"));
        assert_eq!(Model::of("gpt-5.1").effort(Effort::None), Some("none"));
        assert_eq!(Model::of("gpt-5.2").effort(Effort::Max), Some("xhigh"));
        assert_eq!(Model::of("gpt-4o").effort(Effort::High), None);
        assert_eq!(Model::of("llama-3.3-70b").effort(Effort::High), None);
        assert_eq!(Model::of("qwen3-coder").effort(Effort::Max), Some("high"));
        assert_eq!(Model::of("qwen3-coder").effort(Effort::None), None);
    }
}
