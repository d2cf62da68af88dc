//! `admin config gateway default-provider`.

use clap::{Args, Subcommand};
use serde_json::json;
use systemprompt_config::edit::Step::Key;

use crate::error::CliResult;
use crate::profile_file::ProfileFile;
use crate::project::Invocation;

/// The provider that gets what no route and no list of models covers.
#[derive(Debug, Subcommand)]
pub(crate) enum DefaultProvider {
    Set(Set),
    Clear(Clear),
}

/// Send what nothing else covers to a provider.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Its name.
    provider: String,
}

/// Refuse what nothing covers.
#[derive(Debug, Args)]
pub(crate) struct Clear {}

impl DefaultProvider {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let mut profile = ProfileFile::open(invocation)?;
        let path = [Key("gateway"), Key("default_provider")];
        let (provider, done) = match self {
            Self::Set(Set { provider }) => {
                profile.set(&path, &provider)?;
                let done = format!("What nothing else covers goes to `{provider}`.");
                (Some(provider), done)
            }
            Self::Clear(Clear {}) => {
                profile.remove(&path)?;
                (None, "What nothing covers is refused.".to_owned())
            }
        };
        profile.save("gateway.default_provider", &json!({"provider": provider}), done).await
    }
}
