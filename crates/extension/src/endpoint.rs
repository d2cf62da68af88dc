//! Routes that describe themselves: what is mounted is what the reference lists and what the access test walks.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Serialize;

/// Who an endpoint is for, as documented and as tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Anyone.
    Public,
    /// Anyone with a valid credential.
    Authenticated,
    /// Administrators.
    Admin,
    /// Administrators, and programs on the server's own machine.
    AdminOrLocal,
}

impl Audience {
    /// A phrase for the reference.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Public => "anyone",
            Self::Authenticated => "any valid credential",
            Self::Admin => "administrators",
            Self::AdminOrLocal => "administrators; anyone on the same machine",
        }
    }
}

/// One thing that can be asked of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The whole path, parameters in braces.
    pub path: String,
    /// Who it is for.
    pub audience: Audience,
    /// One sentence for the reference.
    pub summary: &'static str,
}

/// A router under construction, with a list of what is in it.
#[derive(Debug)]
pub struct RouteTable<S> {
    router: Router<S>,
    endpoints: Vec<Endpoint>,
}

impl<S: Clone + Send + Sync + 'static> Default for RouteTable<S> {
    fn default() -> Self {
        Self { router: Router::new(), endpoints: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> RouteTable<S> {
    /// No routes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a `GET` endpoint.
    #[must_use]
    pub fn get<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        audience: Audience,
        summary: &'static str,
        handler: H,
    ) -> Self {
        self.add("GET", path, audience, summary, on(MethodFilter::GET, handler))
    }

    /// Adds a `POST` endpoint.
    #[must_use]
    pub fn post<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        audience: Audience,
        summary: &'static str,
        handler: H,
    ) -> Self {
        self.add("POST", path, audience, summary, on(MethodFilter::POST, handler))
    }

    /// Adds an endpoint with a method router of its own, e.g. one that answers other methods in a dialect.
    #[must_use]
    pub fn add(
        mut self,
        method: &'static str,
        path: &str,
        audience: Audience,
        summary: &'static str,
        handler: MethodRouter<S>,
    ) -> Self {
        self.router = self.router.route(path, handler);
        self.endpoints.push(Endpoint { method, path: path.to_owned(), audience, summary });
        self
    }

    /// What is in the table.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The router, with what only it needs: a fallback, say.
    pub fn into_router(self) -> Router<S> {
        self.router
    }
}
