//! Starting a server for a test.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use systemprompt_config::{Environment, LoadRequest};
use systemprompt_database::testing::TestDatabase;
use systemprompt_database::{Database, InstallOptions};
use systemprompt_extension::{BUILT_IN, Extension, ExtensionContextExt as _, ExtensionRegistry, LoaderErrors};
use systemprompt_governance::Ledger;
use systemprompt_identity::{ApiKeys, NewUser, Users};
use systemprompt_model::{Ambient, Secret, with_causes};
use systemprompt_server::{Assembly, Drained, RunningServer, ServerContext, ServerOptions, start};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::client::TestClient;
use super::project::{PROFILE, TestProject, object};

/// Requests that are still open when a test stops its server have this long to end.
const GRACE: Duration = Duration::from_secs(5);

/// What a [`TestContext`] is to be made of.
pub struct TestContextBuilder {
    extensions: Vec<Arc<dyn Extension>>,
    project: TestProject,
    environment: Vec<(String, String)>,
    ambient: Ambient,
}

impl TestContextBuilder {
    /// With this extension, beside the built-in ones.
    #[must_use]
    pub fn extension(self, extension: impl Extension) -> Self {
        self.extensions([Arc::new(extension) as Arc<dyn Extension>])
    }

    /// With these extensions, beside the built-in ones.
    #[must_use]
    pub fn extensions(mut self, extensions: impl IntoIterator<Item = Arc<dyn Extension>>) -> Self {
        self.extensions.extend(extensions);
        self
    }

    /// With this value at a top-level key of the profile, joined with what the test profile has there.
    #[must_use]
    pub fn profile(mut self, key: &str, value: Value) -> Self {
        self.project.set(key, value);
        self
    }

    /// With these settings of an extension: `extensions.<prefix>` of the profile.
    #[must_use]
    pub fn settings(self, prefix: &str, value: Value) -> Self {
        self.profile("extensions", object(prefix, value))
    }

    /// With this document below `services/`, for example `governance/config.yaml`. Without `access-control/roles.yaml` every
    /// user may use every model.
    #[must_use]
    pub fn document(mut self, path: &str, value: Value) -> Self {
        self.project.add_document(path, value);
        self
    }

    /// With this secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.project.add_secret(name, value);
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
        let url = Secret::new("postgres://test@127.0.0.1/test");
        match self.assemble(self.registry(), directory.path(), TestProject::NOWHERE, &url) {
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        }
    }

    /// Makes a database, writes the configuration, loads it, and starts the server.
    pub async fn start(self) -> TestContext {
        let registry = self.registry();
        let directory = TempDir::new().expect("a temporary directory");
        let listener = TcpListener::bind(TestProject::NOWHERE.ip().to_string() + ":0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        // A copy of a database in which the same schema is installed; the start finds it up to date.
        let database = systemprompt_database::testing::database(&registry.modules()).await;
        let assembled = self.assemble(registry, directory.path(), address, &database.url);
        let Assembly { configuration, extension_configs, registry } =
            assembled.unwrap_or_else(|problems| panic!("the configuration is not valid:\n{}", problems.join("\n")));
        let options = ServerOptions {
            configuration,
            extension_configs,
            registry,
            db: Database::connect(&database.connect_options()).await.expect("connects to the test database"),
            ambient: self.ambient,
            listener,
            install: InstallOptions::default(),
            logs: None,
        };
        let server = start(options).await.unwrap_or_else(|error| panic!("{}", with_causes(&error)));
        TestContext { server: Some(server), database, _directory: directory }
    }

    /// The built-in features, whatever else is linked into the test binary, and the extensions under test.
    fn registry(&self) -> ExtensionRegistry {
        crate::__force_extension_link();
        let linked = ExtensionRegistry::discover();
        let built_in = linked.iter().filter(|extension| BUILT_IN.contains(&extension.id())).cloned();
        let registry = ExtensionRegistry::of(built_in.chain(self.extensions.iter().cloned()));
        if let Err(errors) = LoaderErrors::check(registry.validate_all()) {
            panic!("the extensions do not fit together:\n{errors}");
        }
        registry
    }

    fn assemble(
        &self,
        registry: ExtensionRegistry,
        directory: &Path,
        address: SocketAddr,
        database_url: &Secret,
    ) -> Result<Assembly, Vec<String>> {
        let request = LoadRequest {
            home: self.project.write(directory, address, database_url),
            profile: Some(PROFILE.to_owned()),
            environment: self.environment.iter().cloned().collect::<Environment>(),
        };
        let (assembly, report) = Assembly::load(registry, &request);
        assembly.ok_or_else(|| report.errors().map(ToString::to_string).collect())
    }
}

impl fmt::Debug for TestContextBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.extensions.iter().map(|extension| extension.id()).collect();
        f.debug_struct("TestContextBuilder").field("extensions", &ids).finish_non_exhaustive()
    }
}

/// A server that serves, on a database of its own. What an [`ExtensionContext`](crate::traits::ExtensionContext) offers is
/// there too: services, pools, configuration, clock.
pub struct TestContext {
    /// `None` only while it is being stopped.
    server: Option<RunningServer>,
    database: TestDatabase,
    _directory: TempDir,
}

impl TestContext {
    /// A server with a valid profile, the demo provider behind the gateway, and no rate limits.
    pub fn builder() -> TestContextBuilder {
        TestContextBuilder {
            extensions: Vec::new(),
            project: TestProject::default(),
            environment: Vec::new(),
            ambient: Ambient::system(),
        }
    }

    /// The database, for a second pool or a look at its URL.
    pub fn test_database(&self) -> &TestDatabase {
        &self.database
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.server().address()
    }

    /// A client without a credential.
    pub fn anonymous(&self) -> TestClient {
        TestClient::new(self.address(), None)
    }

    /// A client with an API key of a new user with this name and these roles.
    pub async fn user(&self, name: &str, roles: &[&str]) -> TestClient {
        let new = NewUser {
            name: name.to_owned(),
            email: format!("{name}@example.com"),
            roles: roles.iter().map(ToString::to_string).collect(),
            ..NewUser::default()
        };
        let users = self.service::<Users>().expect("identity provides it");
        let user = users.create(new).await.unwrap_or_else(|error| panic!("the user `{name}`: {error}"));
        let keys = self.service::<ApiKeys>().expect("identity provides it");
        let key = keys.issue(user.id, "test", None).await.unwrap_or_else(|error| panic!("a key of `{name}`: {error}"));
        self.with_credential(key.secret)
    }

    /// A client of a new administrator, whose name is `admin`.
    pub async fn admin(&self) -> TestClient {
        self.user("admin", &["admin"]).await
    }

    /// A client with this API key or token.
    pub fn with_credential(&self, credential: Secret) -> TestClient {
        TestClient::new(self.address(), Some(credential))
    }

    /// Brings every projection of the ledger up to date, so that tables show what was decided and done until now.
    pub async fn catch_up(&self) {
        let ledger = self.service::<Ledger>().expect("governance provides it");
        ledger
            .catch_up()
            .await
            .unwrap_or_else(|error| panic!("the projections cannot be applied: {}", with_causes(&error)));
    }

    /// Stops the server as `up` does: drains requests, runs the hooks in reverse order, waits for the tasks.
    pub async fn stop(mut self) -> Drained {
        self.server.take().expect("it is stopped once").shut_down(GRACE).await
    }

    fn server(&self) -> &RunningServer {
        self.server.as_ref().expect("it runs until it is stopped, which takes the context")
    }
}

impl Deref for TestContext {
    type Target = ServerContext;

    fn deref(&self) -> &ServerContext {
        self.server().context()
    }
}

impl Drop for TestContext {
    fn drop(&mut self) {
        use systemprompt_extension::ExtensionContext as _;
        if let Some(server) = &self.server {
            server.context().shutdown().cancel();
        }
    }
}

impl fmt::Debug for TestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestContext").field("address", &self.address()).finish_non_exhaustive()
    }
}
