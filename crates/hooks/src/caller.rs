//! Who sends an event, and whether the credential is one for hooks.

use http::request::Parts;
use systemprompt_extension::{AuthError, ClientIp, IdentifyError, Meter};
use systemprompt_identity::{Authenticator, Caller};
use systemprompt_model::UserType;

/// The audiences a token may have here. API keys have none.
const AUDIENCES: [&str; 3] = ["hook", "plugin", "api"];

/// Why an event has no caller. Told to the client in this much detail; what exactly was wrong is in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoCaller {
    /// It has no credential that is good.
    #[error("auth_failure: {0}")]
    Auth(#[from] AuthError),
    /// Its token is neither a person's nor has the scope.
    #[error("auth_failure: the token does not have the scope `{0}`")]
    Scope(&'static str),
    /// Its token was issued to another plugin.
    #[error("auth_failure: the token was issued to another plugin than `plugin_id` names")]
    Plugin,
    /// It is one too many of its address.
    #[error("too many requests; {0}")]
    Limited(String),
}

impl NoCaller {
    /// The reason in metrics.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Auth(AuthError::Missing) => "missing",
            Self::Auth(AuthError::Invalid) => "invalid",
            Self::Auth(AuthError::Unavailable) => "unavailable",
            Self::Scope(_) => "scope",
            Self::Plugin => "plugin",
            Self::Limited(_) => "rate_limited",
        }
    }

    /// Every label.
    pub(crate) const LABELS: [&'static str; 6] =
        ["missing", "invalid", "unavailable", "scope", "plugin", "rate_limited"];
}

/// Who sends a request with this head about this plugin and may do what `scope` stands for.
pub(crate) async fn identify(
    authenticator: &Authenticator,
    head: &Parts,
    scope: &'static str,
    plugin: Option<&str>,
) -> Result<Caller, NoCaller> {
    let limited = |error: IdentifyError| match error {
        IdentifyError::Auth(error) => NoCaller::Auth(error),
        IdentifyError::RateLimited(limited) => NoCaller::Limited(limited.advice()),
    };
    let (from, meter) = (head.extensions.get::<ClientIp>().copied(), head.extensions.get::<Meter>());
    let identified = authenticator.identify_among(&head.headers, from, meter, &AUDIENCES).await;
    let caller = identified.map_err(limited)?;
    if caller.principal.user_type == UserType::Anon {
        return Err(NoCaller::Auth(AuthError::Missing));
    }
    let Some(token) = &caller.token else { return Ok(caller) };
    let is_person = matches!(caller.principal.user_type, UserType::User | UserType::Admin);
    if !is_person && !token.scope.allows(scope) {
        return Err(NoCaller::Scope(scope));
    }
    if token.plugin_id.is_some() && token.plugin_id.as_deref() != plugin {
        return Err(NoCaller::Plugin);
    }
    Ok(caller)
}
