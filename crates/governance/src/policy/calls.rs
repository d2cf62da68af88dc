//! Whether a tool call is one a rule is about.

use std::cell::OnceCell;

use regex::Regex;
use serde_json::Value;
use systemprompt_model::pattern::Pattern;

use super::destructive::{self, Destroys};

use crate::config::{ArgumentCondition, CallRule, ToolPattern};

/// Rules about calls, ready to be asked.
pub(crate) struct Calls(Vec<Rule>);

struct Rule {
    tools: Vec<ToolPattern>,
    /// Only what destroys.
    destructive: bool,
    when: Vec<Condition>,
    admins: bool,
    reason: Option<String>,
}

struct Condition {
    /// Absent: every text.
    path: Option<Vec<String>>,
    test: Test,
}

enum Test {
    Equals(Value),
    Contains(String),
    Glob(Pattern),
    Regex(Regex),
    /// What was written cannot be understood, which was told as a flaw: it holds, so that the rule is not lost.
    Always,
}

/// A rule that is about a call.
pub(crate) struct Hit<'a> {
    /// Its number in the list, from 1.
    pub(crate) number: usize,
    /// Why, if its author said so.
    pub(crate) reason: Option<&'a str>,
    /// Why it destroys, if the rule is about that.
    pub(crate) destroys: Option<Destroys>,
}

impl Hit<'_> {
    /// Which rule it is, in words.
    pub(crate) fn why(&self) -> String {
        match (self.reason, self.destroys) {
            (Some(reason), _) => reason.to_owned(),
            (None, Some(destroys)) => format!("rule {}: {destroys}", self.number),
            (None, None) => format!("rule {}", self.number),
        }
    }
}

impl Calls {
    pub(crate) fn new(rules: &[CallRule]) -> Self {
        let rules = rules.iter().map(|rule| Rule {
            tools: rule.tools.clone(),
            destructive: rule.destructive,
            when: rule.when.iter().map(Condition::new).collect(),
            admins: rule.admins,
            reason: rule.reason.clone(),
        });
        Self(rules.collect())
    }

    /// Whether what it says may depend on the input.
    pub(crate) fn depends_on_input(&self) -> bool {
        self.0.iter().any(|rule| !rule.when.is_empty() || rule.destructive)
    }

    /// Whether a rule may be about a call of this tool, by whomever and with whatever input.
    pub(crate) fn may_be_about(&self, tool: &str) -> bool {
        self.0.iter().any(|rule| rule.is_about_tool(tool))
    }

    /// Whether a rule is about every call of this tool. `destructive` are those that are offered as such.
    pub(crate) fn are_about_all_of(&self, tool: &str, is_admin: bool, destructive: &[String]) -> bool {
        let is_one = |rule: &Rule| !rule.destructive || destructive::by_tool(tool, destructive).is_some();
        self.0.iter().any(|rule| rule.when.is_empty() && rule.is_about(tool, is_admin) && is_one(rule))
    }

    /// The first rule that is about a call of this tool with this input. `destructive` are the tools that are offered as such.
    pub(crate) fn find(&self, tool: &str, input: &[u8], is_admin: bool, destructive: &[String]) -> Option<Hit<'_>> {
        // Read at most once, and only if a rule asks for it.
        let read: OnceCell<Option<Value>> = OnceCell::new();
        let read = || read.get_or_init(|| serde_json::from_slice(input).ok()).as_ref();
        self.0.iter().enumerate().find_map(|(at, rule)| {
            let holds = |condition: &Condition| read().is_none_or(|input| condition.holds(input));
            if !rule.is_about(tool, is_admin) || !rule.when.iter().all(holds) {
                return None;
            }
            let destroys = if rule.destructive { Some(destructive::by_call(tool, read(), destructive)?) } else { None };
            Some(Hit { number: at + 1, reason: rule.reason.as_deref(), destroys })
        })
    }
}

impl Rule {
    fn is_about_tool(&self, tool: &str) -> bool {
        self.tools.is_empty() || self.tools.iter().any(|pattern| pattern.fits(tool))
    }

    fn is_about(&self, tool: &str, is_admin: bool) -> bool {
        (self.admins || !is_admin) && self.is_about_tool(tool)
    }
}

impl Condition {
    fn new(condition: &ArgumentCondition) -> Self {
        let ArgumentCondition { path, equals, contains, glob, regex } = condition;
        let test = match (equals, contains, glob, regex) {
            (Some(value), ..) => Some(Test::Equals(written_one_way(value.clone()))),
            (_, Some(text), ..) => Some(Test::Contains(text.clone())),
            (_, _, Some(glob), _) => Pattern::ignoring_case(glob).ok().map(Test::Glob),
            (_, _, _, Some(regex)) => Regex::new(regex).ok().map(Test::Regex),
            _ => None,
        };
        let path = path.as_ref().map(|path| path.split('.').map(str::to_owned).collect());
        Self { path, test: test.unwrap_or(Test::Always) }
    }

    fn holds(&self, input: &Value) -> bool {
        match &self.path {
            Some(path) => self.holds_at(input, path),
            None => self.holds_anywhere(input),
        }
    }

    fn holds_at(&self, value: &Value, path: &[String]) -> bool {
        let Some((step, rest)) = path.split_first() else { return self.test.holds(value) };
        match value {
            Value::Object(map) if step == "*" => map.values().any(|value| self.holds_at(value, rest)),
            Value::Array(items) if step == "*" => items.iter().any(|value| self.holds_at(value, rest)),
            Value::Object(map) => map.get(step).is_some_and(|value| self.holds_at(value, rest)),
            Value::Array(items) => step
                .parse()
                .ok()
                .and_then(|index: usize| items.get(index))
                .is_some_and(|value| self.holds_at(value, rest)),
            _ => false,
        }
    }

    fn holds_anywhere(&self, value: &Value) -> bool {
        match value {
            Value::Object(map) => map.values().any(|value| self.holds_anywhere(value)),
            Value::Array(items) => items.iter().any(|value| self.holds_anywhere(value)),
            leaf => self.test.holds(leaf),
        }
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        let one_way = || written_one_way(value.clone());
        // What is no text is compared by how it is written, and by how it could be.
        let is_text_that = |fits: &dyn Fn(&str) -> bool| match value {
            Value::String(text) => fits(text),
            other => fits(&other.to_string()) || fits(&one_way().to_string()),
        };
        match self {
            Self::Equals(wanted) => one_way() == *wanted,
            Self::Contains(wanted) => is_text_that(&|text| text.contains(wanted)),
            Self::Glob(pattern) => is_text_that(&|text| pattern.fits(text)),
            Self::Regex(regex) => is_text_that(&|text| regex.is_match(text)),
            Self::Always => true,
        }
    }
}

/// Below this, JavaScript writes `1.0` as `1` and both mean the same.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The same value, of which there is one way to write it: what a model says and a client reads and writes again is one, and
/// `22.0` is the port 22.
pub(super) fn written_one_way(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.into_iter().collect();
            members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            members.into_iter().map(|(key, value)| (key, written_one_way(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(written_one_way).collect(),
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 && whole.abs() < EXACT => Value::from(whole as i64),
            _ => Value::Number(number),
        },
        other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(rule: Value) -> Calls {
        Calls::new(&[serde_json::from_value(rule).expect("a rule")])
    }

    #[test]
    fn a_rule_is_about_tools_and_what_they_are_asked_to_do() {
        let force = json!({"tools": ["Bash"], "when": [{"path": "command", "regex": r"\bgit\s+push\b.*--force"}]});
        let system = json!({"tools": ["Write", "Edit"], "when": [{"path": "file_path", "glob": "/etc/*"}]});
        let nested =
            json!({"when": [{"path": "edits.*.path", "contains": "secrets"}, {"path": "dry_run", "equals": false}]});
        let anywhere = json!({"when": [{"contains": "prod-db"}]});
        let float = json!({"when": [{"path": "port", "equals": 22.0}]});
        let version = json!({"when": [{"path": "version", "contains": "2.0"}]});
        let whole = json!({"when": [{"path": "port", "regex": "^22$"}]});
        let indexed = json!({"tools": ["mcp__db__*"], "when": [{"path": "args.0", "equals": 7}]});
        for (about, tool, input, expected) in [
            (&force, "Bash", json!({"command": "git push origin --force"}), true),
            (&force, "Bash", json!({"command": "git push origin"}), false),
            (&force, "BashOutput", json!({"command": "git push --force"}), true),
            (&force, "Read", json!({"command": "git push --force"}), false),
            (&system, "Write", json!({"file_path": "/ETC/passwd"}), true),
            (&system, "Write", json!({"file_path": "/home/etc"}), false),
            (&system, "Write", json!({}), false),
            (&nested, "any", json!({"edits": [{"path": "a"}, {"path": "x/secrets"}], "dry_run": false}), true),
            (&nested, "any", json!({"edits": [{"path": "x/secrets"}], "dry_run": true}), false),
            (&anywhere, "any", json!({"deep": [{"host": "prod-db-1"}]}), true),
            (&anywhere, "any", json!({"prod-db": 1}), false),
            (&indexed, "mcp__db__run", json!({"args": [7]}), true),
            (&indexed, "mcp__db__run", json!({"args": [8, 7]}), false),
            (&indexed, "mcp__db__run", json!({"args": [7.0]}), true),
            (&indexed, "mcp__db__run", json!({"args": [7.5]}), false),
            (&float, "any", json!({"port": 22}), true),
            (&float, "any", json!({"port": "22"}), false),
            (&whole, "any", json!({"port": 22.0}), true),
            (&whole, "any", json!({"port": 2220}), false),
            (&version, "any", json!({"version": 2.0}), true),
        ] {
            let calls = rule(about.clone());
            let hit = calls.find(tool, input.to_string().as_bytes(), false, &[]);
            assert_eq!(hit.is_some(), expected, "{about} {tool} {input}");
        }
        // What cannot be read may be anything.
        assert!(rule(force.clone()).find("Bash", b"{\"command\"", false, &[]).is_some());
    }

    #[test]
    fn administrators_are_exempt_unless_a_rule_says_otherwise() {
        let about = |admins: bool| rule(json!({"tools": ["*"], "admins": admins, "reason": "house rule"}));
        assert!(about(false).find("Bash", b"{}", true, &[]).is_none());
        let hit = about(true);
        assert_eq!(
            hit.find("Bash", b"{}", true, &[]).map(|hit| (hit.number, hit.reason)),
            Some((1, Some("house rule")))
        );
    }

    #[test]
    fn a_rule_may_be_about_what_destroys_only() {
        let calls = rule(json!({"destructive": true}));
        let offered = ["merge".to_owned()];
        let why = |tool: &str, input: Value| {
            calls.find(tool, input.to_string().as_bytes(), false, &offered).map(|hit| hit.why())
        };
        assert_eq!(why("merge", json!({})).as_deref(), Some("rule 1: the tool is offered as destructive"));
        assert_eq!(why("dropTable", json!({})).as_deref(), Some("rule 1: the tool's name has the word `drop`"));
        assert_eq!(why("Bash", json!({"command": "rm -rf x"})).as_deref(), Some("rule 1: it deletes files"));
        assert_eq!(why("Bash", json!({"command": "ls"})), None);
        assert!(calls.find("Bash", b"{\"command", false, &[]).is_some(), "what cannot be read may be anything");
        assert!(calls.find("Read", b"{\"file", false, &[]).is_none());
        assert!(calls.are_about_all_of("merge", false, &offered) && !calls.are_about_all_of("Bash", false, &offered));
        let narrower =
            rule(json!({"destructive": true, "tools": ["mcp__*"], "when": [{"path": "env", "equals": "prod"}]}));
        let input = |env: &str| json!({"env": env}).to_string();
        assert!(narrower.find("mcp__db__drop", input("prod").as_bytes(), false, &[]).is_some());
        assert!(narrower.find("mcp__db__drop", input("test").as_bytes(), false, &[]).is_none());
        assert!(narrower.find("drop", input("prod").as_bytes(), false, &[]).is_none());
    }
}
