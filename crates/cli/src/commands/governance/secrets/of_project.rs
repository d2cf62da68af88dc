//! The scan that a project has.

use systemprompt_governance::config::{GovernanceConfig, PolicyConfig, SecretScanConfig};
use systemprompt_governance::secret_scan::SecretScanner;

use crate::error::{CliError, CliResult};
use crate::project::Invocation;

/// The scan as the project has it; as it is without one where there is none.
pub(super) fn scanner(invocation: &Invocation) -> CliResult<(SecretScanner, SecretScanConfig)> {
    let governance = if invocation.home().is_ok_and(|home| !home.profile_names().is_empty()) {
        let project = invocation.project()?;
        GovernanceConfig::read(&project.configuration)
            .map_err(|error| CliError::from_error("config_invalid", &error))?
    } else {
        GovernanceConfig::default()
    };
    let scanner = SecretScanner::of(&governance).map_err(|error| CliError::from_error("config_invalid", &error))?;
    let own = governance.policies.into_iter().find_map(|policy| match policy {
        PolicyConfig::SecretScan(config) => Some(config),
        _ => None,
    });
    Ok((scanner, own.unwrap_or_default()))
}
