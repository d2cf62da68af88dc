//! The settings of the policy `require_approval`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::access::no_such_role;
use super::call_rule::{CallRule, NO_PATH, is_path};
use super::flaw::Flaw;
use super::mode::PolicyMode;

/// `require_approval`: some calls wait until a second person has approved them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequireApprovalConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Overrides the mode of the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// The calls that wait.
    pub rules: Vec<CallRule>,
    /// Who decides, though never about a call of their own.
    #[serde(skip_serializing_if = "Approvers::is_default")]
    pub approvers: Approvers,
    /// The parts of the input by which one call is told from another: keys and indexes with dots between, `*` for any of them,
    /// as in `edits.*.path`. All of it if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Parts of the input that make no difference, written alike: a call is the same whatever stands there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// How long a call waits for somebody to decide, and how long what was decided holds, in seconds; 60 to 604800.
    pub ttl_secs: u32,
    /// Whether an approval is good for one call. Otherwise it is for all calls like it, until it expires.
    pub once: bool,
    /// What happens to an answer in which a model asks for such a call that nobody has approved.
    #[serde(skip_serializing_if = "ProposalMode::is_default")]
    pub proposals: ProposalMode,
}

/// Who decides about the calls that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Approvers {
    /// Whoever has one of these roles, over HTTP and with a key of their own. Administrators if there are none, who otherwise
    /// need one of the roles as well.
    pub roles: Vec<String>,
}

impl Approvers {
    fn is_default(&self) -> bool {
        self.roles.is_empty()
    }
}

/// What happens to an answer in which a model asks for a call that needs an approval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProposalMode {
    /// It is withheld, and the call waits.
    #[default]
    Hold,
    /// That is recorded: the client asks by a hook before it makes the call, and the call waits then.
    Note,
}

impl ProposalMode {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for RequireApprovalConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: None,
            rules: Vec::new(),
            approvers: Approvers::default(),
            arguments: Vec::new(),
            ignore: Vec::new(),
            ttl_secs: 3600,
            once: true,
            proposals: ProposalMode::Hold,
        }
    }
}

impl RequireApprovalConfig {
    /// Everything that is wrong with it although it fits the schema.
    pub(crate) fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        if !(60..=604_800).contains(&self.ttl_secs) {
            flaws.push(Flaw::new(format!("{at}/ttl_secs"), "must be between 60 and 604800 seconds"));
        }
        if self.enabled && self.rules.is_empty() {
            flaws.push(Flaw::new(format!("{at}/rules"), "is empty, so nothing would wait; say which calls do"));
        }
        if !self.arguments.is_empty() && !self.ignore.is_empty() {
            let message = "has no effect beside `arguments`, which says what counts; keep one of the two";
            flaws.push(Flaw::new(format!("{at}/ignore"), message));
        }
        for (list, paths) in [("arguments", &self.arguments), ("ignore", &self.ignore)] {
            for (index, _) in paths.iter().enumerate().filter(|(_, path)| !is_path(path)) {
                flaws.push(Flaw::new(format!("{at}/{list}/{index}"), NO_PATH));
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            rule.flaws(&format!("{at}/rules/{index}"), flaws);
        }
    }

    /// Every role in it that nobody can have.
    pub(crate) fn unknown_roles(&self, at: &str, known: &BTreeSet<&str>, flaws: &mut Vec<Flaw>) {
        for (index, role) in self.approvers.roles.iter().enumerate().filter(|(_, role)| !known.contains(role.as_str()))
        {
            flaws.push(Flaw::new(format!("{at}/approvers/roles/{index}"), no_such_role(role, known)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(config: Value) -> RequireApprovalConfig {
        serde_json::from_value(config).expect("fits")
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let rules = json!([{"tools": ["deploy"]}]);
        for (config, pointer, word) in [
            (json!({"rules": []}), "/rules", "nothing would wait"),
            (json!({"rules": rules, "ttl_secs": 5}), "/ttl_secs", "between"),
            (json!({"rules": rules, "arguments": ["a..b"]}), "/arguments/0", "single dots"),
            (json!({"rules": rules, "ignore": ["at", ""]}), "/ignore/1", "single dots"),
            (json!({"rules": rules, "arguments": ["a"], "ignore": ["b"]}), "/ignore", "keep one"),
        ] {
            let mut flaws = Vec::new();
            read(config.clone()).flaws("", &mut flaws);
            assert_eq!(flaws.len(), 1, "{config}: {flaws:?}");
            assert!(flaws[0].pointer == pointer && flaws[0].message.contains(word), "{config}: {flaws:?}");
        }
    }

    #[test]
    fn a_role_that_nobody_can_have_is_told_with_the_nearest() {
        let config = read(json!({"rules": [{"tools": ["deploy"]}], "approvers": {"roles": ["admin", "relase"]}}));
        let mut flaws = Vec::new();
        config.unknown_roles("", &BTreeSet::from(["admin", "release", "user"]), &mut flaws);
        let [flaw] = &flaws[..] else { panic!("{flaws:?}") };
        assert_eq!(flaw.pointer, "/approvers/roles/1");
        assert!(flaw.message.contains("did you mean `release`?"), "{}", flaw.message);
        assert!(serde_json::from_value::<RequireApprovalConfig>(json!({"approvers": {"role": []}})).is_err());
    }
}
