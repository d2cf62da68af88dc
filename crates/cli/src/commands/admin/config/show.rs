//! `admin config show`.

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{CliError, CliResult, Exit};
use crate::project::Invocation;
use crate::view::{Layout, Text, View, yaml};

/// The configuration in force, secrets masked.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Only this part, as a dotted path such as `server.port`.
    path: Option<String>,
}

impl Show {
    /// Everything in force, with the names of secrets and never their values.
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
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
        let part = match &self.path {
            None => shown.clone(),
            Some(path) => {
                let pointer: String = path
                    .split('.')
                    .map(|segment| format!("/{}", segment.replace('~', "~0").replace('/', "~1")))
                    .collect();
                find(&shown, &pointer).ok_or_else(|| {
                    let known = shown
                        .as_object()
                        .map(|map| map.keys().cloned().collect::<Vec<_>>().join(", "))
                        .unwrap_or_default();
                    CliError::new("unknown_key", format!("the configuration has no `{path}`"))
                        .help(format!("top-level keys: {known}"))
                        .exit(Exit::Usage)
                })?
            }
        };
        invocation.printer.show(&Part(&part));
        Ok(())
    }
}

/// What stands at a place: of the whole, else of the profile, the services and the documents. What several of them say
/// something about is shown with their names, such as `governance`, of which each says a part.
fn find(shown: &Value, pointer: &str) -> Option<Value> {
    if let Some(part) = shown.pointer(pointer) {
        return Some(part.clone());
    }
    let documents = shown["documents"].as_object().into_iter().flatten();
    let named = ["profile", "services"].into_iter().filter_map(|name| Some((name, shown.get(name)?)));
    let places = named.chain(documents.map(|(name, document)| (name.as_str(), document)));
    let found: serde_json::Map<_, _> =
        places.filter_map(|(name, place)| Some((name.to_owned(), place.pointer(pointer)?.clone()))).collect();
    match found.len() {
        0 => None,
        1 => found.into_iter().next().map(|(_, part)| part),
        _ => Some(Value::Object(found)),
    }
}

/// The configuration or a part of it.
#[derive(Serialize)]
struct Part<'a>(&'a Value);

impl View for Part<'_> {
    fn text(&self, _: Layout) -> Text {
        match self.0 {
            Value::String(text) => Text::line(text),
            other => Text::lines(yaml(other)),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_wherever_it_stands() {
        let shown = json!({
            "profile": {"server": {"port": 1}, "governance": {"shards": 2}}, "services": {"settings": {}},
            "documents": {"governance/config.yaml": {"governance": {"policies": [3]}}},
        });
        assert_eq!(find(&shown, "/server/port"), Some(json!(1)));
        assert_eq!(find(&shown, "/profile/server/port"), Some(json!(1)));
        assert_eq!(find(&shown, "/governance/policies"), Some(json!([3])));
        assert_eq!(
            find(&shown, "/governance"),
            Some(json!({"profile": {"shards": 2}, "governance/config.yaml": {"policies": [3]}}))
        );
        assert_eq!(find(&shown, "/nothing"), None);
    }
}
