//! `admin config rate-limits preset`: limits somebody has thought of.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use systemprompt_config::profile::RateLimits;

use super::difference::differences;
use super::file::apply;
use crate::error::CliResult;
use crate::project::Invocation;
use crate::view::{Page, Row};

/// Limits for an occasion.
#[derive(Debug, Subcommand)]
pub(crate) enum Preset {
    List(List),
    Show(Show),
    Apply(Apply),
}

/// Which there are.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// What one would change.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Which.
    preset: Name,
}

/// Take one.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// Which.
    preset: Name,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    /// The defaults.
    Production,
    /// So high that no test meets them.
    Testing,
    /// None at all.
    Disabled,
}

impl Name {
    const ALL: [Self; 3] = [Self::Production, Self::Testing, Self::Disabled];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Testing => "testing",
            Self::Disabled => "disabled",
        }
    }

    const fn about(self) -> &'static str {
        match self {
            Self::Production => "the defaults",
            Self::Testing => "10000 requests a second everywhere, a hundred seconds' worth at once",
            Self::Disabled => "no limits",
        }
    }

    fn limits(self) -> RateLimits {
        match self {
            Self::Production => RateLimits::default(),
            Self::Disabled => RateLimits { disabled: true, ..RateLimits::default() },
            Self::Testing => {
                const FAST: u64 = 10_000;
                RateLimits {
                    oauth_public_per_second: FAST,
                    oauth_auth_per_second: FAST,
                    contexts_per_second: FAST,
                    tasks_per_second: FAST,
                    artifacts_per_second: FAST,
                    agent_registry_per_second: FAST,
                    agents_per_second: FAST,
                    mcp_registry_per_second: FAST,
                    mcp_per_second: FAST,
                    stream_per_second: FAST,
                    content_per_second: FAST,
                    gateway_per_second: FAST,
                    admin_per_second: FAST,
                    sync_per_second: FAST,
                    webhook_per_second: FAST,
                    burst_multiplier: 100,
                    ..RateLimits::default()
                }
            }
        }
    }
}

impl Preset {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::List(List {}) => {
                let all = Name::ALL.map(|name| Listed { preset: name.as_str(), about: name.about() });
                invocation.printer.show(&Page::whole(all.into()));
                Ok(())
            }
            Self::Show(Show { preset }) => {
                let limits = invocation.project()?.configuration.profile.rate_limits.clone();
                invocation.printer.show(&Page::whole(differences(&limits, &preset.limits())));
                Ok(())
            }
            Self::Apply(Apply { preset, yes }) => {
                let what = format!("the preset {}", preset.as_str());
                apply(invocation, &preset.limits(), "rate_limits.preset", &what, yes).await
            }
        }
    }
}

#[derive(Debug, Serialize)]
struct Listed {
    preset: &'static str,
    about: &'static str,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] = &["preset", "about"];
    const NONE: &'static str = "None.";

    fn cells(&self) -> Vec<String> {
        vec![self.preset.to_owned(), self.about.to_owned()]
    }
}
