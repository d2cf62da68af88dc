//! The process environment: read once, here, into a value that is passed to whoever needs it.
//!
//! Every variable the product knows is a documented constant of this module; [`VARIABLES`] lists them for the reference.
//! Besides these there are the names that documents ask for with `${NAME}`, and `SYSTEMPROMPT_EXT__<PREFIX>__<KEY>` for the
//! settings of extensions where the profile allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A variable the product reads, with its line of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// The name in the process environment.
    pub name: &'static str,
    /// What it does, one sentence.
    pub summary: &'static str,
    /// Whether the value must never be shown.
    pub secret: bool,
}

macro_rules! variables {
    ($($(#[$mark:ident])? $constant:ident = $name:literal, $summary:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $summary)]
            pub const $constant: Variable =
                Variable { name: $name, summary: $summary, secret: variables!(@secret $($mark)?) };
        )*
        /// Every variable, in the order of the reference.
        pub const VARIABLES: &[Variable] = &[$($constant),*];
    };
    (@secret) => { false };
    (@secret secret) => { true };
}

variables! {
    SYSTEMPROMPT_HOME = "SYSTEMPROMPT_HOME", "The project home directory, as `--home` does.";
    SYSTEMPROMPT_PROFILE = "SYSTEMPROMPT_PROFILE", "The profile to use: a name, a profile directory, or the path of a profile file.";
    #[secret] SYSTEMPROMPT_DATABASE_URL = "SYSTEMPROMPT_DATABASE_URL", "The database of commands that need nothing but a database, as `--database-url` does.";
    SYSTEMPROMPT_PG_BIN = "SYSTEMPROMPT_PG_BIN", "The directory with the PostgreSQL server binaries (`initdb`, `postgres`) for the managed cluster.";
    SYSTEMPROMPT_SERVICES_PATH = "SYSTEMPROMPT_SERVICES_PATH", "The services directory, instead of `paths.services` of the profile.";
    SYSTEMPROMPT_CONFIG_PATH = "SYSTEMPROMPT_CONFIG_PATH", "The root document of the services tree, instead of `config/config.yaml` below the services directory.";
    SYSTEMPROMPT_SKILLS_PATH = "SYSTEMPROMPT_SKILLS_PATH", "The skills directory, instead of `settings.skills_path`.";
    SYSTEMPROMPT_OUTPUT_FORMAT = "SYSTEMPROMPT_OUTPUT_FORMAT", "The output format of commands and of the server log: `text`, `json` or `yaml`.";
    SYSTEMPROMPT_LOG_LEVEL = "SYSTEMPROMPT_LOG_LEVEL", "How much is logged: `quiet`, `normal`, `verbose` or `debug`.";
    RUST_LOG = "RUST_LOG", "A log filter in the syntax of `tracing`; it wins over every log level.";
    SYSTEMPROMPT_NO_COLOR = "SYSTEMPROMPT_NO_COLOR", "Any value but `0` or `false` turns colour off.";
    NO_COLOR = "NO_COLOR", "Any value turns colour off, by the convention of no-color.org.";
    SYSTEMPROMPT_NON_INTERACTIVE = "SYSTEMPROMPT_NON_INTERACTIVE", "Any value but `0` or `false`: commands never ask, a missing value is an error.";
    CI = "CI", "Any value but `0` or `false`: as `SYSTEMPROMPT_NON_INTERACTIVE`.";
    SYSTEMPROMPT_CONTAINER = "SYSTEMPROMPT_CONTAINER", "`1` in our container images: secrets come from the environment.";
    FLY_APP_NAME = "FLY_APP_NAME", "Older sign of a container, still understood.";
    SYSTEMPROMPT_APP_ROOT = "SYSTEMPROMPT_APP_ROOT", "The root that the paths of a cloud profile must lie below; `/app` when unset.";
    SYSTEMPROMPT_TRUSTED_HTTP_HOSTS = "SYSTEMPROMPT_TRUSTED_HTTP_HOSTS", "Comma-separated hosts that providers may be reached at over plain HTTP or on private addresses, and mail servers without TLS.";
    SYSTEMPROMPT_CUSTOM_SECRETS = "SYSTEMPROMPT_CUSTOM_SECRETS", "Comma-separated names of further variables that are secrets.";
    #[secret] DATABASE_URL = "DATABASE_URL", "Secret `database_url`: the PostgreSQL database; it replaces the managed cluster.";
    #[secret] DATABASE_WRITE_URL = "DATABASE_WRITE_URL", "Secret `database_write_url`: the primary, when `database_url` is a replica.";
    #[secret] INTERNAL_DATABASE_URL = "INTERNAL_DATABASE_URL", "Secret `internal_database_url`: the database as seen inside the platform.";
    #[secret] EXTERNAL_DATABASE_URL = "EXTERNAL_DATABASE_URL", "Secret `external_database_url`: the database as seen from outside the platform.";
    #[secret] JWT_SECRET = "JWT_SECRET", "Secret `jwt_secret`: older signing secret, at least 32 characters.";
    #[secret] OAUTH_AT_REST_PEPPER = "OAUTH_AT_REST_PEPPER", "Secret `oauth_at_rest_pepper`: pepper of stored tokens and codes, at least 32 characters.";
    #[secret] SIGNING_KEY_PEM = "SIGNING_KEY_PEM", "Secret `signing_key_pem`: base64 of the RS256 private key in PEM.";
    #[secret] MANIFEST_SIGNING_SECRET_SEED = "MANIFEST_SIGNING_SECRET_SEED", "Secret `manifest_signing_secret_seed`: base64 of 32 bytes.";
    #[secret] ANTHROPIC_API_KEY = "ANTHROPIC_API_KEY", "Secret `anthropic`: key of the Anthropic API.";
    #[secret] OPENAI_API_KEY = "OPENAI_API_KEY", "Secret `openai`: key of the OpenAI API.";
    #[secret] GEMINI_API_KEY = "GEMINI_API_KEY", "Secret `gemini`: key of the Gemini API.";
    #[secret] MOONSHOT_API_KEY = "MOONSHOT_API_KEY", "Secret `moonshot`: key of the Moonshot API.";
    #[secret] KIMI_API_KEY = "KIMI_API_KEY", "Secret `moonshot`, other spelling.";
    #[secret] QWEN_API_KEY = "QWEN_API_KEY", "Secret `qwen`: key of the Qwen API.";
    #[secret] DASHSCOPE_API_KEY = "DASHSCOPE_API_KEY", "Secret `qwen`, other spelling.";
    #[secret] GITHUB_TOKEN = "GITHUB_TOKEN", "Secret `github`: token of the GitHub API.";
    #[secret] SYNC_TOKEN = "SYNC_TOKEN", "Secret `sync_token`: token of the synchronisation with a cloud tenant.";
    HOME = "HOME", "The user's home directory, which `~/` in paths stands for.";
    USERPROFILE = "USERPROFILE", "The user's home directory where `HOME` is unset.";
    XDG_CONFIG_HOME = "XDG_CONFIG_HOME", "Where `connect` keeps the keys of clients and finds the settings of some; `~/.config` when unset.";
    CLAUDE_CONFIG_DIR = "CLAUDE_CONFIG_DIR", "Where Claude Code has its settings; `~/.claude` when unset.";
    CODEX_HOME = "CODEX_HOME", "Where Codex has its settings; `~/.codex` when unset.";
    GEMINI_CLI_HOME = "GEMINI_CLI_HOME", "The directory in which Gemini CLI has its `.gemini`; the user's home when unset.";
    XDG_DATA_HOME = "XDG_DATA_HOME", "Where set-up puts PostgreSQL's programs when the system has none; `~/.local/share` when unset.";
    XDG_RUNTIME_DIR = "XDG_RUNTIME_DIR", "Where the managed cluster's socket goes when the home's path is too long for one.";
    PATH = "PATH", "Where programs such as the PostgreSQL binaries are looked for.";
}

/// A snapshot of the process environment. An empty variable counts as unset; values that are not UTF-8 are left out.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process, now.
    pub fn from_process() -> Self {
        let texts = std::env::vars_os();
        texts.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }

    /// The value of a variable the product knows.
    pub fn get(&self, variable: Variable) -> Option<&str> {
        self.lookup(variable.name)
    }

    /// The value of any variable: what `${NAME}` stands for.
    pub fn lookup(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether a switch is on: set to anything but `0` or `false`.
    pub fn is_on(&self, variable: Variable) -> bool {
        self.get(variable).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// The hosts that may be reached without TLS and at private addresses, in lower case.
    pub fn trusted_http_hosts(&self) -> BTreeSet<String> {
        let hosts = self.get(SYSTEMPROMPT_TRUSTED_HTTP_HOSTS).unwrap_or_default().split(',').map(str::trim);
        hosts.filter(|host| !host.is_empty()).map(str::to_ascii_lowercase).collect()
    }

    /// Whether this process runs in a container of ours.
    pub fn in_container(&self) -> bool {
        self.is_on(SYSTEMPROMPT_CONTAINER) || self.get(FLY_APP_NAME).is_some()
    }

    /// Whether colour is unwanted.
    pub fn no_color(&self) -> bool {
        self.get(NO_COLOR).is_some() || self.is_on(SYSTEMPROMPT_NO_COLOR)
    }

    /// Whether commands must not ask.
    pub fn non_interactive(&self) -> bool {
        self.is_on(SYSTEMPROMPT_NON_INTERACTIVE) || self.is_on(CI)
    }

    /// The variables whose names start with `prefix`, in order.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .range(prefix.to_owned()..)
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// An environment of a test.
impl<N: Into<String>, V: Into<String>, const LENGTH: usize> From<[(N, V); LENGTH]> for Environment {
    fn from(variables: [(N, V); LENGTH]) -> Self {
        variables.into_iter().collect()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let pairs = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(pairs.filter(|(_, value): &(String, String)| !value.is_empty()).collect())
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let environment = Environment::from([("NO_COLOR", ""), ("CI", "true"), ("SYSTEMPROMPT_CONTAINER", "0")]);
        assert_eq!(environment.get(NO_COLOR), None);
        assert!(environment.non_interactive());
        assert!(!environment.in_container());
    }

    #[test]
    fn values_are_not_in_the_debug_form() {
        let environment = Environment::from([("OPENAI_API_KEY", "sk-canary")]);
        assert_eq!(format!("{environment:?}"), r#"{"OPENAI_API_KEY"}"#);
    }

    #[test]
    fn every_variable_is_listed_once_with_a_sentence() {
        for (index, variable) in VARIABLES.iter().enumerate() {
            assert!(variable.summary.ends_with('.'), "{}", variable.name);
            assert!(VARIABLES[..index].iter().all(|earlier| earlier.name != variable.name), "{}", variable.name);
        }
    }
}
