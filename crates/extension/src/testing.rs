//! Runs extensions without a server: on a PostgreSQL database of their own, with real configuration files, and with
//! clients for every kind of caller.
//!
//! ```no_run
//! # use systemprompt_extension::prelude::*;
//! # #[derive(Default)] struct Notes;
//! # impl Extension for Notes {
//! #     fn metadata(&self) -> ExtensionMetadata { ExtensionMetadata { id: "notes", name: "Notes", version: "1.0.0" } }
//! # }
//! # async fn example() {
//! use systemprompt_extension::testing::TestContext;
//!
//! let server = TestContext::builder().extension(Notes).settings("notes", serde_json::json!({})).start().await;
//! let answer = server.user("maya", &["notes_editor"]).get("/api/v1/notes").await;
//! assert_eq!(answer.status, 200);
//! # }
//! ```
//!
//! Everything here panics with all problems listed when something is wrong: a test has nothing better to do.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use axum::Extension as Layer;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request as AnyRequest;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Map, json};
use systemprompt_config::{Configuration, Environment, Home, LoadRequest, Problem};
use systemprompt_database::DbPool;
use systemprompt_database::lease::Leases;
use systemprompt_database::notify::NotificationHub;
use systemprompt_database::testing::TestDatabase;
use systemprompt_model::{Ambient, Credential, InstanceId, Principal, TraceId, UserId, UserType};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::{
    Access, Extension, ExtensionConfigs, ExtensionContext, ExtensionRegistry, Grants, Guard, JsonValue, LoaderErrors,
    Metrics, ServiceMap, Timeouts, api,
};

/// Exactly these extensions, whatever is linked into the test binary.
pub fn registry(extensions: impl IntoIterator<Item = Arc<dyn Extension>>) -> ExtensionRegistry {
    ExtensionRegistry::of(extensions)
}

/// What a [`TestContext`] is to be made of.
pub struct TestContextBuilder {
    extensions: Vec<Arc<dyn Extension>>,
    profile: JsonValue,
    documents: BTreeMap<String, JsonValue>,
    secrets: JsonValue,
    environment: Vec<(String, String)>,
    ambient: Ambient,
}

impl TestContextBuilder {
    /// With this extension.
    #[must_use]
    pub fn extension(self, extension: impl Extension) -> Self {
        self.extensions([Arc::new(extension) as Arc<dyn Extension>])
    }

    /// With these extensions.
    #[must_use]
    pub fn extensions(mut self, extensions: impl IntoIterator<Item = Arc<dyn Extension>>) -> Self {
        self.extensions.extend(extensions);
        self
    }

    /// With this value at a top-level key of the profile, joined with what the test profile has there.
    #[must_use]
    pub fn profile(mut self, key: &str, value: JsonValue) -> Self {
        join(&mut self.profile, object(key, value));
        self
    }

    /// With these settings of an extension: `extensions.<prefix>` of the profile.
    #[must_use]
    pub fn settings(self, prefix: &str, value: JsonValue) -> Self {
        self.profile("extensions", object(prefix, value))
    }

    /// With this document below `services/`, for example `governance/config.yaml`.
    #[must_use]
    pub fn document(mut self, path: &str, value: JsonValue) -> Self {
        self.documents.insert(path.to_owned(), value);
        self
    }

    /// With this secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        join(&mut self.secrets, json!({ name: value }));
        self
    }

    /// With this environment variable. The environment of the test process is not seen.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this clock and randomness, instead of the system's.
    #[must_use]
    pub fn ambient(mut self, ambient: Ambient) -> Self {
        self.ambient = ambient;
        self
    }

    /// What is wrong with the configuration, one sentence each with its key; needs no database. The extensions
    /// themselves must be fine.
    pub fn problems(&self) -> Vec<String> {
        let directory = TempDir::new().expect("a temporary directory");
        match self.configure(directory.path()) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    /// Installs the schema, builds the services and starts the extensions.
    pub async fn start(self) -> TestContext {
        let directory = TempDir::new().expect("a temporary directory");
        let (registry, configuration, configs) = match self.configure(directory.path()) {
            Ok(configured) => configured,
            Err(problems) => {
                panic!("the configuration is not valid:\n{}", lines(&problems))
            }
        };
        let database = systemprompt_database::testing::database(&registry.modules()).await;
        let tracker = TaskTracker::new();
        let shutdown = CancellationToken::new();
        let leases = Leases::new(database.pool.clone(), self.ambient.clone());
        tracker.spawn(leases.clone().run(shutdown.clone()));
        let mut context = TestContext {
            leases,
            hub: NotificationHub::start(&database.pool, &tracker, shutdown.clone()),
            instance_id: InstanceId::generate(&self.ambient),
            configuration: Arc::new(configuration),
            configs,
            registry,
            ambient: self.ambient,
            metrics: Metrics::new(),
            services: ServiceMap::new(),
            router: OnceLock::new(),
            tracker,
            shutdown,
            database,
            _directory: directory,
        };
        let services = context.registry.collect_services(&context, Timeouts::default()).await;
        context.services = services.unwrap_or_else(|error| panic!("the services could not be built: {error}"));
        let failed = context.registry.start(&context, Timeouts::default()).await;
        assert!(failed.is_empty(), "{}", LoaderErrors(failed));
        context
    }

    fn configure(
        &self,
        directory: &Path,
    ) -> Result<(ExtensionRegistry, Configuration, ExtensionConfigs), Vec<Problem>> {
        let registry = ExtensionRegistry::of(self.extensions.iter().cloned());
        assert_valid(&registry);
        let home = self.write(directory);
        let request = LoadRequest {
            home,
            profile: Some("test".to_owned()),
            environment: self.environment.iter().cloned().collect::<Environment>(),
        };
        let configuration = Configuration::load(&request, &registry.section_specs())
            .map_err(|report| report.errors().cloned().collect::<Vec<_>>())?;
        let registry = registry.configured(&configuration.profile.extensions);
        assert_valid(&registry);
        let configs = ExtensionConfigs::resolve(&registry, &configuration)?;
        Ok((registry, configuration, configs))
    }

    /// A project as `systemprompt up` would leave it. YAML is a superset of JSON, so the documents are JSON.
    fn write(&self, directory: &Path) -> Home {
        let home = Home::at(directory.join(".systemprompt"));
        write(&home.profile_file("test"), &self.profile);
        let secrets = home.secrets_file("test");
        write(&secrets, &self.secrets);
        systemprompt_config::files::write_secret_file(&secrets, self.secrets.to_string().as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", secrets.display()));
        std::fs::create_dir(directory.join("bin")).expect("a new directory in a temporary one");
        for (path, document) in &self.documents {
            write(&directory.join("services").join(path), document);
        }
        home
    }
}

impl fmt::Debug for TestContextBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestContextBuilder").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Started extensions and everything a server would give them.
pub struct TestContext {
    registry: ExtensionRegistry,
    configuration: Arc<Configuration>,
    configs: ExtensionConfigs,
    ambient: Ambient,
    metrics: Metrics,
    services: ServiceMap,
    hub: NotificationHub,
    leases: Leases,
    tracker: TaskTracker,
    shutdown: CancellationToken,
    instance_id: InstanceId,
    router: OnceLock<Router>,
    database: TestDatabase,
    _directory: TempDir,
}

impl TestContext {
    /// A context with a valid profile and nothing else.
    pub fn builder() -> TestContextBuilder {
        TestContextBuilder {
            extensions: Vec::new(),
            profile: test_profile(),
            documents: BTreeMap::from([("config/config.yaml".to_owned(), json!({}))]),
            secrets: json!({
                "database_url": "postgres://test@127.0.0.1/test",
                "oauth_at_rest_pepper": "a pepper that only tests would ever use",
            }),
            environment: Vec::new(),
            ambient: Ambient::system(),
        }
    }

    /// The database, for a second pool or a look at its URL.
    pub fn test_database(&self) -> &TestDatabase {
        &self.database
    }

    /// All routes, with their rules enforced and requests named, as a server mounts them. Built on first use.
    pub fn router(&self) -> Router {
        self.router.get_or_init(|| self.build_router().unwrap_or_else(|errors| panic!("{errors}"))).clone()
    }

    /// A client without a credential.
    pub fn anonymous(&self) -> TestClient {
        TestClient { router: self.router(), ambient: self.ambient.clone(), caller: None }
    }

    /// A client of a new user with this name and these roles.
    pub fn user(&self, name: &str, roles: &[&str]) -> TestClient {
        self.client(self.principal(name, UserType::User, roles))
    }

    /// A client of a new administrator.
    pub fn admin(&self) -> TestClient {
        self.client(self.principal("admin", UserType::Admin, &["admin"]))
    }

    /// A client of this caller.
    pub fn client(&self, caller: Principal) -> TestClient {
        TestClient { caller: Some(Arc::new(caller)), ..self.anonymous() }
    }

    /// Stops the extensions as a server does: the hooks in reverse order, then their tasks.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.registry.shut_down(&self, Timeouts::default()).await;
        self.tracker.close();
        self.tracker.wait().await;
        self.leases.close().await;
    }

    fn principal(&self, name: &str, user_type: UserType, roles: &[&str]) -> Principal {
        let mut roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        roles.sort_unstable();
        Principal {
            user_id: UserId::generate(&self.ambient),
            user_name: name.to_owned(),
            user_type,
            roles,
            attributes: BTreeMap::new(),
            credential: Credential::ApiKey(systemprompt_model::ApiKeyId::generate(&self.ambient)),
        }
    }

    fn build_router(&self) -> Result<Router, LoaderErrors> {
        let guard: Arc<dyn Guard> = Arc::new(Declared(self.registry.grants()));
        let mut router = Router::new().fallback(api::not_found);
        for (_, routes) in self.registry.api_routers(self)? {
            router = routes.protected(|router| router).mount_in(router);
        }
        Ok(router.merge(self.registry.well_known_router(self)?).layer(Layer(guard)))
    }
}

/// Lets in by what the extensions declare; the caller is who the client says.
struct Declared(Grants);

#[async_trait::async_trait]
impl Guard for Declared {
    async fn check(&self, access: Access, request: &mut AnyRequest) -> Result<(), Box<Response>> {
        let caller = request.extensions().get::<Arc<Principal>>();
        let allowed = self.0.check(access, caller.map(Arc::as_ref));
        allowed.map_err(|refusal| Box::new(refusal.into_response()))
    }
}

impl Drop for TestContext {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl fmt::Debug for TestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestContext").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl ExtensionContext for TestContext {
    fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    fn extension_configs(&self) -> &ExtensionConfigs {
        &self.configs
    }

    fn db(&self) -> &DbPool {
        &self.database.pool
    }

    fn leases(&self) -> &Leases {
        &self.leases
    }

    fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn notifications(&self) -> &NotificationHub {
        &self.hub
    }

    fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    fn services(&self) -> &ServiceMap {
        &self.services
    }

    fn registry(&self) -> &ExtensionRegistry {
        &self.registry
    }

    fn instance_id(&self) -> InstanceId {
        self.instance_id
    }
}

/// Calls the routes as one caller, without a socket.
#[derive(Clone)]
pub struct TestClient {
    router: Router,
    ambient: Ambient,
    caller: Option<Arc<Principal>>,
}

impl TestClient {
    /// Who calls.
    pub fn caller(&self) -> Option<&Principal> {
        self.caller.as_deref()
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> TestResponse {
        self.send(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &JsonValue) -> TestResponse {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `PUT path` with a JSON body.
    pub async fn put(&self, path: &str, body: &JsonValue) -> TestResponse {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// `PATCH path` with a JSON body.
    pub async fn patch(&self, path: &str, body: &JsonValue) -> TestResponse {
        self.send(Method::PATCH, path, Some(body)).await
    }

    /// `DELETE path`.
    pub async fn delete(&self, path: &str) -> TestResponse {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&JsonValue>) -> TestResponse {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Some(body) => {
                request.header(http::header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string()))
            }
            None => request.body(Body::empty()),
        };
        self.request(request.unwrap_or_else(|error| panic!("`{path}`: {error}"))).await
    }

    /// Any request.
    pub async fn request(&self, mut request: Request<Body>) -> TestResponse {
        let (trace, path) = (TraceId::generate(&self.ambient), request.uri().path().to_owned());
        request.extensions_mut().insert(trace);
        if let Some(caller) = &self.caller {
            request.extensions_mut().insert(caller.clone());
        }
        let mut response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        api::name_request(&mut response, &path, trace, self.ambient.now());
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap_or_else(|error| panic!("the body broke off: {error}")).to_bytes();
        TestResponse { status: parts.status, headers: parts.headers, body }
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct TestResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl TestResponse {
    /// The body as JSON.
    pub fn json(&self) -> JsonValue {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `error.code` of an error answer; empty when there is none.
    pub fn code(&self) -> String {
        let body: JsonValue = serde_json::from_slice(&self.body).unwrap_or_default();
        body["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn test_profile() -> JsonValue {
    json!({
        "name": "test",
        "display_name": "Test",
        "site": { "name": "Test" },
        "system_admin": { "username": "admin", "email": "admin@example.com" },
        "database": { "type": "postgres" },
        "server": {
            "host": "127.0.0.1",
            "port": 8080,
            "api_server_url": "http://127.0.0.1:8080",
            "api_internal_url": "http://127.0.0.1:8080",
            "api_external_url": "http://127.0.0.1:8080",
            "use_https": false,
            "cors_allowed_origins": [],
        },
        "paths": { "system": "../../..", "services": "../../../services", "bin": "../../../bin" },
        "security": {
            "jwt_access_token_expiration": 3600,
            "jwt_refresh_token_expiration": 86400,
            "jwt_audiences": ["api"],
        },
        "rate_limits": { "disabled": true },
    })
}

fn assert_valid(registry: &ExtensionRegistry) {
    if let Err(errors) = LoaderErrors::check(registry.validate_all()) {
        panic!("the extensions do not fit together:\n{errors}");
    }
}

fn write(path: &Path, document: &JsonValue) {
    let directory = path.parent().expect("a file is in a directory");
    let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(path, document.to_string()));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A map of one entry.
fn object(key: &str, value: JsonValue) -> JsonValue {
    JsonValue::Object(Map::from_iter([(key.to_owned(), value)]))
}

/// Puts `addition` over `value`: maps are joined, anything else is replaced.
fn join(value: &mut JsonValue, addition: JsonValue) {
    match (value, addition) {
        (JsonValue::Object(value), JsonValue::Object(addition)) => {
            for (key, addition) in addition {
                join(value.entry(key).or_insert_with(|| JsonValue::Object(Map::new())), addition);
            }
        }
        (value, addition) => *value = addition,
    }
}
