//! The profile: how one instance runs. The sections of other features are not here; see [`crate::SectionSpec`].

mod cloud;
mod database;
mod draft;
mod extensions;
mod general;
mod paths;
mod problems;
mod rate_limits;
mod rules;
mod runtime;
mod secret_source;
mod security;
mod server;
mod without_effect;

pub use cloud::Cloud;
pub use database::{Database, DatabaseType, Pool};
pub use draft::Profile;
pub use extensions::{Extensions, ServicePorts};
pub use general::{Site, SystemAdmin, Target};
pub use paths::Paths;
pub use rate_limits::{RateGroup, RateLimitBackend, RateLimits, TierMultipliers};
pub use runtime::{EnvironmentKind, LogLevel, OutputFormat, Runtime};
pub use secret_source::{SecretSource, SecretsSettings, Validation};
pub use security::{IpBans, Security, TrustedIssuer, WhenUnknown};
pub use server::{ContentNegotiation, FrameOptions, ReferrerPolicy, SecurityHeaders, Server, Tls};

pub(crate) use draft::Draft;
pub(crate) use paths::resolve as resolve_path;
pub(crate) use problems::Problems;
pub(crate) use rules::check;

/// Runs `check` on a profile made of these YAML parts and returns the problems, one line each.
#[cfg(test)]
pub(crate) fn problems_of(yaml: &str) -> Vec<String> {
    problems_in(yaml, &crate::environment::Environment::default())
}

#[cfg(test)]
pub(crate) fn problems_in(yaml: &str, environment: &crate::environment::Environment) -> Vec<String> {
    let document = crate::yaml::parse(yaml, std::path::Path::new("profile.yaml"), "profile").unwrap();
    let mut problems = Problems { domain: "profile", document: &document, found: Vec::new() };
    let draft = Draft::read(&document, |_| true, &mut problems);
    check(&draft, environment, &mut problems);
    let line = |p: &crate::report::Problem| format!("{}{p}", if p.is_error() { "" } else { "warning: " });
    problems.found.iter().map(line).collect()
}
