//! Patterns of the names of tools.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use systemprompt_model::pattern::{InvalidPattern, Pattern};

/// A pattern of tools: a word of their names, or the whole name with `*` and `?` in it. Letter case does not matter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ToolPattern {
    /// One of the words a name is made of.
    Word(String),
    /// All of the name.
    Name(Pattern),
}

impl ToolPattern {
    pub(crate) fn fits(&self, name: &str) -> bool {
        match self {
            Self::Word(wanted) => words(name).any(|word| word.eq_ignore_ascii_case(wanted)),
            Self::Name(pattern) => pattern.fits(name),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Name(pattern) => pattern.as_str(),
        }
    }
}

impl TryFrom<String> for ToolPattern {
    type Error = InvalidPattern;

    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        if Pattern::is_wild(&text) { Ok(Self::Name(Pattern::ignoring_case(&text)?)) } else { Ok(Self::Word(text)) }
    }
}

impl From<ToolPattern> for String {
    fn from(pattern: ToolPattern) -> Self {
        pattern.as_str().to_owned()
    }
}

impl PartialEq for ToolPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ToolPattern {}

impl JsonSchema for ToolPattern {
    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

/// The words of `mcp__db__drop_table`, `dropTable` and `DBDropTable`.
pub(crate) fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(|character: char| !character.is_alphanumeric()).flat_map(|part| {
        let mut starts: Vec<usize> = vec![0];
        let characters: Vec<(usize, char)> = part.char_indices().collect();
        for at in 1..characters.len() {
            let (previous, (index, this)) = (characters[at - 1].1, characters[at]);
            let next_is_lower = characters.get(at + 1).is_some_and(|(_, next)| next.is_lowercase());
            if this.is_uppercase() && (previous.is_lowercase() || next_is_lower) {
                starts.push(index);
            }
        }
        starts.push(part.len());
        (1..starts.len())
            .map(move |at| &part[starts[at - 1]..starts[at]])
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_word_is_a_whole_word() {
        for (pattern, name, expected) in [
            ("delete", "delete_records", true),
            ("delete", "mcp__db__delete", true),
            ("delete", "recordsDelete", true),
            ("drop", "dropTable", true),
            ("drop", "DBDropTable", true),
            ("drop", "DROP", true),
            ("drop", "dropdown_options", false),
            ("delete", "undelete_records", false),
            ("mcp__db__*", "mcp__db__read", true),
            ("*DROP*", "dropdown", true),
            ("mcp__db__*", "mcp__files__read", false),
        ] {
            assert_eq!(ToolPattern::try_from(pattern.to_owned()).unwrap().fits(name), expected, "{pattern} {name}");
        }
    }
}
