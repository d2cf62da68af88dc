//! `security`: who issues tokens, for whom and for how long.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problems::Problems;
use crate::profile::server::http_url;

/// The audiences the product itself issues tokens for.
const KNOWN_AUDIENCES: [&str; 7] = ["web", "api", "a2a", "mcp", "internal", "bridge", "hook"];
/// The longest life of an access token, in seconds: one year.
const MAX_ACCESS_SECONDS: i64 = 31_536_000;
/// Access tokens should not live longer than this in production, in seconds: one day.
const PRODUCTION_ACCESS_SECONDS: i64 = 86_400;

/// Who issues tokens, for whom and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// The `iss` of our tokens: an absolute URL, because others fetch `<issuer>/.well-known/jwks.json`.
    /// `server.api_external_url` by default.
    #[serde(default)]
    pub jwt_issuer: Option<String>,
    /// The life of an access token in seconds, at most one year; one day or less in production.
    #[schemars(range(min = 1, max = MAX_ACCESS_SECONDS))]
    pub jwt_access_token_expiration: i64,
    /// The life of a refresh token in seconds, at least that of an access token.
    #[schemars(range(min = 1, max = 3_153_600_000_i64))]
    pub jwt_refresh_token_expiration: i64,
    /// The audiences tokens are issued for; at least one of `web`, `api`, `a2a`, `mcp`, `internal`, `bridge`, `hook`.
    #[schemars(length(min = 1))]
    pub jwt_audiences: Vec<String>,
    /// Further resources that tokens may be asked for.
    #[serde(default)]
    pub allowed_resource_audiences: Vec<String>,
    /// Whether strangers may make an account. By default they may on a local target only.
    #[serde(default)]
    pub allow_registration: Option<bool>,
    /// A login page elsewhere.
    #[serde(default)]
    pub login_page_url: Option<String>,
    /// The RS256 private key in PEM, at least 2048 bits, readable by its owner only.
    #[serde(default = "default_signing_key_path")]
    pub signing_key_path: PathBuf,
    /// Issuers whose tokens are accepted besides our own.
    #[serde(default)]
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// The life of an identity assertion grant in seconds.
    #[serde(default = "default_id_jag_ttl_secs")]
    #[schemars(range(min = 1, max = 86_400))]
    pub id_jag_ttl_secs: u64,
    /// Addresses that are shut out (`admin users ban`).
    #[serde(default)]
    pub ip_bans: IpBans,
}

/// Addresses that are shut out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IpBans {
    /// What becomes of requests while the list of bans cannot be read from the database.
    pub when_unknown: WhenUnknown,
}

/// What becomes of requests while nobody knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenUnknown {
    /// The bans that were known last hold, and everybody else is let in.
    #[default]
    Allow,
    /// Nobody is let in (503).
    Refuse,
}

/// An issuer whose tokens are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are; https.
    pub jwks_uri: String,
    /// The `aud` its tokens must carry.
    pub audience: String,
    /// The `typ` headers that are accepted; all when empty.
    #[serde(default)]
    pub typ_allowlist: Vec<String>,
    /// The clients that are accepted; all when empty.
    #[serde(default)]
    pub allowed_client_ids: Vec<String>,
    /// Whether it may issue identity assertion grants.
    #[serde(default)]
    pub can_issue_id_jag: bool,
}

fn default_signing_key_path() -> PathBuf {
    PathBuf::from("signing_key.pem")
}

pub(super) fn default_id_jag_ttl_secs() -> u64 {
    300
}

pub(super) fn check(security: &Security, is_production: bool, problems: &mut Problems<'_>) {
    if let Some(issuer) = &security.jwt_issuer {
        let pointer = "/security/jwt_issuer";
        if let Err(reason) = http_url(issuer) {
            let quoted = problems.quote(pointer, issuer);
            if issuer.contains("://") {
                problems.error(pointer, format!("{reason}, got {quoted}"));
            } else {
                problems
                    .warning(
                        pointer,
                        format!("should be an absolute URL, got {quoted}: others fetch the keys below it"),
                    )
                    .hint("leave it out to use server.api_external_url");
            }
        }
    }
    let (access, refresh) = (security.jwt_access_token_expiration, security.jwt_refresh_token_expiration);
    if refresh < access {
        problems.error(
            "/security/jwt_refresh_token_expiration",
            format!("is {refresh} seconds, shorter than the access token's {access}"),
        );
    }
    if is_production && access > PRODUCTION_ACCESS_SECONDS {
        problems
            .warning("/security/jwt_access_token_expiration", format!("is {access} seconds in production"))
            .hint("use 86400 or less, and refresh tokens for longer sessions");
    }
    if !security.jwt_audiences.iter().any(|audience| KNOWN_AUDIENCES.contains(&audience.as_str())) {
        problems.error("/security/jwt_audiences", format!("must hold one of {}", KNOWN_AUDIENCES.join(", ")));
    }
    if let Some(page) = &security.login_page_url
        && let Err(reason) = http_url(page)
    {
        problems.error("/security/login_page_url", reason);
    }
    for (index, trusted) in security.trusted_issuers.iter().enumerate() {
        let pointer = |key: &str| format!("/security/trusted_issuers/{index}/{key}");
        if let Err(reason) = http_url(&trusted.issuer) {
            problems.error(&pointer("issuer"), reason);
        }
        if http_url(&trusted.jwks_uri).is_err() || !trusted.jwks_uri.starts_with("https://") {
            problems.error(&pointer("jwks_uri"), "must be an absolute https URL");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::problems_of;

    #[test]
    fn the_rules_of_tokens() {
        let sound = "jwt_access_token_expiration: 3600, jwt_refresh_token_expiration: 7200, jwt_audiences: [api]";
        for (yaml, expected) in [
            (format!("security: {{{sound}}}"), &[][..]),
            (format!("security: {{jwt_issuer: 'https://id.example.com', {sound}}}"), &[]),
            (
                format!("security: {{jwt_issuer: systemprompt-local, {sound}}}"),
                &["warning: security.jwt_issuer: should be an absolute URL, got `systemprompt-local`: others fetch the keys below it"],
            ),
            (
                format!("security: {{jwt_issuer: 'ftp://x', {sound}}}"),
                &["security.jwt_issuer: must be an http or https URL, got `ftp://x`"],
            ),
            (
                "security: {jwt_access_token_expiration: 9, jwt_refresh_token_expiration: 8, jwt_audiences: [mine]}".to_owned(),
                &[
                    "security.jwt_refresh_token_expiration: is 8 seconds, shorter than the access token's 9",
                    "security.jwt_audiences: must hold one of web, api, a2a, mcp, internal, bridge, hook",
                ],
            ),
            (
                format!(
                    "security: {{{sound}, trusted_issuers: [{{issuer: x, jwks_uri: 'http://y', audience: z}}]}}"
                ),
                &[
                    "security.trusted_issuers[0].issuer: must be an absolute URL",
                    "security.trusted_issuers[0].jwks_uri: must be an absolute https URL",
                ],
            ),
            (
                "runtime: {environment: production}\nsecrets: {validation: strict}\nsecurity: {jwt_access_token_expiration: 90000, \
                 jwt_refresh_token_expiration: 90000, jwt_audiences: [api]}"
                    .to_owned(),
                &["warning: security.jwt_access_token_expiration: is 90000 seconds in production"],
            ),
        ] {
            assert_eq!(problems_of(&yaml), expected, "{yaml}");
        }
    }
}
