//! Every rule of a profile that the schema cannot say. What concerns one part stands beside it.

use super::draft::Draft;
use super::problems::Problems;
use super::{extensions, paths, rate_limits, secret_source, security, server, without_effect};
use crate::environment::Environment;

/// Checks the parts that are there.
pub(crate) fn check(draft: &Draft, environment: &Environment, problems: &mut Problems<'_>) {
    let (is_cloud, is_production) = (draft.is_cloud(), draft.is_production());
    if let Some(server) = &draft.server {
        server::check(server, is_cloud, problems);
        let everywhere = server.host == "0.0.0.0" || server.host == "::";
        if everywhere && is_production && draft.rate_limits.as_ref().is_some_and(|limits| limits.disabled) {
            problems.warning("/server/host", "listens on every address in production while rate limits are disabled");
        }
    }
    if let Some(security) = &draft.security {
        security::check(security, is_production, problems);
    }
    if let Some(paths) = &draft.paths {
        paths::check(paths, is_cloud, environment, problems);
    }
    if let Some(limits) = &draft.rate_limits {
        rate_limits::check(limits, is_production, problems);
    }
    if let Some(secrets) = &draft.secrets {
        secret_source::check(secrets, is_production, problems);
    }
    if let Some(extensions) = &draft.extensions {
        extensions::check(extensions, problems);
    }
    without_effect::check(draft, problems);
}
