//! What a server is made of before there is a database: its extensions and the configuration they were checked against.

use std::path::Path;
use std::sync::Arc;

use systemprompt_config::{Configuration, LoadRequest, Problem, Report};
use systemprompt_extension::{ExtensionConfigs, ExtensionRegistry};

/// Extensions with their configuration, both valid.
pub struct Assembly {
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// The extensions' own settings.
    pub extension_configs: ExtensionConfigs,
    /// The extensions, those the profile disables left out.
    pub registry: Arc<ExtensionRegistry>,
}

impl Assembly {
    /// Loads the configuration for these extensions, which fit together, and has each check its part of it. Without errors in
    /// the report there is an assembly.
    pub fn load(linked: ExtensionRegistry, request: &LoadRequest) -> (Option<Self>, Report) {
        let configuration = match Configuration::load(request, &linked.section_specs()) {
            Ok(configuration) => Arc::new(configuration),
            Err(report) => return (None, report),
        };
        let registry = linked.configured(&configuration.profile.extensions);
        let (extension_configs, report) = judge(&registry, &configuration);
        let assembly = extension_configs.map(|extension_configs| Self {
            configuration,
            extension_configs,
            registry: Arc::new(registry),
        });
        (assembly, report)
    }
}

/// Loads the configuration for extensions that run already, with the same checks.
pub(crate) fn check(
    registry: &ExtensionRegistry,
    request: &LoadRequest,
) -> (Option<(Arc<Configuration>, ExtensionConfigs)>, Report) {
    let configuration = match Configuration::load(request, &registry.section_specs()) {
        Ok(configuration) => Arc::new(configuration),
        Err(report) => return (None, report),
    };
    let (extension_configs, report) = judge(registry, &configuration);
    (extension_configs.map(|configs| (configuration, configs)), report)
}

/// Has each extension check its part. Without errors in the report there are their settings.
fn judge(registry: &ExtensionRegistry, configuration: &Configuration) -> (Option<ExtensionConfigs>, Report) {
    let mut report =
        Report::new(Some(configuration.profile_path(Path::new("profile.yaml"))), configuration.warnings().to_vec());
    for problem in registry.validate_all() {
        let hint = problem.hint().unwrap_or_default();
        report.problems.push(Problem::error("profile", "extensions", problem.to_string()).suggest(hint));
    }
    let extension_configs = match ExtensionConfigs::resolve(registry, configuration) {
        Ok(configs) => {
            report.problems.extend(configs.warnings().iter().cloned());
            Some(configs)
        }
        Err(problems) => {
            report.problems.extend(problems);
            None
        }
    };
    (extension_configs.filter(|_| !report.has_errors()), report)
}
