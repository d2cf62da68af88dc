//! What the generations of Claude take, told by a model's name.
//!
//! Names have their numbers behind the family (`claude-opus-4-7`, `anthropic.claude-haiku-4-5-20251001-v1:0`) or before it
//! (`claude-3-7-sonnet-20250219`). A model that is no Claude, at a provider that is merely compatible, has none.

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Model {
    version: Option<(u32, u32)>,
    family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Fable,
    Opus,
    Sonnet,
    Haiku,
    Other,
}

impl Model {
    /// By its name.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let Some(at) = name.find("claude") else { return Self { version: None, family: Family::Other } };
        let name = &name[at..];
        let family = [
            ("fable", Family::Fable),
            ("mythos", Family::Fable),
            ("opus", Family::Opus),
            ("sonnet", Family::Sonnet),
            ("haiku", Family::Haiku),
        ];
        let family =
            family.into_iter().find(|(word, _)| name.contains(word)).map_or(Family::Other, |(_, family)| family);
        // The number behind a version is a date with eight digits, or none.
        let number = |word: &str| (1..=2).contains(&word.len()).then(|| word.parse::<u32>().ok()).flatten();
        let mut words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
        let version = words.find_map(number).map(|major| (major, words.next().and_then(number).unwrap_or(0)));
        // The preview of the first of them had no number.
        Self { version: version.or((family == Family::Fable).then_some((4, 7))), family }
    }

    fn since(self, version: (u32, u32)) -> bool {
        self.version.is_some_and(|own| own >= version)
    }

    /// It decides itself how much it thinks, if it is told to.
    pub(crate) fn thinks_adaptively(self) -> bool {
        self.since((4, 6))
    }

    /// It takes no budget for its thinking.
    pub(crate) fn only_adaptively(self) -> bool {
        self.since((4, 7))
    }

    /// It thinks if it is not told otherwise.
    pub(crate) fn thinks_by_default(self) -> bool {
        self.since((5, 0))
    }

    /// It cannot be told not to think.
    pub(crate) fn always_thinks(self) -> bool {
        self.family == Family::Fable || self.since((5, 5)) && self.family != Family::Haiku
    }

    /// It can be told how hard to try.
    pub(crate) fn takes_effort(self) -> bool {
        self.since((4, 6)) || self.family == Family::Opus && self.since((4, 5))
    }

    /// It knows an effort above `high` and below `max`.
    pub(crate) fn takes_xhigh(self) -> bool {
        self.since((4, 7))
    }

    /// It can be told how to sample.
    pub(crate) fn takes_sampling(self) -> bool {
        !self.since((4, 7))
    }

    /// It takes a temperature or a nucleus threshold, and not both.
    pub(crate) fn takes_one_of_sampling(self) -> bool {
        self.since((4, 1))
    }

    /// It goes on from the beginning of an answer.
    pub(crate) fn takes_prefill(self) -> bool {
        !self.since((4, 6))
    }

    /// It can be made to call a tool.
    pub(crate) fn takes_forced_tools(self) -> bool {
        !self.since((5, 5)) && self.family != Family::Fable
    }

    /// Its answers and the inputs of its tools can be held to a schema.
    pub(crate) fn takes_schemas(self) -> bool {
        self.since((4, 5)) || self.family == Family::Opus && self.since((4, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_generation() {
        for (name, version) in [
            ("claude-opus-4-7", Some((4, 7))),
            ("claude-haiku-4-5-20251001", Some((4, 5))),
            ("us.anthropic.claude-sonnet-4-20250514-v1:0", Some((4, 0))),
            ("claude-3-7-sonnet-20250219", Some((3, 7))),
            ("claude-sonnet-4-5@20250929", Some((4, 5))),
            ("anthropic/claude-opus-4.6", Some((4, 6))),
            ("claude-fable-5-1", Some((5, 1))),
            ("claude-opus-5", Some((5, 0))),
            ("claude-mythos-preview", Some((4, 7))),
            ("kimi-k2", None),
        ] {
            assert_eq!(Model::of(name).version, version, "{name}");
        }
        assert!(Model::of("claude-opus-4-5").takes_effort());
        assert!(!Model::of("claude-sonnet-4-5").takes_effort());
        assert!(!Model::of("claude-sonnet-4-6").only_adaptively());
        assert!(Model::of("claude-fable-5").always_thinks());
        assert!(!Model::of("claude-haiku-5-5").always_thinks());
        assert!(Model::of("gpt-5").takes_sampling() && Model::of("gpt-5").takes_prefill());
    }
}
