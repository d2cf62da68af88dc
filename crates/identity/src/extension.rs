//! This crate as a feature of the server.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Json;
use axum::routing::{MethodRouter, get};
use http::header::{CACHE_CONTROL, HeaderValue};
use systemprompt_config::Configuration;
use systemprompt_config::profile::EnvironmentKind;
use systemprompt_extension::{
    AddressBans, Authentication, CredentialsRefused, Endpoint, Extension, ExtensionContext, ExtensionContextExt as _,
    ExtensionHealth, ExtensionMetadata, ExtensionRegistry, ExtensionRole, ExtensionRouter, ExtensionRouterConfig,
    LoaderError, RateGroup, Reload, SchemaDefinition, ServiceMap, WellKnownRoute, register_built_in, reserve_paths,
};
use systemprompt_governance::Gate;
use systemprompt_governance::access::AccessRules;
use systemprompt_governance::config::GovernanceConfig;
use systemprompt_governance::secret_scan::SecretScanner;

use crate::access::{self, Declarations, Declared, Desk};
use crate::ban::list::BanList;
use crate::change::Site;
use crate::identity::{Identity, IdentityOptions};
use crate::signing_key::SigningKeys;
use crate::signing_key::set::KeySetError;
use crate::token::issuer::Tokens;
use crate::user::store::Users;
use crate::{routes, schema};

const ID: &str = "identity";
/// The audience of tokens for the HTTP APIs. A surface of another audience takes `Authenticator::for_audience`.
const API_AUDIENCE: &str = "api";
/// How long others may keep the key set, in seconds. A key is announced in the state `next` for longer than that.
const KEY_SET_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Users, keys, sessions and tokens as a feature of the server. Publishes [`Identity`], [`Users`](crate::Users),
/// [`ApiKeys`](crate::ApiKeys), [`Tokens`], [`Sessions`](crate::Sessions) and
/// [`Authenticator`](crate::Authenticator).
#[derive(Debug, Default, Clone, Copy)]
pub struct IdentityExtension;

register_built_in!(IdentityExtension);
// For the administration of users and for OAuth, which come later.
reserve_paths!("/api/public", "/api/v1/admin", "/api/v1/oauth", "/api/v1/users");

#[async_trait]
impl Extension for IdentityExtension {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: ID, name: "Identity", version: env!("CARGO_PKG_VERSION") }
    }

    fn priority(&self) -> u32 {
        10
    }

    fn is_required(&self) -> bool {
        true
    }

    fn schemas(&self) -> Vec<SchemaDefinition> {
        schema::definitions()
    }

    fn migration_weight(&self) -> u32 {
        10
    }

    fn roles(&self) -> Vec<ExtensionRole> {
        vec![
            ExtensionRole::new("admin", "Administrator", "Administers the installation.")
                .with_permissions(vec!["*".to_owned()]),
            ExtensionRole::new("user", "User", "A person with an account."),
            ExtensionRole::new("anonymous", "Anonymous", "A visitor without an account."),
            ExtensionRole::new("service", "Service", "A program of the installation itself."),
            ExtensionRole::new("a2a", "Agent", "Another agent."),
            ExtensionRole::new("mcp", "MCP server", "An MCP server."),
        ]
    }

    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        vec![ExtensionRouterConfig::core(routes::PREFIXES), ExtensionRouterConfig::core(access::PREFIXES)]
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        [routes::table().endpoints(), access::table().endpoints()].concat()
    }

    fn try_router(&self, ctx: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        let site = Site::new(Identity::clone(&*ctx.service::<Identity>()?), ctx.service::<Gate>()?);
        let desk = Desk::new(
            ctx.service::<AccessRules>()?,
            ctx.service::<Users>()?,
            ctx.service::<Gate>()?,
            ctx.service::<Declarations>()?,
        );
        Ok(vec![
            ExtensionRouter::core(routes::table(), site, routes::PREFIXES).with_rate_limit(RateGroup::OauthAuth),
            ExtensionRouter::core(access::table(), desk, access::PREFIXES).with_rate_limit(RateGroup::Admin),
        ])
    }

    async fn reload(
        &self,
        ctx: &dyn ExtensionContext,
        configuration: &Arc<Configuration>,
    ) -> Result<Option<Reload>, LoaderError> {
        let declarations = ctx.service::<Declarations>()?;
        let declared = Declared::read(&*ctx.service::<ExtensionRegistry>()?, configuration)
            .map_err(|error| LoaderError::failed(ID, &error))?;
        Ok(Some(Reload::new(async move {
            declarations.put_in_force(declared);
            Ok(())
        })))
    }

    fn well_known(&self) -> Vec<WellKnownRoute> {
        vec![WellKnownRoute::new("jwks.json", jwks)]
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let profile = &ctx.configuration().profile;
        let policies = GovernanceConfig::read(ctx.configuration()).map_err(|error| LoaderError::failed(ID, &error))?;
        let scanner = SecretScanner::of(&policies).map_err(|error| LoaderError::failed(ID, &error))?;
        let signing_keys = load_signing_keys(ctx).await.map_err(|error| LoaderError::failed(ID, &error))?;
        let refused = CredentialsRefused::register(ctx.metrics());
        let identity = Identity::start(IdentityOptions {
            leases: ctx.leases().clone(),
            db: Arc::clone(ctx.db()),
            ambient: ctx.ambient().clone(),
            notifications: ctx.notifications(),
            tracker: ctx.tracker(),
            shutdown: ctx.shutdown(),
            signing_keys: Arc::new(signing_keys),
            issuer: profile.issuer(),
            audience: API_AUDIENCE,
            scanner: Arc::new(scanner),
            refused: refused.clone(),
        });
        let bans = BanList::follow(
            Arc::clone(ctx.db()),
            ctx.ambient().clone(),
            profile.security.ip_bans.when_unknown,
            ctx.notifications(),
            ctx.tracker(),
            ctx.shutdown().clone(),
        );
        services.insert(Arc::new(AddressBans::new(bans.await)));
        services.insert(Arc::new(refused));
        let declared = Declared::read(&*services.require::<ExtensionRegistry>()?, ctx.configuration())
            .map_err(|error| LoaderError::failed(ID, &error))?;
        services.insert(Arc::new(Declarations::new(declared)));
        services.insert(Arc::clone(&identity.users));
        services.insert(Arc::clone(&identity.api_keys));
        services.insert(Arc::clone(&identity.tokens));
        services.insert(Arc::clone(&identity.sessions));
        services.insert(Arc::clone(&identity.authenticator));
        services.insert(Arc::new(Authentication::new(Arc::clone(&identity.authenticator) as _)));
        services.insert(Arc::new(identity));
        Ok(())
    }

    async fn on_shutdown(&self, ctx: &dyn ExtensionContext) {
        let Some(identity) = ctx.services().get::<Identity>() else { return };
        // The writer ended when the shutdown began; requests that were still being served came after.
        if let Err(error) = identity.write_activity().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the last activity of keys and sessions could not be written");
        }
    }

    async fn health(&self, ctx: &dyn ExtensionContext) -> ExtensionHealth {
        match ctx.services().get::<Identity>() {
            Some(identity) if identity.changes.is_live() => ExtensionHealth::Healthy,
            Some(_) => ExtensionHealth::Degraded(
                "announcements of other replicas are not heard, so every credential is looked up in the database"
                    .to_owned(),
            ),
            None => ExtensionHealth::Unhealthy("it was not started".to_owned()),
        }
    }
}

/// Reads the key set. A missing one is made, except in production: there it means a wrong path, and replicas that each
/// made their own would refuse each other's tokens.
async fn load_signing_keys(ctx: &dyn ExtensionContext) -> Result<SigningKeys, KeySetError> {
    let profile = &ctx.configuration().profile;
    let path = profile.security.signing_key_path.clone();
    let now = ctx.ambient().now();
    let must_exist = profile.runtime.environment == EnvironmentKind::Production;
    let load = move || if must_exist { SigningKeys::load(&path) } else { SigningKeys::load_or_generate(&path, now) };
    tokio::task::spawn_blocking(load).await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

fn jwks(ctx: &dyn ExtensionContext) -> Result<MethodRouter, LoaderError> {
    let tokens = ctx.services().require::<Tokens>()?;
    Ok(get(async move || ([(CACHE_CONTROL, KEY_SET_CACHING)], Json(tokens.jwks()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_key_is_made_only_where_that_was_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("signing_key.pem");
        assert!(matches!(SigningKeys::load(&missing), Err(KeySetError::Io { doing: "read", .. })));
        let now = systemprompt_model::Ambient::system().now();
        let made = SigningKeys::load_or_generate(&missing, now).expect("makes one");
        let read = SigningKeys::load_or_generate(&missing, now).expect("reads it");
        assert_eq!(made.current().jwks(now), read.current().jwks(now));
    }
}
