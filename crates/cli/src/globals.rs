//! The options every command takes, and what they, the environment and the profile together ask for.

use std::path::{Path, PathBuf};

use clap::Args;
use systemprompt_config::profile::{LogLevel, OutputFormat, Runtime};
use systemprompt_config::runtime_in_force;
use systemprompt_config::{Environment, Home};
use systemprompt_model::Secret;

/// Options every command takes, before or after its name.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The project home; by default `.systemprompt` here or in a directory above.
    #[arg(long, global = true, value_name = "DIR", env = "SYSTEMPROMPT_HOME")]
    pub(crate) home: Option<PathBuf>,
    /// The profile: a name, or the path of a profile or its directory.
    #[arg(long, global = true, value_name = "NAME|PATH", env = "SYSTEMPROMPT_PROFILE")]
    pub(crate) profile: Option<String>,
    /// The database, for commands that need nothing else: `infra db`, `infra logs`, `admin users`. `-` reads it from
    /// standard input.
    #[arg(long, global = true, value_name = "URL", env = "SYSTEMPROMPT_DATABASE_URL", hide_env_values = true, value_parser = crate::given::parse)]
    pub(crate) database_url: Option<Secret>,
    /// Print one JSON document.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print one YAML document.
    #[arg(long, global = true, conflicts_with = "json")]
    pub(crate) yaml: bool,
    /// Say more.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Print results and errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Show the causes of errors and log everything.
    #[arg(long, global = true)]
    pub(crate) debug: bool,
    /// No colours or boxes.
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Never ask; a missing value is an error.
    #[arg(long, global = true)]
    pub(crate) non_interactive: bool,
}

impl Globals {
    /// How this process speaks and asks: flag, then environment, then the profile's `runtime`.
    pub(crate) fn runtime(&self, env: &Environment, working_directory: Option<&Path>) -> Runtime {
        let home = working_directory.and_then(|directory| Home::discover(self.home.as_deref(), directory).ok());
        let mut runtime = runtime_in_force(home.as_ref(), self.profile.as_deref(), env);
        if self.json {
            runtime.output_format = OutputFormat::Json;
        } else if self.yaml {
            runtime.output_format = OutputFormat::Yaml;
        }
        if self.debug {
            runtime.log_level = LogLevel::Debug;
        } else if self.verbose {
            runtime.log_level = LogLevel::Verbose;
        } else if self.quiet {
            runtime.log_level = LogLevel::Quiet;
        }
        runtime.no_color |= self.no_color;
        runtime.non_interactive |= self.non_interactive;
        runtime
    }
}
