//! `admin config`: the configuration in force, and whether it is right.

use serde_json::{Value, json};

use crate::args::Config;
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, Project, invalid};
use crate::yaml;

/// Runs an `admin config` command.
pub(crate) fn run(invocation: &Invocation, command: &Config) -> CliResult {
    match command {
        Config::Show { path } => show(invocation, path.as_deref()),
        Config::Validate { schema: true, .. } => schema(invocation),
        Config::Validate { strict, schema: false } => validate(invocation, *strict),
    }
}

/// Everything in force, with the names of secrets and never their values.
fn show(invocation: &Invocation, path: Option<&str>) -> CliResult {
    let project = invocation.project()?;
    let mut shown = project.configuration.to_value();
    mask_headers(&mut shown);
    if let Value::Object(map) = &mut shown {
        let secrets: serde_json::Map<_, _> = project
            .configuration
            .secrets
            .origins()
            .map(|(name, origin)| (name.to_owned(), json!(format!("[redacted] from {origin}"))))
            .collect();
        map.insert("secret_values".to_owned(), Value::Object(secrets));
    }
    let part = match path {
        None => &shown,
        Some(path) => {
            let pointer: String =
                path.split('.').map(|segment| format!("/{}", segment.replace('~', "~0").replace('/', "~1"))).collect();
            // `server.port` is a key of the profile, which is what people mean.
            shown.pointer(&pointer).or_else(|| shown.get("profile")?.pointer(&pointer)).ok_or_else(|| {
                let known =
                    shown.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default();
                CliError::new("unknown_key", format!("the configuration has no `{path}`"))
                    .help(format!("top-level keys: {known}"))
                    .exit(Exit::Usage)
            })?
        }
    };
    invocation.printer.result(part, || match part {
        Value::String(text) => text.clone(),
        other => yaml::to_string(other),
    });
    Ok(())
}

/// Headers added to requests are where keys are put that the product has no name for, also without a variable.
fn mask_headers(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(mask_headers),
        Value::Object(map) => {
            for (key, entry) in map {
                match entry {
                    Value::Object(headers) if key == "extra_headers" => {
                        headers.values_mut().for_each(|header| *header = json!("[redacted]"));
                    }
                    _ => mask_headers(entry),
                }
            }
        }
        _ => {}
    }
}

fn schema(invocation: &Invocation) -> CliResult {
    let registry = systemprompt_extension::ExtensionRegistry::discover();
    let schema = systemprompt_config::json_schema(&registry.section_specs());
    invocation.printer.result(&schema, || serde_json::to_string_pretty(&schema).unwrap_or_default());
    Ok(())
}

fn validate(invocation: &Invocation, strict: bool) -> CliResult {
    let (_, report) =
        Project::inspect(invocation.home()?, invocation.globals.profile.clone(), &invocation.environment)?;
    if report.has_errors() || (strict && !report.problems.is_empty()) {
        return Err(invalid(&report, &invocation.printer));
    }
    invocation.printer.result(&report, || {
        let text = report.text(invocation.printer.symbols());
        if text.is_empty() {
            "The configuration is valid.".to_owned()
        } else {
            format!("{text}\nThe configuration is valid, with warnings.")
        }
    });
    Ok(())
}
