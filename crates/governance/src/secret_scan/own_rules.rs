//! The rules of the operator: made of what is configured, and tried on their samples.

use std::collections::BTreeSet;

use systemprompt_config::nearest;
use systemprompt_secrets::pattern::SETS;
use systemprompt_secrets::{ExtraRule, HIGH_ENTROPY_TOKEN, Options, PatternError, Scanner, built_in};

use crate::config::{AddedRule, Flaw, LengthConfig, ScanRulesConfig};

/// How many characters follow a prefix, if nothing is said.
const SHORTEST: u16 = 8;

/// The rule, ready for use.
pub(super) fn made(rule: &AddedRule) -> Result<ExtraRule, PatternError> {
    let description = if rule.description.is_empty() { &rule.id } else { &rule.description };
    ExtraRule::new(&rule.id, description, &pattern(rule), &rule.keywords)
}

/// What it looks like, as one pattern.
fn pattern(rule: &AddedRule) -> String {
    if let Some(pattern) = &rule.pattern {
        return pattern.clone();
    }
    let escaped = |letter: char| if letter.is_ascii_alphanumeric() { String::new() } else { "\\".to_owned() };
    let prefix = rule.prefix.as_deref().unwrap_or_default();
    let prefix: String = prefix.chars().map(|letter| format!("{}{letter}", escaped(letter))).collect();
    let charset = rule.charset.as_deref().unwrap_or("b62");
    let charset = if charset.starts_with('[') { charset.to_owned() } else { format!("<{charset}>") };
    let length = match rule.length {
        None => format!("{SHORTEST},"),
        Some(LengthConfig::Exactly(length)) => length.to_string(),
        Some(LengthConfig::Between { min, max }) => {
            format!("{min},{}", max.map_or_else(String::new, |max| max.to_string()))
        }
    };
    format!("{prefix}{charset}{{{length}}}")
}

/// Everything that is wrong with these rules; places are relative to them.
pub(crate) fn flaws(rules: &ScanRulesConfig, others: &[&str]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let built_in = built_in();
    let mut known: BTreeSet<&str> =
        built_in.iter().map(|rule| rule.id.as_str()).chain(others.iter().copied()).collect();
    for (index, id) in rules.disable.iter().enumerate() {
        let at = format!("/disable/{index}");
        if id == HIGH_ENTROPY_TOKEN {
            flaws.push(Flaw::new(at, format!("`{id}` has a switch of its own, `entropy.enabled`")));
        } else if !known.contains(id.as_str()) {
            let message = match nearest(id, known.iter().copied()) {
                Some(near) => format!("there is no rule `{id}`; did you mean `{near}`?"),
                None => format!(
                    "there is no rule `{id}`; `systemprompt governance secrets rules list` shows those there are"
                ),
            };
            flaws.push(Flaw::new(at, message));
        }
    }
    for (index, rule) in rules.add.iter().enumerate() {
        let at = format!("/add/{index}");
        let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if rule.id.is_empty() || rule.id.len() > 64 || !rule.id.bytes().all(slug) {
            flaws.push(Flaw::new(format!("{at}/id"), "use 1 to 64 lower-case letters, digits and hyphens"));
        } else if !known.insert(&rule.id) {
            let message = format!("there is a rule `{}` already; give yours another id", rule.id);
            flaws.push(Flaw::new(format!("{at}/id"), message));
        }
        flaws.extend(of_one(rule).into_iter().map(|flaw| Flaw::new(format!("{at}{}", flaw.pointer), flaw.message)));
    }
    flaws
}

/// What is wrong with one rule; places are relative to it.
fn of_one(rule: &AddedRule) -> Vec<Flaw> {
    let parts = rule.prefix.is_some() || rule.charset.is_some() || rule.length.is_some();
    if rule.pattern.is_some() == parts {
        let message = if parts {
            "this is all of what it looks like; leave `prefix`, `charset` and `length` out"
        } else {
            "say what it looks like: by `pattern`, or by `prefix`, `charset` and `length`"
        };
        return vec![Flaw::new("/pattern", message)];
    }
    if let Some(index) = rule.keywords.iter().position(|keyword| keyword.trim().len() < 3) {
        return vec![Flaw::new(format!("/keywords/{index}"), "use three characters at least")];
    }
    let made = match made(rule) {
        Ok(made) => made,
        Err(error) if rule.pattern.is_some() => return vec![Flaw::new("/pattern", error.to_string())],
        Err(error) => return vec![without_a_pattern(rule, error)],
    };
    let scanner = Scanner::new(&Options { extra: vec![made], ..Options::default() });
    let finds = |text: &str| scanner.scan_text(text.as_bytes()).iter().any(|found| found.rule.id == rule.id);
    let missed = rule.samples.found.iter().enumerate().filter(|(_, text)| !finds(text));
    let missed = missed.map(|(index, _)| {
        Flaw::new(format!("/samples/found/{index}"), "the rule does not find this; change the rule or the sample")
    });
    let wrong = rule.samples.passed.iter().enumerate().filter(|(_, text)| finds(text));
    let wrong = wrong.map(|(index, _)| {
        Flaw::new(format!("/samples/passed/{index}"), "the rule finds something in this; change the rule or the sample")
    });
    missed.chain(wrong).collect()
}

/// Which of the parts that a rule is made of is wrong.
fn without_a_pattern(rule: &AddedRule, error: PatternError) -> Flaw {
    let is_set = |name: &str| name.starts_with('[') || SETS.iter().any(|(known, _)| *known == name);
    if let Some(name) = rule.charset.as_deref().filter(|name| !is_set(name)) {
        let names: Vec<&str> = SETS.iter().map(|(name, _)| *name).collect();
        let near = nearest(name, names.iter().copied());
        let hint =
            near.map_or_else(|| format!("there are {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
        return Flaw::new("/charset", format!("there is no set `{name}`; {hint}"));
    }
    let without_length = AddedRule { length: None, ..rule.clone() };
    let is_of_length = rule.length.is_some() && made(&without_length).is_ok();
    Flaw::new(if is_of_length { "/length" } else { "/prefix" }, error.problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: serde_json::Value) -> ScanRulesConfig {
        serde_json::from_value(json).expect("it fits the type")
    }

    fn told(json: serde_json::Value) -> Vec<String> {
        flaws(&rules(json), &[]).into_iter().map(|flaw| format!("{}: {}", flaw.pointer, flaw.message)).collect()
    }

    #[test]
    fn rules_of_ones_own_are_tried_on_their_samples() {
        let good = serde_json::json!({
            "disable": ["jwt-raw"],
            "add": [
                {"id": "acme-key", "prefix": "acme_", "charset": "hex", "length": 8,
                 "samples": {"found": ["key: acme_0a1b2c3d."], "passed": ["acme_0a1b2c3", "acme_0a1b2c3d4"]}},
                {"id": "acme-pin", "pattern": "<num>{6}", "keywords": ["acme pin", "acme_pin"],
                 "samples": {"found": ["ACME_PIN=493817"], "passed": ["493817", "other_pin=493817"]}},
                {"id": "acme-near", "prefix": "ak-", "length": {"min": 10, "max": 20}, "keywords": ["acme"],
                 "samples": {"found": ["acme says ak-0123456789"], "passed": ["ak-0123456789"]}},
            ],
        });
        assert_eq!(told(good), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        let wrong = serde_json::json!({
            "disable": ["jwt-row", "high-entropy-token", "quite-something-else-entirely"],
            "add": [
                {"id": "Acme", "prefix": "acme_"},
                {"id": "jwt-raw", "prefix": "acme_"},
                {"id": "a"},
                {"id": "b", "prefix": "acme_", "pattern": "acme_<b62>{8}"},
                {"id": "c", "pattern": "acme_<b61>{8}"},
                {"id": "d", "prefix": "acme_", "charset": "b61"},
                {"id": "e", "prefix": "a"},
                {"id": "f", "prefix": "acme_", "samples": {"found": ["acme_1"], "passed": ["acme_12345678"]}},
                {"id": "g", "pattern": "<num>{6}", "keywords": ["x"]},
                {"id": "h", "prefix": "acme_", "length": 2000},
                {"id": "i", "charset": "hex", "length": {"min": 20, "max": 600}, "keywords": ["acme"]},
                {"id": "j", "pattern": "[äöü]{2,}"},
                {"id": "k", "pattern": "acme_a{2,20}"},
            ],
        });
        assert_eq!(
            told(wrong),
            [
                "/disable/0: there is no rule `jwt-row`; did you mean `jwt-raw`?",
                "/disable/1: `high-entropy-token` has a switch of its own, `entropy.enabled`",
                "/disable/2: there is no rule `quite-something-else-entirely`; `systemprompt governance secrets rules list` \
                 shows those there are",
                "/add/0/id: use 1 to 64 lower-case letters, digits and hyphens",
                "/add/1/id: there is a rule `jwt-raw` already; give yours another id",
                "/add/2/pattern: say what it looks like: by `pattern`, or by `prefix`, `charset` and `length`",
                "/add/3/pattern: this is all of what it looks like; leave `prefix`, `charset` and `length` out",
                "/add/4/pattern: there is no set of this name at character 6",
                "/add/5/charset: there is no set `b61`; did you mean `b62`?",
                "/add/6/prefix: begin with three characters that are always the same, or give keywords",
                "/add/7/samples/found/0: the rule does not find this; change the rule or the sample",
                "/add/7/samples/passed/0: the rule finds something in this; change the rule or the sample",
                "/add/8/keywords/0: use three characters at least",
                "/add/9/length: use 1024 characters at most, or no upper bound",
                "/add/10/length: use 512 characters at most for what is given to a name",
                "/add/11/pattern: begin with three characters that are always the same, or give keywords at character 1",
                "/add/12/pattern: use a set for what may stand so many times at character 7",
            ]
        );
    }
}
