//! Which tool calls a policy is about: patterns of tools, and conditions on what they are asked to do.

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::pattern::Pattern;

use super::flaw::Flaw;
use super::tool_pattern::ToolPattern;

/// Calls of tools. A call fits if its tool fits one of `tools` and its input fulfils all of `when`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallRule {
    /// The tools: words of their names, or patterns of whole names with `*` and `?`; all tools if there are none. Letter
    /// case does not matter.
    pub tools: Vec<ToolPattern>,
    /// Only calls that destroy: of tools that are offered as destructive (the hint `destructiveHint` of MCP), of tools with a
    /// word like `delete` or `drop` in their name, and commands and statements that are known to, such as `rm -rf`, a forced
    /// push or `DROP TABLE`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub destructive: bool,
    /// Conditions on the input. A tool whose input is no JSON fulfils every one.
    pub when: Vec<ArgumentCondition>,
    /// Whether it is about administrators too.
    pub admins: bool,
    /// Why, for whoever is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A condition on the input of a tool: one of `equals`, `contains`, `glob` and `regex`. It holds if some value at `path`
/// fulfils it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ArgumentCondition {
    /// Where the value stands: keys and indexes with dots between, `*` for any of them, as in `edits.*.path`. Every text in
    /// the input if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The value is this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<serde_json::Value>,
    /// The text has this in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// The whole text fits this pattern with `*` and `?`. Letter case does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glob: Option<String>,
    /// The text has something in it that this regular expression finds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// What is said of what is no place in an input.
pub(super) const NO_PATH: &str = "must be keys and indexes with single dots between";

/// Whether it names a place in an input.
pub(super) fn is_path(path: &str) -> bool {
    path.split('.').all(|step| !step.is_empty())
}

impl CallRule {
    /// Everything that is wrong with it although it fits the schema.
    pub(crate) fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        if self.tools.is_empty() && self.when.is_empty() && !self.destructive {
            flaws.push(Flaw::new(at, "would be about every call; give it `tools`, `when` or `destructive`"));
        }
        for (index, _) in self.tools.iter().enumerate().filter(|(_, tool)| tool.as_str().trim().is_empty()) {
            flaws.push(Flaw::new(format!("{at}/tools/{index}"), "is empty and would match every tool; remove it"));
        }
        for (index, condition) in self.when.iter().enumerate() {
            condition.flaws(&format!("{at}/when/{index}"), flaws);
        }
    }
}

impl ArgumentCondition {
    fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        let tests = [self.equals.is_some(), self.contains.is_some(), self.glob.is_some(), self.regex.is_some()];
        if tests.into_iter().filter(|given| *given).count() != 1 {
            flaws.push(Flaw::new(at, "needs exactly one of `equals`, `contains`, `glob` and `regex`"));
        }
        if self.path.as_deref().is_some_and(|path| !is_path(path)) {
            flaws.push(Flaw::new(format!("{at}/path"), NO_PATH));
        }
        if self.contains.as_deref() == Some("") {
            flaws.push(Flaw::new(format!("{at}/contains"), "is empty and in every text"));
        }
        if let Some(Err(error)) = self.glob.as_deref().map(Pattern::ignoring_case) {
            flaws.push(Flaw::new(format!("{at}/glob"), error.to_string()));
        }
        if let Some(Err(error)) = self.regex.as_deref().map(Regex::new) {
            flaws.push(Flaw::new(format!("{at}/regex"), format!("is no regular expression: {error}")));
        }
    }
}
