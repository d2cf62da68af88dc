//! What the safety settings of several policies come to together.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{GatewayPolicyConfig, HistoryScan, PolicyMode, SafetyConfig, StreamGuardMode};

use super::heuristic::PHRASES;

/// What is looked for and what it does: of each setting the strictest that a policy in force has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The scanners, each with whether it must have looked: what it could not look at is refused.
    pub(super) scanners: BTreeMap<String, bool>,
    /// What the scanner of phrases looks for.
    pub(super) phrases: BTreeSet<String>,
    /// Categories that concern a request, each with whether they block.
    pub(super) request: BTreeMap<String, bool>,
    /// Categories that concern an answer, each with whether they block.
    pub(super) response: BTreeMap<String, bool>,
    pub(super) history: HistoryScan,
    /// How many characters of a stream are held back, if any are.
    pub(super) window: Option<u32>,
    /// How long a scanner may take, in milliseconds.
    pub(super) timeout_ms: u32,
}

impl Plan {
    /// `None` if no policy in force says anything of safety.
    pub(super) fn of(policies: &[GatewayPolicyConfig]) -> Option<Self> {
        let mut plan: Option<Self> = None;
        for safety in policies.iter().filter(|policy| policy.enabled).filter_map(|policy| policy.spec.safety.as_ref()) {
            plan.get_or_insert_default().add(safety);
        }
        plan
    }

    fn add(&mut self, safety: &SafetyConfig) {
        let enforces = safety.mode == PolicyMode::Enforce;
        for scanner in &safety.scanners {
            *self.scanners.entry(scanner.clone()).or_default() |= enforces;
        }
        if safety.scanners.contains(SafetyConfig::HEURISTIC) {
            let own = safety.heuristic.phrases.iter().chain([&safety.heuristic.extra_phrases]).flatten();
            self.phrases.extend(own.cloned());
            if safety.heuristic.phrases.is_none() && !safety.heuristic.disable_builtin {
                self.phrases.extend(PHRASES.map(str::to_owned));
            }
        }
        for (all, some) in
            [(&mut self.request, &safety.block_categories), (&mut self.response, &safety.block_response_categories)]
        {
            for category in some {
                *all.entry(category.clone()).or_default() |= enforces;
            }
        }
        self.history = self.history.max(safety.history);
        if safety.stream_guard == StreamGuardMode::Window && enforces {
            self.window = self.window.max(Some(safety.stream_guard_window));
        }
        // The most patient counts: a scanner that fails where it need not have is no stricter.
        self.timeout_ms = self.timeout_ms.max(safety.scanner_timeout_ms);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plan(policies: Value) -> Option<Plan> {
        Plan::of(&serde_json::from_value::<Vec<GatewayPolicyConfig>>(policies).expect("fits"))
    }

    #[test]
    fn the_strictest_of_several_counts() {
        let merged = plan(json!([
            {"name": "try", "spec": {"safety": {
                "mode": "warn", "scanners": ["heuristic", "acme.codename"], "history": "audit", "stream_guard": "window",
                "block_categories": ["jailbreak", "codename"], "block_response_categories": ["codename"],
                "heuristic": {"disable_builtin": true, "extra_phrases": ["open the doors"]},
            }}},
            {"name": "hold", "spec": {"safety": {
                "scanners": ["heuristic", "secrets"], "block_categories": ["jailbreak", "secret"],
                "block_response_categories": ["secret"], "stream_guard": "window", "stream_guard_window": 100,
                "heuristic": {"phrases": ["sing a song"]},
            }}},
            {"name": "off", "enabled": false, "spec": {"safety": {"history": "block", "block_categories": ["pii_ssn"]}}},
            {"name": "quotas only", "spec": {}},
        ]))
        .expect("a plan");
        let flags = |pairs: &[(&str, bool)]| {
            pairs.iter().map(|(name, flag)| ((*name).to_owned(), *flag)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(merged.scanners, flags(&[("acme.codename", false), ("heuristic", true), ("secrets", true)]));
        assert_eq!(merged.request, flags(&[("codename", false), ("jailbreak", true), ("secret", true)]));
        assert_eq!(merged.response, flags(&[("codename", false), ("secret", true)]));
        assert_eq!(merged.phrases, ["open the doors", "sing a song"].map(str::to_owned).into());
        assert_eq!((merged.history, merged.window), (HistoryScan::Audit, Some(100)), "what only warns cuts nothing");
        assert_eq!(plan(json!([{"name": "a"}])), None);
        assert_eq!(plan(json!([{"name": "a", "spec": {"safety": {}}}])).map(|plan| plan.phrases.len()), Some(8));
    }
}
