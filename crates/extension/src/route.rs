use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::MethodRouter;
use serde::Serialize;
use systemprompt_config::profile::RateGroup;
use systemprompt_model::Principal;

use crate::{ExtensionContext, Grants, LoaderError};

/// Paths that belong to the product's own features. Another extension's base path may be none of them and lie under none
/// of them; compared by whole segments.
pub const RESERVED_PATHS: &[&str] = &[
    "/api/public",
    "/api/v1/admin",
    "/api/v1/agents",
    "/api/v1/analytics",
    "/api/v1/content",
    "/api/v1/core",
    "/api/v1/files",
    "/api/v1/gateway",
    "/api/v1/health",
    "/api/v1/mcp",
    "/api/v1/oauth",
    "/api/v1/scheduler",
    "/api/v1/stream",
    "/api/v1/users",
    "/.well-known",
    "/health",
    "/livez",
    "/metrics",
    "/readyz",
    "/v1",
];

/// The ids of the product's own features. Only they may mount at [`RESERVED_PATHS`], mount outside `/api`
/// ([`ExtensionRouter::core`]) and define the built-in roles.
pub const BUILT_IN: &[&str] = &[
    "agents",
    "analytics",
    "cloud",
    "content",
    "database",
    "files",
    "gateway",
    "governance",
    "identity",
    "jobs",
    "mcp",
    "server",
];

/// Who may reach a router. Enforced by the server before any of its handlers runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteAuth {
    /// Anyone. A credential that is presented is still read.
    Public,
    /// Any valid credential: 401 without one.
    Authenticated,
    /// A credential with any one of these scopes: 403 without.
    Scopes(&'static [&'static str]),
    /// A credential whose roles grant this permission: 403 otherwise.
    Permission(&'static str),
    /// An administrator: 403 otherwise.
    Admin,
    /// The router authenticates by itself, because it answers in a protocol of its own. Only for [`BUILT_IN`] features.
    ByRouter,
}

impl RouteAuth {
    /// Whether someone without a credential is turned away.
    pub const fn requires_auth(self) -> bool {
        !matches!(self, Self::Public)
    }
}

/// How a router is joined to the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "prefixes", rename_all = "lowercase")]
pub enum Mount {
    /// Below its base path; its own paths are relative to that.
    Nested,
    /// As it is; its own paths are absolute and lie under these prefixes.
    Absolute(&'static [&'static str]),
}

/// An extension's routes and where they go.
#[derive(Debug, Clone)]
pub struct ExtensionRouter {
    /// The routes, with their state applied.
    pub router: Router,
    /// The path they are mounted below; for [`Self::core`] the first prefix.
    pub base_path: &'static str,
    /// Who may reach them.
    pub auth: RouteAuth,
    mount: Mount,
    body_limit: Option<usize>,
    rate_group: Option<RateGroup>,
}

impl ExtensionRouter {
    /// Routes below `base_path` for everyone with a valid credential.
    pub fn new(router: Router, base_path: &'static str) -> Self {
        Self {
            router,
            base_path,
            auth: RouteAuth::Authenticated,
            mount: Mount::Nested,
            body_limit: None,
            rate_group: None,
        }
    }

    /// Routes below `base_path` for everyone.
    pub fn public(router: Router, base_path: &'static str) -> Self {
        Self { auth: RouteAuth::Public, ..Self::new(router, base_path) }
    }

    /// Routes of a built-in feature, with absolute paths under `prefixes` (at least one), which authenticate by
    /// themselves unless [`with_auth`](Self::with_auth) says otherwise.
    pub fn core(router: Router, prefixes: &'static [&'static str]) -> Self {
        Self { mount: Mount::Absolute(prefixes), auth: RouteAuth::ByRouter, ..Self::new(router, first(prefixes)) }
    }

    /// The same routes for other callers.
    #[must_use]
    pub fn with_auth(mut self, auth: RouteAuth) -> Self {
        self.auth = auth;
        self
    }

    /// Limits the size of request bodies to this many bytes, instead of 2 MiB.
    #[must_use]
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = Some(bytes);
        self
    }

    /// Limits how often each caller may send requests, by the rate of this group in the profile's `rate_limits`. Without it
    /// routes for administrators are in the group `admin`, and others are limited by address only.
    ///
    /// A router that authenticates by itself asks the [`Meter`](crate::Meter) in its requests' extensions.
    #[must_use]
    pub fn with_rate_limit(mut self, group: RateGroup) -> Self {
        self.rate_group = Some(group);
        self
    }

    /// The group whose rate holds.
    pub fn rate_group(&self) -> Option<RateGroup> {
        self.rate_group.or_else(|| (self.auth == RouteAuth::Admin).then_some(RateGroup::Admin))
    }

    /// Whether someone without a credential is turned away.
    pub fn requires_auth(&self) -> bool {
        self.auth.requires_auth()
    }

    /// What [`Extension::router_config`](crate::Extension::router_config) should announce for this router.
    pub fn config(&self) -> ExtensionRouterConfig {
        ExtensionRouterConfig {
            base_path: self.base_path,
            requires_auth: self.requires_auth(),
            auth: self.auth,
            mount: self.mount,
        }
    }

    /// The same routes behind what `wrap` adds to them, usually the layer that enforces [`Self::auth`].
    #[must_use]
    pub fn map_router(mut self, wrap: impl FnOnce(Router) -> Router) -> Self {
        self.router = wrap(self.router);
        self
    }

    /// The same routes behind the enforcement of [`Self::auth`]. The caller is the `Arc<Principal>` in the request's
    /// extensions, which the layer outside this one puts there.
    #[must_use]
    pub fn guarded(self, grants: &Arc<Grants>) -> Self {
        let (auth, grants) = (self.auth, grants.clone());
        let guard = move |request: Request, next: Next| {
            let caller = request.extensions().get::<Arc<Principal>>();
            let allowed = grants.check(auth, caller.map(Arc::as_ref));
            async move {
                match allowed {
                    Ok(()) => next.run(request).await,
                    Err(refusal) => refusal.into_response(),
                }
            }
        };
        self.map_router(|router| router.layer(middleware::from_fn(guard)))
    }

    /// Joins the routes to `outer`, whose fallback ([`api::not_found`](crate::api::not_found)) answers for the paths below
    /// that the router does not know.
    pub fn mount_in(self, outer: Router) -> Router {
        let limited = match self.body_limit {
            Some(bytes) => self.router.layer(DefaultBodyLimit::max(bytes)),
            None => self.router,
        };
        match self.mount {
            Mount::Nested => outer.nest(self.base_path, limited),
            Mount::Absolute(_) => outer.merge(limited),
        }
    }
}

/// Where a router will be mounted, known without building it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ExtensionRouterConfig {
    /// The path below which the routes will be; for [`Self::core`] the first prefix.
    pub base_path: &'static str,
    /// Whether someone without a credential is turned away.
    pub requires_auth: bool,
    auth: RouteAuth,
    mount: Mount,
}

impl ExtensionRouterConfig {
    /// The announcement of [`ExtensionRouter::new`].
    pub const fn new(base_path: &'static str) -> Self {
        Self { base_path, requires_auth: true, auth: RouteAuth::Authenticated, mount: Mount::Nested }
    }

    /// The announcement of [`ExtensionRouter::public`].
    pub const fn public(base_path: &'static str) -> Self {
        Self { requires_auth: false, auth: RouteAuth::Public, ..Self::new(base_path) }
    }

    /// The announcement of [`ExtensionRouter::core`].
    pub const fn core(prefixes: &'static [&'static str]) -> Self {
        Self { auth: RouteAuth::ByRouter, mount: Mount::Absolute(prefixes), ..Self::new(first(prefixes)) }
    }

    /// The announcement of [`ExtensionRouter::with_auth`].
    #[must_use]
    pub const fn with_auth(self, auth: RouteAuth) -> Self {
        Self { requires_auth: auth.requires_auth(), auth, ..self }
    }

    /// Who will be able to reach the routes.
    pub const fn auth(&self) -> RouteAuth {
        self.auth
    }

    /// How the routes will be joined to the server's.
    pub const fn mount(&self) -> Mount {
        self.mount
    }

    /// Every path under which there will be routes.
    pub fn prefixes(&self) -> Vec<&'static str> {
        match self.mount {
            Mount::Nested => vec![self.base_path],
            Mount::Absolute(prefixes) => prefixes.to_vec(),
        }
    }
}

impl fmt::Display for ExtensionRouterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.prefixes().join(", "))?;
        match self.auth {
            RouteAuth::Public => f.write_str("public")?,
            RouteAuth::Authenticated => f.write_str("authenticated")?,
            RouteAuth::Scopes(scopes) => write!(f, "any of the scopes {}", scopes.join(", "))?,
            RouteAuth::Permission(key) => write!(f, "permission {key}")?,
            RouteAuth::Admin => f.write_str("administrators")?,
            RouteAuth::ByRouter => f.write_str("authenticates by itself")?,
        }
        f.write_str(")")
    }
}

/// A document below `/.well-known/`, for everyone.
#[derive(Clone, Copy)]
pub struct WellKnownRoute {
    /// The path below `/.well-known/`, for example `jwks.json`.
    pub path: &'static str,
    build: fn(&dyn ExtensionContext) -> Result<MethodRouter, LoaderError>,
}

impl WellKnownRoute {
    /// The document at `/.well-known/<path>`, answered by what `build` makes when routes are mounted.
    pub const fn new(
        path: &'static str,
        build: fn(&dyn ExtensionContext) -> Result<MethodRouter, LoaderError>,
    ) -> Self {
        Self { path, build }
    }

    /// The whole path.
    pub fn full_path(&self) -> String {
        format!("/.well-known/{}", self.path)
    }

    /// Makes the handler.
    pub fn build(&self, ctx: &dyn ExtensionContext) -> Result<MethodRouter, LoaderError> {
        (self.build)(ctx)
    }
}

impl fmt::Debug for WellKnownRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WellKnownRoute").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Which rule for base paths of outside extensions `path` breaks, if any.
pub(crate) fn broken_base_path_rule(path: &str) -> Option<&'static str> {
    let Some(below) = path.strip_prefix("/api/") else { return Some("it must start with /api/") };
    let segments: Vec<&str> = below.split('/').collect();
    if path.ends_with('/') {
        return Some("it must not end with a slash");
    }
    if segments.iter().any(|segment| segment.is_empty()) {
        return Some("it has an empty segment");
    }
    if segments.len() < 2 {
        return Some("it must have at least two segments after /api");
    }
    broken_character_rule(path)
}

/// Which rule for any mounted path `path` breaks, if any.
pub(crate) fn broken_prefix_rule(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') || path == "/" {
        return Some("it must start with a slash and name at least one segment");
    }
    if path.ends_with('/') || path.contains("//") {
        return Some("it has an empty segment");
    }
    broken_character_rule(path)
}

fn broken_character_rule(path: &str) -> Option<&'static str> {
    if path.contains(['{', '}', '*', ':']) {
        return Some("it must not contain parameters or wildcards");
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "/-_.".contains(c);
    (!path.chars().all(allowed)).then_some("it must consist of lower-case ASCII letters, digits, '-', '_' and '.'")
}

/// Whether many extensions live below `path`, as below `/api/v1`. Whoever mounts there claims the address and not what is
/// below it.
pub(crate) fn is_common_ground(path: &str) -> bool {
    path.strip_prefix("/api").is_some_and(|rest| rest.is_empty() || (rest.starts_with('/') && !rest[1..].contains('/')))
}

/// Whether `inner` is `outer` or lies below it, by whole segments.
pub(crate) fn lies_under(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

const fn first(prefixes: &'static [&'static str]) -> &'static str {
    assert!(!prefixes.is_empty(), "a core router names at least one prefix");
    prefixes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_paths() {
        let rows = [
            ("/api/v1/notes", None),
            ("/api/ext/notes/deep", None),
            ("/api/v1/users-report", None),
            ("/notes", Some("start with /api/")),
            ("/", Some("start with /api/")),
            ("/api", Some("start with /api/")),
            ("/api/notes", Some("two segments")),
            ("/api/v1/notes/", Some("end with a slash")),
            ("/api//notes", Some("empty segment")),
            ("/api/v1/{id}", Some("parameters")),
            ("/api/v1/*rest", Some("parameters")),
            ("/api/v1/:id", Some("parameters")),
            ("/api/v1/Notes", Some("lower-case")),
            ("/api/v1/nötes", Some("lower-case")),
            ("/api/v1/a b", Some("lower-case")),
        ];
        for (path, expected) in rows {
            let broken = broken_base_path_rule(path);
            match expected {
                None => assert_eq!(broken, None, "{path}"),
                Some(part) => assert!(broken.is_some_and(|rule| rule.contains(part)), "{path}: {broken:?}"),
            }
        }
    }

    #[test]
    fn paths_are_compared_by_segments() {
        assert!(lies_under("/api/v1/users", "/api/v1/users"));
        assert!(lies_under("/api/v1/users/x", "/api/v1/users"));
        assert!(!lies_under("/api/v1/users-extra", "/api/v1/users"));
        assert!(!lies_under("/api/v1", "/api/v1/users"));
        assert!(is_common_ground("/api") && is_common_ground("/api/v1") && !is_common_ground("/api/v1/users"));
        assert!(!is_common_ground("/apiary") && !is_common_ground("/v1"));
    }
}
