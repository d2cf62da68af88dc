//! The scan that a project has.

use systemprompt_governance::config::{GovernanceConfig, PolicyConfig, PolicyMode, SecretAction, SecretScanConfig};
use systemprompt_governance::secret_scan::{Rule, SecretScanner};

use crate::error::{CliError, CliResult};
use crate::project::Invocation;

/// The scan of a project.
pub(super) struct Scan {
    pub(super) scanner: SecretScanner,
    pub(super) config: SecretScanConfig,
    pub(super) force: Force,
}

/// How far a project has the policy do what its rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Force {
    /// What is found is replaced or refused.
    Enforces,
    /// What is found is recorded, and leaves.
    Warns,
    /// No request is looked through.
    Off,
}

impl Scan {
    /// The scan as the project has it; as it is without one where there is none.
    pub(super) fn of(invocation: &Invocation) -> CliResult<Self> {
        let governance = if invocation.home().is_ok_and(|home| !home.profile_names().is_empty()) {
            let project = invocation.project()?;
            GovernanceConfig::read(&project.configuration)
                .map_err(|error| CliError::from_error("config_invalid", &error))?
        } else {
            GovernanceConfig::default()
        };
        Self::with(&governance)
    }

    fn with(governance: &GovernanceConfig) -> CliResult<Self> {
        let scanner = SecretScanner::of(governance).map_err(|error| CliError::from_error("config_invalid", &error))?;
        let own = governance.policies.iter().find_map(|policy| match policy {
            PolicyConfig::SecretScan(config) => Some(config),
            _ => None,
        });
        let force = match own.filter(|own| governance.enabled && own.enabled) {
            None => Force::Off,
            Some(own) => match own.mode.unwrap_or(governance.mode) {
                PolicyMode::Enforce => Force::Enforces,
                PolicyMode::Warn => Force::Warns,
            },
        };
        Ok(Self { scanner, config: own.cloned().unwrap_or_default(), force })
    }

    /// What happens to what a rule finds and nothing allows: `replaced`, `refused`, `recorded`, or `off` if requests are not
    /// looked through.
    pub(super) fn outcome(&self, rule: &Rule) -> &'static str {
        match self.force {
            Force::Off => "off",
            Force::Warns => "recorded",
            Force::Enforces if !rule.acts => "recorded",
            Force::Enforces if self.config.action == SecretAction::Deny || self.config.deny.contains(&rule.id) => {
                "refused"
            }
            Force::Enforces => "replaced",
        }
    }

    /// What a rule does in this project: `acts`, `records`, or `off`.
    pub(super) fn mode(&self, rule: &Rule) -> &'static str {
        match self.force {
            Force::Off => "off",
            Force::Enforces if rule.acts => "acts",
            Force::Enforces | Force::Warns => "records",
        }
    }

    /// Says that requests are not looked through, if so.
    pub(super) fn note(&self, invocation: &Invocation) {
        if self.force == Force::Off {
            invocation.printer.note("The policy secret_scan is switched off: requests are not looked through.");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_happens_is_what_the_project_has_the_policy_do() {
        for (governance, outcome, mode) in [
            (json!({}), "replaced", "acts"),
            (json!({"mode": "warn"}), "recorded", "records"),
            (json!({"mode": "warn", "policies": [{"id": "secret_scan", "mode": "enforce"}]}), "replaced", "acts"),
            (json!({"policies": [{"id": "secret_scan", "mode": "warn"}]}), "recorded", "records"),
            (json!({"policies": [{"id": "secret_scan", "mode": "warn", "action": "deny"}]}), "recorded", "records"),
            (json!({"policies": [{"id": "secret_scan", "action": "deny"}]}), "refused", "acts"),
            (json!({"policies": [{"id": "secret_scan", "deny": ["github-token-classic"]}]}), "refused", "acts"),
            (
                json!({"policies": [{"id": "secret_scan", "warn_only": ["github-token-classic"]}]}),
                "recorded",
                "records",
            ),
            (json!({"policies": [{"id": "secret_scan", "enabled": false}]}), "off", "off"),
            (json!({"policies": [{"id": "rate_limit"}]}), "off", "off"),
            (json!({"policies": []}), "off", "off"),
            (json!({"enabled": false}), "off", "off"),
        ] {
            let scan = Scan::with(&serde_json::from_value(governance.clone()).expect("a section")).expect("a scan");
            let rules = scan.scanner.rules();
            let rule = rules.iter().find(|rule| rule.id == "github-token-classic").expect("a rule");
            assert_eq!((scan.outcome(rule), scan.mode(rule)), (outcome, mode), "{governance}");
        }
    }
}
