//! From what was written to [`ExtensionConfigs`]: defaults, every check of every extension, all problems at once.

use std::collections::BTreeMap;

use serde_json::json;
use systemprompt_config::{Configuration, Problem, fill_defaults};

use crate::facet::{Authorizers, Config, Policies, Roles, SafetyScanners, SubjectAttributes};
use crate::settings::Settings;
use crate::{ConfigError, ExtensionConfigs, ExtensionRegistry, KnownNames};

impl ExtensionConfigs {
    /// Resolves the settings of all enabled extensions and runs every check an extension has on its part of the
    /// configuration: [`validate_config`](crate::Extension::validate_config) and
    /// [`validate_sections`](crate::Extension::validate_sections), then
    /// [`validate_names`](crate::Extension::validate_names). All problems at once, in load order.
    pub fn resolve(registry: &ExtensionRegistry, configuration: &Configuration) -> Result<Self, Vec<Problem>> {
        let mut by_prefix = BTreeMap::new();
        let mut problems = Vec::new();
        for entry in &registry.set().enabled {
            for config in entry.declares::<Config>() {
                let mut value = configuration.extension(&config.prefix).cloned().unwrap_or_else(|| json!({}));
                if let Some(schema) = &config.schema {
                    fill_defaults(schema, schema, &mut value);
                }
                if let Err(error) = entry.extension.validate_config(&value) {
                    let refused = error.flatten().into_iter();
                    problems.extend(refused.map(|error| problem(entry.id(), &config.prefix, &error, configuration)));
                }
                let mut shown = value.clone();
                configuration.secrets.redact(&mut shown);
                by_prefix.insert(config.prefix.clone(), Settings { extension: entry.id(), value, shown });
            }
            problems.extend(entry.extension.validate_sections(configuration));
        }
        let known = KnownNames::of(registry, configuration);
        for entry in &registry.set().enabled {
            problems.extend(entry.extension.validate_names(configuration, &known));
        }
        if problems.iter().any(Problem::is_error) {
            return Err(problems);
        }
        Ok(Self { by_prefix, warnings: problems })
    }
}

impl KnownNames {
    /// What the enabled extensions have that `configuration` may name.
    pub fn of(registry: &ExtensionRegistry, configuration: &Configuration) -> Self {
        let mut known = Self::default();
        for entry in &registry.set().enabled {
            for (kind, ids) in entry.extension.entities(configuration) {
                known.entities.entry(kind).or_default().extend(ids);
            }
            known.regions.extend(entry.extension.regions(configuration));
            known.roles.extend(entry.declares::<Roles>().iter().map(|role| role.name.clone()));
            known.authorizers.extend(entry.declares::<Authorizers>().iter().map(|def| def.name.to_owned()));
            known.dimensions.extend(entry.declares::<SubjectAttributes>().iter().map(|def| {
                let values = def.values.map(|values| values.iter().map(|&value| value.to_owned()).collect());
                (def.dimension.to_owned(), values)
            }));
            known.policies.extend(entry.declares::<Policies>().iter().map(|policy| policy.id.to_owned()));
            known.safety_scanners.extend(entry.declares::<SafetyScanners>().iter().map(|scanner| {
                (scanner.name.to_owned(), scanner.categories.iter().map(|&category| category.to_owned()).collect())
            }));
        }
        known
    }
}

fn problem(extension: &str, prefix: &str, error: &ConfigError, configuration: &Configuration) -> Problem {
    let (key, message, code) = match error {
        ConfigError::NotFound(key) => (key.as_str(), "must be set".to_owned(), "missing_key"),
        ConfigError::InvalidValue { key, message } => (key.as_str(), message.clone(), "invalid_value"),
        error => ("", error.to_string(), "invalid_value"),
    };
    let pointer: String = key.split('.').filter(|part| !part.is_empty()).flat_map(|part| ["/", part]).collect();
    let problem = configuration.error(prefix, &pointer, message).code(code);
    Problem { domain: format!("ext:{extension}"), ..problem }
}
