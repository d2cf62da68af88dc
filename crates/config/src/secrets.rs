//! The secrets of a profile: their names, their file, the variables that win over it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use systemprompt_model::Secret;
use url::{Host, Url};

use crate::environment::{self, Environment, Variable};
use crate::files;
use crate::profile::{SecretSource, SecretsSettings, Validation};
use crate::report::{Problem, Severity};

/// The fewest characters of a pepper or signing secret.
const MIN_SECRET_CHARACTERS: usize = 32;

/// A secret with a meaning of its own: its name in `secrets.json`, other spellings, and the variables that override it.
struct Known {
    name: &'static str,
    aliases: &'static [&'static str],
    variables: &'static [Variable],
}

const KNOWN: &[Known] = &[
    Known { name: "database_url", aliases: &[], variables: &[environment::DATABASE_URL] },
    Known { name: "database_write_url", aliases: &[], variables: &[environment::DATABASE_WRITE_URL] },
    Known { name: "internal_database_url", aliases: &[], variables: &[environment::INTERNAL_DATABASE_URL] },
    Known { name: "external_database_url", aliases: &[], variables: &[environment::EXTERNAL_DATABASE_URL] },
    Known { name: "jwt_secret", aliases: &[], variables: &[environment::JWT_SECRET] },
    Known { name: "oauth_at_rest_pepper", aliases: &[], variables: &[environment::OAUTH_AT_REST_PEPPER] },
    Known { name: "signing_key_pem", aliases: &[], variables: &[environment::SIGNING_KEY_PEM] },
    Known {
        name: "manifest_signing_secret_seed",
        aliases: &[],
        variables: &[environment::MANIFEST_SIGNING_SECRET_SEED],
    },
    Known { name: "anthropic", aliases: &["anthropic_api_key"], variables: &[environment::ANTHROPIC_API_KEY] },
    Known { name: "openai", aliases: &["openai_api_key"], variables: &[environment::OPENAI_API_KEY] },
    Known { name: "gemini", aliases: &["gemini_api_key"], variables: &[environment::GEMINI_API_KEY] },
    Known {
        name: "moonshot",
        aliases: &["moonshot_api_key", "kimi", "kimi_api_key"],
        variables: &[environment::MOONSHOT_API_KEY, environment::KIMI_API_KEY],
    },
    Known {
        name: "qwen",
        aliases: &["qwen_api_key", "dashscope", "dashscope_api_key"],
        variables: &[environment::QWEN_API_KEY, environment::DASHSCOPE_API_KEY],
    },
    Known { name: "github", aliases: &["github_token"], variables: &[environment::GITHUB_TOKEN] },
    Known { name: "sync_token", aliases: &[], variables: &[environment::SYNC_TOKEN] },
];

/// The name under which a secret is stored, whatever it was called: an alias, a variable, any case.
pub(crate) fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let known = KNOWN.iter().find(|known| known.name == name || known.aliases.contains(&name.as_str()));
    known.map_or(name, |known| known.name.to_owned())
}

/// The secrets of a profile, from its file and the environment.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<String, Entry>);

#[derive(Debug, Clone)]
struct Entry {
    value: Secret,
    origin: SecretOrigin,
}

/// Where a secret was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretOrigin {
    /// In the secrets file.
    File,
    /// In the process environment, which wins over the file.
    Environment,
}

impl fmt::Display for SecretOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the secrets file",
            Self::Environment => "the environment",
        })
    }
}

impl Secrets {
    /// A secret by its name, an alias or the name of its variable: `anthropic`, `anthropic_api_key`, `ANTHROPIC_API_KEY`.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(&canonical(name)).map(|entry| &entry.value)
    }

    /// Whether two names mean the same secret: `anthropic`, `ANTHROPIC_API_KEY`.
    pub fn same_name(name: &str, other: &str) -> bool {
        canonical(name) == canonical(other)
    }

    /// The name a secret is kept under, whichever of its names this is.
    pub fn name_of(name: &str) -> String {
        canonical(name)
    }

    /// Where a secret was set.
    pub fn origin(&self, name: &str) -> Option<SecretOrigin> {
        self.0.get(&canonical(name)).map(|entry| entry.origin)
    }

    /// The names of all secrets that are set, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Every secret that is set and where, sorted by name.
    pub fn origins(&self) -> impl Iterator<Item = (&str, SecretOrigin)> {
        self.0.iter().map(|(name, entry)| (name.as_str(), entry.origin))
    }

    /// Replaces every text in `value` that holds the value of a secret by `[redacted]`, for showing it to people.
    pub fn redact(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if self.0.values().any(|entry| text.contains(entry.value.expose())) {
                    "[redacted]".clone_into(text);
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|element| self.redact(element)),
            Value::Object(map) => map.values_mut().for_each(|entry| self.redact(entry)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// The database; `None` means the managed cluster.
    pub fn database_url(&self) -> Option<&Secret> {
        self.get("database_url")
    }

    /// The primary, when `database_url` is a replica.
    pub fn database_write_url(&self) -> Option<&Secret> {
        self.get("database_write_url")
    }

    /// The pepper of digests of stored tokens and codes: `oauth_at_rest_pepper`, else the older `jwt_secret`.
    pub fn at_rest_pepper(&self) -> Option<&Secret> {
        self.get("oauth_at_rest_pepper").or_else(|| self.get("jwt_secret"))
    }

    /// Reads the file and lays the environment over it. What is missing or unsafe is told as `settings.validation` says.
    pub(crate) fn load(
        settings: &SecretsSettings,
        path: &Path,
        is_cloud: bool,
        environment: &Environment,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut secrets = Self::default();
        if path.exists() {
            secrets.read_file(path, settings.validation, problems);
        } else if settings.source == SecretSource::File && !environment.in_container() {
            let message = "the secrets file does not exist";
            let problem = Problem::error("secrets", "", message).in_file(path).code("secrets_missing");
            tell(problem, settings.validation, problems);
        }
        secrets.overlay(environment);
        secrets.check(settings.validation, path, is_cloud, problems);
        secrets
    }

    fn read_file(&mut self, path: &Path, validation: Validation, problems: &mut Vec<Problem>) {
        let problem = |field: &str, message: String| Problem::error("secrets", field, message).in_file(path);
        match files::open_mode(path) {
            Ok(Some(mode)) => {
                let message = format!("others than the owner may access the file (mode {mode:04o})");
                let found = problem("", message).code("secrets_permissions");
                tell(found.suggest(format!("chmod 600 {}", path.display())), validation, problems);
            }
            Ok(None) => {}
            Err(error) => return problems.push(problem("", format!("cannot be read: {error}")).code("io")),
        }
        let text = match crate::yaml::read_text(path, "secrets") {
            Ok(text) => text,
            Err(found) => return problems.push(*found),
        };
        let Pairs(pairs) = match serde_json::from_str(&text) {
            Ok(pairs) => pairs,
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let error = error.to_string();
                let reason = error.split(" at line ").next().unwrap_or_default();
                let mut found = problem("", format!("is not a JSON map: {reason}")).code("secrets_invalid");
                (found.line, found.column) = (Some(line), Some(column));
                return problems.push(found);
            }
        };
        let mut seen: BTreeMap<String, String> = BTreeMap::new();
        for (key, value) in pairs {
            let at = |mut found: Problem| {
                let needle = format!("\"{key}\"");
                found.line = text.lines().position(|line| line.contains(&needle)).map(|index| index + 1);
                found.code("secrets_invalid")
            };
            let value = match value {
                Value::Null => continue,
                Value::String(value) if value.is_empty() => continue,
                Value::String(value) => value,
                _ => {
                    problems.push(at(problem(&key, "must be a text".to_owned())));
                    continue;
                }
            };
            let name = canonical(&key);
            if let Some(first) = seen.insert(name.clone(), key.clone()) {
                problems.push(at(problem(&key, format!("is the same secret as `{first}`, which is given too"))));
                continue;
            }
            self.0.insert(name, Entry { value: Secret::new(value), origin: SecretOrigin::File });
        }
    }

    fn overlay(&mut self, environment: &Environment) {
        let known = KNOWN.iter().filter_map(|known| {
            let value = known.variables.iter().find_map(|variable| environment.get(*variable))?;
            Some((known.name.to_owned(), value))
        });
        let custom = environment.get(environment::SYSTEMPROMPT_CUSTOM_SECRETS).unwrap_or_default().split(',');
        let custom = custom.filter_map(|name| Some((canonical(name.trim()), environment.lookup(name.trim())?)));
        for (name, value) in known.chain(custom) {
            self.0.insert(name, Entry { value: Secret::new(value), origin: SecretOrigin::Environment });
        }
    }

    fn check(&self, validation: Validation, path: &Path, is_cloud: bool, problems: &mut Vec<Problem>) {
        let mut found = Vec::new();
        if self.at_rest_pepper().is_none() {
            let problem = Problem::error("secrets", "oauth_at_rest_pepper", "is missing").code("secrets_missing");
            found.push((
                problem.suggest("set it to at least 32 random characters: openssl rand -base64 48"),
                validation,
            ));
        }
        if is_cloud && self.database_url().is_none() {
            let problem = Problem::error("secrets", "database_url", "is missing").code("secrets_missing");
            // Without a database nothing works, whatever the leniency.
            found.push((problem.suggest("set it to postgres://USER:PASSWORD@HOST/DATABASE"), Validation::Strict));
        }
        for name in ["oauth_at_rest_pepper", "jwt_secret"] {
            if self.get(name).is_some_and(|secret| secret.expose().chars().count() < MIN_SECRET_CHARACTERS) {
                let message = format!("must be at least {MIN_SECRET_CHARACTERS} characters long");
                found.push((Problem::error("secrets", name, message).code("secrets_invalid"), Validation::Strict));
            }
        }
        for name in ["database_url", "database_write_url", "internal_database_url", "external_database_url"] {
            let Some(secret) = self.get(name) else { continue };
            let Some(url) = postgres_url(secret.expose()) else {
                let message = "is not a PostgreSQL URL: postgres://USER:PASSWORD@HOST:5432/DATABASE";
                let problem = Problem::error("secrets", name, message).code("secrets_invalid");
                let hint = "in the user and password write @ as %40, : as %3A, / as %2F, # as %23 and % as %25";
                found.push((problem.suggest(hint), Validation::Strict));
                continue;
            };
            let unencrypted = url.query_pairs().any(|(key, value)| key == "sslmode" && value == "disable");
            if is_cloud && unencrypted && !is_private(&url) && validation == Validation::Strict {
                let message = "turns TLS off to a host that is not private";
                let problem = Problem::error("secrets", name, message).code("secrets_invalid");
                found.push((problem.suggest("use sslmode=require"), Validation::Strict));
            }
        }
        for (problem, seriousness) in found {
            let from_environment = self.origin(&problem.field) == Some(SecretOrigin::Environment);
            let problem = if from_environment {
                let variable =
                    KNOWN.iter().find(|known| known.name == problem.field).map(|known| known.variables[0].name);
                let field = problem.field.clone();
                Problem { message: format!("{} (set by {})", problem.message, variable.unwrap_or(&field)), ..problem }
            } else {
                problem.in_file(path)
            };
            tell(problem, seriousness, problems);
        }
    }
}

fn tell(problem: Problem, validation: Validation, problems: &mut Vec<Problem>) {
    match validation {
        Validation::Strict => problems.push(problem),
        Validation::Warn => problems.push(Problem { severity: Severity::Warning, ..problem }),
        Validation::Skip => {}
    }
}

fn postgres_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "postgres" | "postgresql"))
}

fn is_private(url: &Url) -> bool {
    match url.host() {
        // The host of a URL that is not http is always a domain; it may still be an address.
        Some(Host::Domain(name)) => match name.parse::<std::net::Ipv4Addr>() {
            Ok(address) => address.is_private() || address.is_loopback(),
            Err(_) => !name.contains('.') || matches!(name.rsplit('.').next(), Some("internal" | "local")),
        },
        Some(Host::Ipv4(address)) => address.is_private() || address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        None => true,
    }
}

/// The entries of a JSON map in their order, with repetitions.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEPPER: &str = "0123456789abcdef0123456789abcdef";

    struct Case<'a> {
        json: &'a str,
        settings: SecretsSettings,
        cloud: bool,
        variables: &'a [(&'a str, &'a str)],
    }

    impl Default for Case<'_> {
        fn default() -> Self {
            let settings = SecretsSettings { validation: Validation::Strict, ..SecretsSettings::default() };
            Self { json: "", settings, cloud: false, variables: &[("OAUTH_AT_REST_PEPPER", PEPPER)] }
        }
    }

    impl Case<'_> {
        fn load(&self) -> (Secrets, Vec<String>) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("secrets.json");
            if !self.json.is_empty() {
                files::write_secret_file(&path, self.json.as_bytes()).unwrap();
            }
            let environment = self.variables.iter().copied().collect();
            let mut problems = Vec::new();
            let secrets = Secrets::load(&self.settings, &path, self.cloud, &environment, &mut problems);
            let line = |p: &Problem| {
                let line = p.line.map(|line| format!("{line}: ")).unwrap_or_default();
                format!("{}{line}{p}", if p.is_error() { "" } else { "warning: " })
            };
            (secrets, problems.iter().map(line).collect())
        }
    }

    #[test]
    fn a_secret_has_one_name_whatever_it_is_called() {
        for key in ["anthropic", "anthropic_api_key", "ANTHROPIC_API_KEY", "Anthropic"] {
            let (secrets, problems) = Case { json: &format!(r#"{{"{key}": "k"}}"#), ..Case::default() }.load();
            assert_eq!(problems, [""; 0]);
            assert_eq!(secrets.get("ANTHROPIC_API_KEY").map(Secret::expose), Some("k"));
            assert!(secrets.names().any(|name| name == "anthropic"));
        }
        for (alias, name) in [("kimi", "moonshot"), ("DASHSCOPE_API_KEY", "qwen"), ("github_token", "github")] {
            assert_eq!(canonical(alias), name);
        }
    }

    #[test]
    fn the_environment_wins_key_by_key_and_the_origin_is_known() {
        let (secrets, problems) = Case {
            json: r#"{"anthropic": "file", "openai": "file", "gemini": null, "github": "", "my_key": "file"}"#,
            variables: &[
                ("OAUTH_AT_REST_PEPPER", PEPPER),
                ("OPENAI_API_KEY", "variable"),
                ("SYSTEMPROMPT_CUSTOM_SECRETS", "MY_KEY, OTHER,ABSENT"),
                ("OTHER", "variable"),
                ("MY_KEY", "variable"),
                ("UNLISTED", "x"),
            ],
            ..Case::default()
        }
        .load();
        assert_eq!(problems, [""; 0]);
        for (name, value, origin) in [
            ("anthropic", "file", SecretOrigin::File),
            ("openai", "variable", SecretOrigin::Environment),
            ("my_key", "variable", SecretOrigin::Environment),
            ("other", "variable", SecretOrigin::Environment),
        ] {
            assert_eq!(secrets.get(name).map(Secret::expose), Some(value), "{name}");
            assert_eq!(secrets.origin(name), Some(origin), "{name}");
        }
        for name in ["gemini", "github", "unlisted", "absent"] {
            assert!(secrets.get(name).is_none(), "{name}");
        }
    }

    #[test]
    fn rules() {
        let short = format!(r#"{{"oauth_at_rest_pepper": "short", "jwt_secret": "{PEPPER}"}}"#);
        for (json, expected) in [
            ("{", &["1: is not a JSON map: EOF while parsing an object"][..]),
            ("[]", &["1: is not a JSON map: invalid type: sequence, expected a map of texts"]),
            ("{\n \"a\": 1,\n \"b\": {}\n}", &["2: a: must be a text", "3: b: must be a text"]),
            (
                "{\"openai\": \"x\",\n\"openai_api_key\": \"y\"}",
                &["2: openai_api_key: is the same secret as `openai`, which is given too"],
            ),
            (
                r#"{"database_url": "mysql://h/db"}"#,
                &["database_url: is not a PostgreSQL URL: postgres://USER:PASSWORD@HOST:5432/DATABASE"],
            ),
            (
                r#"{"database_url": "postgres://u:p#1@h/db"}"#,
                &["database_url: is not a PostgreSQL URL: postgres://USER:PASSWORD@HOST:5432/DATABASE"],
            ),
            (r#"{"database_url": "postgresql://u:p@h:5/db?sslmode=disable"}"#, &[]),
            (r#"{"database_url": "postgres:///db?host=/run/pg"}"#, &[]),
        ] {
            assert_eq!(Case { json, ..Case::default() }.load().1, expected, "{json}");
        }
        let case = Case { json: &short, variables: &[], ..Case::default() };
        assert_eq!(case.load().1, ["oauth_at_rest_pepper: must be at least 32 characters long"]);
    }

    #[test]
    fn what_is_missing_is_as_serious_as_the_profile_says() {
        for (validation, expected) in [
            (Validation::Strict, &["the secrets file does not exist", "oauth_at_rest_pepper: is missing"][..]),
            (
                Validation::Warn,
                &["warning: the secrets file does not exist", "warning: oauth_at_rest_pepper: is missing"],
            ),
            (Validation::Skip, &[]),
        ] {
            let settings = SecretsSettings { validation, ..SecretsSettings::default() };
            assert_eq!(Case { settings, variables: &[], ..Case::default() }.load().1, expected);
        }
        let settings = SecretsSettings { source: SecretSource::Env, ..Case::default().settings };
        assert_eq!(Case { settings, ..Case::default() }.load().1, [""; 0]);
        let container = &[("SYSTEMPROMPT_CONTAINER", "1"), ("OAUTH_AT_REST_PEPPER", PEPPER)];
        assert_eq!(Case { variables: container, ..Case::default() }.load().1, [""; 0]);
    }

    #[test]
    fn a_cloud_target_needs_an_encrypted_database() {
        for (url, expected) in [
            (None, &["database_url: is missing"][..]),
            (Some("postgres://u:p@db.example.com/d"), &[]),
            (Some("postgres://u:p@10.0.0.5/d?sslmode=disable"), &[]),
            (
                Some("postgres://u:p@db.example.com/d?sslmode=disable"),
                &["database_url: turns TLS off to a host that is not private (set by DATABASE_URL)"],
            ),
        ] {
            let mut variables = vec![("OAUTH_AT_REST_PEPPER", PEPPER), ("SYSTEMPROMPT_CONTAINER", "1")];
            variables.extend(url.map(|url| ("DATABASE_URL", url)));
            assert_eq!(Case { cloud: true, variables: &variables, ..Case::default() }.load().1, expected, "{url:?}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_told() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        std::fs::write(&path, format!(r#"{{"jwt_secret": "{PEPPER}"}}"#)).unwrap();
        for (mode, validation, expected) in [
            (0o600, Validation::Strict, None),
            (0o640, Validation::Strict, Some(true)),
            (0o604, Validation::Warn, Some(false)),
            (0o644, Validation::Skip, None),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let settings = SecretsSettings { validation, ..SecretsSettings::default() };
            let mut problems = Vec::new();
            Secrets::load(&settings, &path, false, &Environment::default(), &mut problems);
            assert_eq!(problems.first().map(Problem::is_error), expected, "{mode:o}");
            if let Some(problem) = problems.first() {
                assert_eq!(problem.code, "secrets_permissions");
                assert!(problem.suggestion.as_ref().unwrap().starts_with("chmod 600 "));
            }
        }
    }

    #[test]
    fn no_value_is_ever_shown() {
        let (secrets, _) = Case { json: r#"{"openai": "canary"}"#, ..Case::default() }.load();
        assert!(!format!("{secrets:?}").contains("canary"));
        let case = Case { json: r#"{"database_url": "canary://canary:canary"}"#, ..Case::default() };
        assert!(!case.load().1.concat().contains("canary"));
    }
}
