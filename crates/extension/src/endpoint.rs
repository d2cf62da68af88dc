//! Routes that describe themselves: what is mounted is what is guarded, what the reference and the OpenAPI document list, and
//! what the test of all routes walks.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Map;

use crate::{Access, JsonValue, Refuse};

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
    /// The JSON body it takes.
    #[serde(skip)]
    pub takes: Option<Shape>,
    /// The status of a good answer, and its JSON body.
    #[serde(skip)]
    pub answers: (u16, Option<Shape>),
    /// Whether its errors have a form of its own instead of that of all JSON endpoints.
    #[serde(skip)]
    pub own_errors: bool,
}

/// The JSON Schema of a body, with the definitions it refers to under `/components/schemas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub(crate) schema: JsonValue,
    pub(crate) definitions: Map<String, JsonValue>,
}

impl Shape {
    /// The shape of a type.
    pub fn of<T: JsonSchema>() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        let mut generator = settings.into_generator();
        let schema = generator.subschema_for::<T>().to_value();
        Self { schema, definitions: generator.take_definitions(true) }
    }
}

/// A router under construction, with a list of what is in it.
#[derive(Debug)]
pub struct RouteTable<S> {
    router: Router<S>,
    endpoints: Vec<Endpoint>,
    refuse: Option<Refuse>,
}

impl<S: Clone + Send + Sync + 'static> Default for RouteTable<S> {
    fn default() -> Self {
        Self { router: Router::new(), endpoints: Vec::new(), refuse: None }
    }
}

impl<S: Clone + Send + Sync + 'static> RouteTable<S> {
    /// No routes yet. The server lets to each only whom its [`Access`] names.
    pub fn new() -> Self {
        Self::default()
    }

    /// No routes yet, of a feature that speaks a protocol of its own: the server decides who gets in, and this says it.
    pub fn refusing_with(refuse: Refuse) -> Self {
        Self { refuse: Some(refuse), ..Self::default() }
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
        self.add(("GET", MethodFilter::GET), path, access, summary, handler)
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
        self.add(("POST", MethodFilter::POST), path, access, summary, handler)
    }

    /// Adds a `DELETE` endpoint.
    #[must_use]
    pub fn delete<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        self.add(("DELETE", MethodFilter::DELETE), path, access, summary, handler)
    }

    /// Adds a `PUT` endpoint.
    #[must_use]
    pub fn put<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        self.add(("PUT", MethodFilter::PUT), path, access, summary, handler)
    }

    /// Adds a `PATCH` endpoint.
    #[must_use]
    pub fn patch<H: Handler<T, S>, T: 'static>(
        self,
        path: &str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        self.add(("PATCH", MethodFilter::PATCH), path, access, summary, handler)
    }

    /// One handler for one method, so that nothing comes in beside what is listed and guarded.
    fn add<H: Handler<T, S>, T: 'static>(
        mut self,
        (method, filter): (&'static str, MethodFilter),
        path: &str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        self.router = self.router.route(path, on(filter, access.protect_handler(self.refuse, handler)));
        self.endpoints.push(Endpoint {
            method,
            path: path.to_owned(),
            access,
            summary,
            takes: None,
            answers: (200, None),
            own_errors: self.refuse.is_some(),
        });
        self
    }

    /// Adds what answers to the methods that are not listed at the path of the last endpoint, for anyone: that there is no
    /// such method, in the protocol that is spoken here.
    ///
    /// # Panics
    ///
    /// There is no endpoint yet.
    #[must_use]
    pub fn other_methods<H: Handler<T, S>, T: 'static>(mut self, handler: H) -> Self {
        let path = &self.endpoints.last().expect("an endpoint whose other methods are meant").path;
        let others = MethodRouter::new().fallback(Access::Public.protect_handler(self.refuse, handler));
        self.router = self.router.route(path, others);
        self
    }

    /// Adds what answers where nothing is listed, for anyone: a fallback in the protocol that is spoken here.
    #[must_use]
    pub fn unlisted(mut self, path: &str, handler: MethodRouter<S>) -> Self {
        self.router = self.router.route(path, Access::Public.protect_fallback(self.refuse, handler));
        self
    }

    /// The last endpoint takes a JSON body of this type.
    #[must_use]
    pub fn takes<T: JsonSchema>(mut self) -> Self {
        if let Some(endpoint) = self.endpoints.last_mut() {
            endpoint.takes = Some(Shape::of::<T>());
        }
        self
    }

    /// The last endpoint answers with this status and a JSON body of this type.
    #[must_use]
    pub fn answers<T: JsonSchema>(mut self, status: u16) -> Self {
        if let Some(endpoint) = self.endpoints.last_mut() {
            endpoint.answers = (status, Some(Shape::of::<T>()));
        }
        self
    }

    /// The last endpoint answers with this status and nothing, or something other than JSON.
    #[must_use]
    pub fn answers_bare(mut self, status: u16) -> Self {
        if let Some(endpoint) = self.endpoints.last_mut() {
            endpoint.answers = (status, None);
        }
        self
    }

    /// What is in the table.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// What is in the table, when it is mounted below `base_path`.
    pub fn endpoints_below(&self, base_path: &str) -> Vec<Endpoint> {
        let whole = |endpoint: &Endpoint| Endpoint {
            path: format!("{base_path}{}", endpoint.path.trim_end_matches('/')),
            ..endpoint.clone()
        };
        self.endpoints.iter().map(whole).collect()
    }

    pub(crate) fn refuses_itself(&self) -> bool {
        self.refuse.is_some()
    }

    pub(crate) fn into_router(self) -> Router<S> {
        self.router
    }
}
