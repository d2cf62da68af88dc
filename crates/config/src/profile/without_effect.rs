//! Keys that belong to features this version does not have. They are accepted, so that a profile written for a newer version
//! loads, and each one that is set is told: a key that silently does nothing is worse than one that is refused.
//!
//! A feature that begins to read a key deletes its row here.

use super::draft::Draft;
use super::problems::Problems;
use super::rate_limits::{RateGroup, RateLimits};
use super::secret_source::Validation;
use super::server::ContentNegotiation;
use crate::document::dotted;
use crate::report::Problem;

pub(super) fn check(draft: &Draft, problems: &mut Problems<'_>) {
    let mut tell = |is_set: bool, pointer: &str, why: &str| {
        // What is wrong as well is told once, as wrong.
        let field = dotted(pointer);
        let is_wrong = |problem: &Problem| problem.is_error() && problem.field.starts_with(&field);
        if is_set && !problems.found.iter().any(is_wrong) {
            problems.warning(pointer, format!("has no effect yet: {why}")).code = "no_effect";
        }
    };
    if let Some(site) = &draft.site {
        tell(site.github_link.is_some(), "/site/github_link", "no page shows it");
    }
    if let Some(database) = &draft.database {
        let why = "this version does not decide how a database is reached";
        tell(database.external_db_access, "/database/external_db_access", why);
    }
    if let Some(server) = &draft.server {
        let pages = server.content_negotiation != ContentNegotiation::default();
        tell(pages, "/server/content_negotiation", "this version has no content pages");
    }
    if let Some(paths) = &draft.paths {
        tell(paths.web_path.is_some(), "/paths/web_path", "this version serves no web pages");
        tell(paths.storage.is_some(), "/paths/storage", "this version stores no files");
        tell(paths.geoip_database.is_some(), "/paths/geoip_database", "this version looks no addresses up");
    }
    if let Some(security) = &draft.security {
        let sign_in = "this version has no sign-in for browsers";
        tell(security.allow_registration.is_some(), "/security/allow_registration", sign_in);
        tell(security.login_page_url.is_some(), "/security/login_page_url", sign_in);
        let resources = !security.allowed_resource_audiences.is_empty();
        tell(resources, "/security/allowed_resource_audiences", "this version issues no tokens for other resources");
        let issuers = !security.trusted_issuers.is_empty();
        tell(issuers, "/security/trusted_issuers", "this version accepts only its own tokens");
        let lifetime = security.id_jag_ttl_secs != super::security::default_id_jag_ttl_secs();
        tell(lifetime, "/security/id_jag_ttl_secs", "this version issues no identity assertion grants");
    }
    if let Some(cloud) = &draft.cloud {
        let why = "this version does not speak to a control plane";
        tell(cloud.tenant_id.is_some(), "/cloud/tenant_id", why);
        tell(cloud.validation == Validation::Strict, "/cloud/validation", why);
    }
    if let Some(services) = &draft.services {
        let why = "this version runs no agents or MCP servers";
        tell(services.port_offset != 0, "/services/port_offset", why);
    }
    if let Some(limits) = draft.rate_limits.as_ref().filter(|limits| !limits.disabled) {
        let usual = RateLimits::default();
        for group in RateGroup::ALL {
            let is_set = !group.is_served() && limits.rate(group) != usual.rate(group);
            tell(is_set, &format!("/rate_limits/{}", group.key()), "this version has no such endpoints");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::problems_of;

    #[test]
    fn a_key_without_effect_is_told_when_it_is_set() {
        for (yaml, expected) in [
            (
                "server: {content_negotiation: {enabled: true}, host: a, port: 1, api_server_url: 'http://a:1', api_internal_url: 'http://a:1', api_external_url: 'http://a:1'}",
                "warning: server.content_negotiation: has no effect yet: this version has no content pages",
            ),
            (
                "cloud: {tenant_id: t, validation: skip}",
                "warning: cloud.tenant_id: has no effect yet: this version does not speak to a control plane",
            ),
            (
                "services: {port_offset: 100}",
                "warning: services.port_offset: has no effect yet: this version runs no agents or MCP servers",
            ),
            (
                "rate_limits: {mcp_per_second: 20, gateway_per_second: 20}",
                "warning: rate_limits.mcp_per_second: has no effect yet: this version has no such endpoints",
            ),
            (
                "security: {jwt_access_token_expiration: 1, jwt_refresh_token_expiration: 1, jwt_audiences: [api], allow_registration: false}",
                "warning: security.allow_registration: has no effect yet: this version has no sign-in for browsers",
            ),
        ] {
            assert_eq!(problems_of(yaml), [expected], "{yaml}");
        }
        assert_eq!(problems_of("cloud: {validation: skip}\nrate_limits: {disabled: true, mcp_per_second: 1}"), [""; 0]);
    }
}
