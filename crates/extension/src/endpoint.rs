//! Routes that describe themselves: what is mounted is what the reference lists and what the access test walks.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Serialize;

use crate::Access;

/// One thing that can be asked of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Endpoint {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// The whole path, parameters in braces.
    pub path: String,
    /// Who may ask.
    pub access: Access,
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
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        self.add("GET", path, access, summary, on(MethodFilter::GET, handler))
    }

    /// Adds a `POST` endpoint.
    #[must_use]
    pub fn post<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        self.add("POST", path, access, summary, on(MethodFilter::POST, handler))
    }

    /// Adds an endpoint with a method router of its own, e.g. one that answers other methods in a dialect.
    #[must_use]
    pub fn add(
        mut self,
        method: &'static str,
        path: &str,
        access: Access,
        summary: &'static str,
        handler: MethodRouter<S>,
    ) -> Self {
        self.router = self.router.route(path, handler);
        self.endpoints.push(Endpoint { method, path: path.to_owned(), access, summary });
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
