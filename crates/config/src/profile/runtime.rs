//! `runtime`: the kind of environment, verbosity, output, and the variables that win over them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::environment::{self, Environment};
use crate::report::Problem;

/// Kind of environment, verbosity, output. A command-line flag or environment variable wins over each of these.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// The kind of environment; `production` turns risky settings into warnings.
    pub environment: EnvironmentKind,
    /// How much the server logs. `RUST_LOG` wins. Commands log warnings, or errors only with `quiet`.
    pub log_level: LogLevel,
    /// The format of command output and of the server log, which is text for `yaml`.
    pub output_format: OutputFormat,
    /// Whether output is without colour.
    pub no_color: bool,
    /// Whether commands never ask.
    pub non_interactive: bool,
}

/// The kind of environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentKind {
    /// A developer's machine.
    #[default]
    Development,
    /// Automated tests.
    Test,
    /// The rehearsal of production.
    Staging,
    /// Real users.
    Production,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Errors.
    Quiet,
    /// What an operator wants to know.
    #[default]
    Normal,
    /// Every step.
    Verbose,
    /// Everything.
    Debug,
}

impl LogLevel {
    /// The level in the terms of `tracing`: `error`, `info`, `debug` or `trace`.
    pub fn filter(self) -> &'static str {
        match self {
            Self::Quiet => "error",
            Self::Normal => "info",
            Self::Verbose => "debug",
            Self::Debug => "trace",
        }
    }
}

/// The format of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

impl Runtime {
    /// Lays the environment variables over the profile's values; a value none of them knows is a problem.
    pub(crate) fn overridden(mut self, environment: &Environment, problems: &mut Vec<Problem>) -> Self {
        if let Some(level) = variable(environment, environment::SYSTEMPROMPT_LOG_LEVEL, problems) {
            self.log_level = level;
        }
        if let Some(format) = variable(environment, environment::SYSTEMPROMPT_OUTPUT_FORMAT, problems) {
            self.output_format = format;
        }
        self.no_color |= environment.no_color();
        self.non_interactive |= environment.non_interactive();
        self
    }
}

fn variable<T: for<'de> Deserialize<'de>>(
    environment: &Environment,
    variable: environment::Variable,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let text = environment.get(variable)?;
    serde_json::from_value(text.to_ascii_lowercase().into())
        .map_err(|error| problems.push(Problem::error("profile", variable.name, error.to_string())))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_wins_over_the_profile() {
        let environment = Environment::from([("SYSTEMPROMPT_LOG_LEVEL", "Quiet"), ("NO_COLOR", "1"), ("CI", "1")]);
        let mut problems = Vec::new();
        let runtime = Runtime { log_level: LogLevel::Debug, output_format: OutputFormat::Yaml, ..Runtime::default() };
        let runtime = runtime.overridden(&environment, &mut problems);
        assert_eq!(problems, []);
        assert_eq!((runtime.log_level, runtime.output_format), (LogLevel::Quiet, OutputFormat::Yaml));
        assert!(runtime.no_color && runtime.non_interactive);
    }

    #[test]
    fn an_unknown_value_of_a_variable_is_told() {
        let environment = Environment::from([("SYSTEMPROMPT_OUTPUT_FORMAT", "xml")]);
        let mut problems = Vec::new();
        Runtime::default().overridden(&environment, &mut problems);
        let expected = "SYSTEMPROMPT_OUTPUT_FORMAT: unknown variant `xml`, expected one of `text`, `json`, `yaml`";
        assert_eq!(problems[0].to_string(), expected);
    }
}
