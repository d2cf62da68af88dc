//! Where routers are mounted, and which paths are taken.

use std::fmt;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::MethodRouter;
use serde::Serialize;
use systemprompt_config::profile::RateGroup;

use crate::{Access, ExtensionContext, LoaderError, RouteTable};

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
    /// Who may reach them; `None` where each endpoint says so itself.
    access: Option<Access>,
    /// Whether refusals have the form of a protocol of its own.
    refuses_itself: bool,
    mount: Mount,
    body_limit: Option<usize>,
    rate_group: Option<RateGroup>,
}

impl ExtensionRouter {
    /// Routes below `base_path` for people with a valid credential.
    pub fn new(router: Router, base_path: &'static str) -> Self {
        Self {
            router,
            base_path,
            access: Some(Access::User),
            refuses_itself: false,
            mount: Mount::Nested,
            body_limit: None,
            rate_group: None,
        }
    }

    /// Routes below `base_path` for everyone.
    pub fn public(router: Router, base_path: &'static str) -> Self {
        Self { access: Some(Access::Public), ..Self::new(router, base_path) }
    }

    /// The endpoints of a table, with their state, below `base_path`: each for whom the table says.
    pub fn of<S: Clone + Send + Sync + 'static>(table: RouteTable<S>, state: S, base_path: &'static str) -> Self {
        let refuses_itself = table.refuses_itself();
        let router = table.into_router().with_state(state);
        Self { access: None, refuses_itself, ..Self::new(router, base_path) }
    }

    /// The endpoints of a table of a built-in feature, with absolute paths under `prefixes` (at least one).
    pub fn core<S: Clone + Send + Sync + 'static>(
        table: RouteTable<S>,
        state: S,
        prefixes: &'static [&'static str],
    ) -> Self {
        Self { mount: Mount::Absolute(prefixes), ..Self::of(table, state, first(prefixes)) }
    }

    /// The same routes for other callers.
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = Some(access);
        self.refuses_itself = false;
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
    #[must_use]
    pub fn with_rate_limit(mut self, group: RateGroup) -> Self {
        self.rate_group = Some(group);
        self
    }

    /// The group whose rate holds.
    pub fn rate_group(&self) -> Option<RateGroup> {
        self.rate_group.or_else(|| (self.access == Some(Access::Admin)).then_some(RateGroup::Admin))
    }

    /// Whether refusals have the form of a protocol of its own ([`RouteTable::refusing_with`]).
    pub fn refuses_itself(&self) -> bool {
        self.refuses_itself
    }

    /// What [`Extension::router_config`](crate::Extension::router_config) should announce for this router.
    pub fn config(&self) -> ExtensionRouterConfig {
        ExtensionRouterConfig { base_path: self.base_path, access: self.access, mount: self.mount }
    }

    /// The same routes behind their [`Access`], which the [`Guard`](crate::Guard) in the request's extensions enforces, and
    /// behind what `wrap` adds to all of them.
    #[must_use]
    pub fn protected(mut self, wrap: impl FnOnce(Router) -> Router) -> Self {
        let router = match self.access {
            Some(access) => access.protect(self.router),
            None => self.router,
        };
        self.router = wrap(router);
        self
    }

    /// Joins the routes to `outer`, whose fallback answers for the paths below that the router does not know.
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
    /// Who will be able to reach them; `None` where each endpoint says so itself.
    pub access: Option<Access>,
    mount: Mount,
}

impl ExtensionRouterConfig {
    /// The announcement of [`ExtensionRouter::new`].
    pub const fn new(base_path: &'static str) -> Self {
        Self { base_path, access: Some(Access::User), mount: Mount::Nested }
    }

    /// The announcement of [`ExtensionRouter::public`].
    pub const fn public(base_path: &'static str) -> Self {
        Self { access: Some(Access::Public), ..Self::new(base_path) }
    }

    /// The announcement of [`ExtensionRouter::of`].
    pub const fn of(base_path: &'static str) -> Self {
        Self { access: None, ..Self::new(base_path) }
    }

    /// The announcement of [`ExtensionRouter::core`].
    pub const fn core(prefixes: &'static [&'static str]) -> Self {
        Self { access: None, mount: Mount::Absolute(prefixes), ..Self::new(first(prefixes)) }
    }

    /// The announcement of [`ExtensionRouter::with_access`].
    #[must_use]
    pub const fn with_access(self, access: Access) -> Self {
        Self { access: Some(access), ..self }
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
        let access = self.access.map_or("whom each endpoint names".into(), Access::describe);
        write!(f, "{} (for {access})", self.prefixes().join(", "))
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
