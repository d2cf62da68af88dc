//! Older spellings of profile keys: read, moved to their present place with one warning each, never written.

use serde_json::Value;

use crate::document::{Document, dotted};
use crate::report::Problem;

/// Keys that moved: from, to.
const MOVED: &[(&str, &str)] = &[
    ("/environment", "/runtime/environment"),
    ("/server/https/enabled", "/server/use_https"),
    ("/security/jwt/issuer", "/security/jwt_issuer"),
    ("/security/jwt/access_token_expiration", "/security/jwt_access_token_expiration"),
    ("/security/jwt/refresh_token_expiration", "/security/jwt_refresh_token_expiration"),
    ("/security/jwt/audiences", "/security/jwt_audiences"),
    ("/secrets/path", "/secrets/secrets_path"),
    ("/secrets/validation_mode", "/secrets/validation"),
];

/// Maps that only held moved keys and go when they are empty.
const EMPTIED: &[&str] = &["/server/https", "/security/jwt"];

/// Keys without a meaning today.
const DROPPED: &[&str] = &["/cloud/credentials_path", "/cloud/tenants_path", "/cloud/enabled"];

/// Values that are spelled differently today: key, old, new.
const RESPELLED: &[(&str, &str, &str)] = &[
    ("/runtime/output_format", "pretty", "text"),
    ("/runtime/log_level", "error", "quiet"),
    ("/runtime/log_level", "warn", "quiet"),
    ("/runtime/log_level", "info", "normal"),
    ("/runtime/log_level", "trace", "debug"),
];

/// Rewrites a profile to the present spelling.
pub(crate) fn modernize(document: &mut Document, problems: &mut Vec<Problem>) {
    for (from, to) in MOVED {
        relocate(document, from, to, problems);
    }
    for pointer in EMPTIED {
        if document.get(pointer).and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
            document.remove(pointer);
        }
    }
    for pointer in DROPPED {
        let at = document.locate(pointer).cloned();
        if document.remove(pointer).is_some() {
            let message = "has no meaning any more and is ignored";
            problems.push(deprecated(pointer, message).at_option(at.as_ref()).suggest("remove it"));
        }
    }
    split_validation_level(document, problems);
    negate_colors(document, problems);
    for (pointer, old, new) in RESPELLED {
        if document.get(pointer).and_then(Value::as_str) == Some(old) {
            let message = format!("the value `{old}` is an older spelling");
            let problem = deprecated(pointer, &message).at_option(document.locate(pointer));
            problems.push(problem.suggest(format!("write `{new}`")));
            set(document, pointer, Value::from(*new));
        }
    }
    // Case and the longer name of the database are equivalent, not old.
    for pointer in ["/runtime/environment", "/database/type"] {
        if let Some(text) = document.get(pointer).and_then(Value::as_str) {
            let text = text.to_ascii_lowercase();
            let text = if text == "postgresql" { "postgres".to_owned() } else { text };
            set(document, pointer, text.into());
        }
    }
}

fn relocate(document: &mut Document, from: &str, to: &str, problems: &mut Vec<Problem>) {
    let Some(part) = document.remove(from) else { return };
    let at = part.locate("").cloned();
    if document.get(to).is_some() {
        let message = format!("is the older spelling of `{}`, which is given too", dotted(to));
        let problem = Problem::error("profile", dotted(from), message).at_option(at.as_ref()).code("duplicate_key");
        problems.push(problem.suggest("remove the older one"));
        return;
    }
    let problem = deprecated(from, &format!("is an older spelling of `{}`", dotted(to))).at_option(at.as_ref());
    problems.push(problem.suggest(format!("write `{}`", dotted(to))));
    document.insert(to, part);
}

/// `security.validation_level` became one key for secrets and one for the cloud login.
fn split_validation_level(document: &mut Document, problems: &mut Vec<Problem>) {
    let from = "/security/validation_level";
    let Some(part) = document.remove(from) else { return };
    let problem = deprecated(from, "is an older spelling of `secrets.validation` and `cloud.validation`");
    problems.push(problem.at_option(part.locate("")).suggest("write these two keys"));
    for to in ["/secrets/validation", "/cloud/validation"] {
        if document.get(to).is_none() {
            document.insert(to, part.clone());
        }
    }
}

/// `runtime.colors: true` became `runtime.no_color: false`.
fn negate_colors(document: &mut Document, problems: &mut Vec<Problem>) {
    let (from, to) = ("/runtime/colors", "/runtime/no_color");
    let colors = match document.get(from) {
        Some(Value::Bool(colors)) => *colors,
        Some(Value::String(text)) if document.interpolated.contains(from) && text == "true" => true,
        Some(Value::String(text)) if document.interpolated.contains(from) && text == "false" => false,
        // Any other value is reported under the key it was written as.
        _ => return,
    };
    relocate(document, from, to, problems);
    if document.get(to).is_some() {
        set(document, to, Value::Bool(!colors));
    }
}

fn set(document: &mut Document, pointer: &str, value: Value) {
    if let Some(node) = document.value.pointer_mut(pointer) {
        *node = value;
    }
}

fn deprecated(pointer: &str, message: &str) -> Problem {
    Problem::warning("profile", dotted(pointer), message).code("deprecated")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::yaml;

    fn modern(text: &str) -> (Value, Vec<Problem>) {
        let mut document = yaml::parse(text, Path::new("profile.yaml"), "profile").unwrap();
        let mut problems = Vec::new();
        modernize(&mut document, &mut problems);
        (document.value, problems)
    }

    #[test]
    fn every_older_spelling_means_the_same_and_warns_once() {
        for (old, new) in [
            ("environment: staging", "runtime: {environment: staging}"),
            ("server: {https: {enabled: true}}", "server: {use_https: true}"),
            ("security: {jwt: {issuer: x}}", "security: {jwt_issuer: x}"),
            ("security: {jwt: {access_token_expiration: 1}}", "security: {jwt_access_token_expiration: 1}"),
            ("security: {jwt: {refresh_token_expiration: 1}}", "security: {jwt_refresh_token_expiration: 1}"),
            ("security: {jwt: {audiences: [api]}}", "security: {jwt_audiences: [api]}"),
            (
                "security: {validation_level: skip}",
                "{security: {}, secrets: {validation: skip}, cloud: {validation: skip}}",
            ),
            ("runtime: {colors: true}", "runtime: {no_color: false}"),
            ("runtime: {colors: false}", "runtime: {no_color: true}"),
            ("runtime: {output_format: pretty}", "runtime: {output_format: text}"),
            ("runtime: {log_level: error}", "runtime: {log_level: quiet}"),
            ("runtime: {log_level: warn}", "runtime: {log_level: quiet}"),
            ("runtime: {log_level: info}", "runtime: {log_level: normal}"),
            ("runtime: {log_level: trace}", "runtime: {log_level: debug}"),
            ("secrets: {path: ./s.json}", "secrets: {secrets_path: ./s.json}"),
            ("secrets: {validation_mode: strict}", "secrets: {validation: strict}"),
            ("cloud: {credentials_path: x}", "cloud: {}"),
            ("cloud: {tenants_path: x}", "cloud: {}"),
            ("cloud: {enabled: true}", "cloud: {}"),
        ] {
            let (value, problems) = modern(old);
            assert_eq!(value, modern(new).0, "{old}");
            assert_eq!(problems.len(), 1, "{old}: {problems:?}");
            assert!(
                problems[0].code == "deprecated" && !problems[0].is_error() && problems[0].line == Some(1),
                "{old}"
            );
        }
    }

    #[test]
    fn present_spellings_do_not_warn() {
        for text in
            ["runtime: {log_level: debug}", "runtime: {environment: Production}", "database: {type: PostgreSQL}"]
        {
            assert_eq!(modern(text).1, [], "{text}");
        }
        assert_eq!(modern("database: {type: postgresql}").0["database"]["type"], "postgres");
    }

    #[test]
    fn both_spellings_at_once_are_an_error() {
        let (_, problems) = modern("environment: test\nruntime: {environment: staging}");
        assert_eq!((problems.len(), problems[0].code, problems[0].line), (1, "duplicate_key", Some(1)));
    }

    #[test]
    fn what_is_left_in_an_older_map_stays_to_be_reported() {
        assert_eq!(modern("security: {jwt: {issuer: x, secret: y}}").0["security"]["jwt"]["secret"], "y");
    }
}
