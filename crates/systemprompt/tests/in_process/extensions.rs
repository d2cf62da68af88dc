//! What a server does with its extensions: services, lifecycle, health, routes and their rules, settings.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde_json::json;
use systemprompt::extension::policy::{Policy, PolicyDef, PolicyInput, Verdict};
use systemprompt::extension::prelude::*;
use systemprompt::extension::{ExtensionConfigs, Timeouts};
use systemprompt::testing::TestContext;

/// What happened, in order. A service, since extensions have no state.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn write(&self, entry: impl Into<String>) {
        self.0.lock().expect("no panic while the lock is held").push(entry.into());
    }

    fn read(&self) -> Vec<String> {
        self.0.lock().expect("no panic while the lock is held").clone()
    }
}

struct First;

#[async_trait]
impl Extension for First {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "first", name: "First", version: "1.0.0" }
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        assert!(ctx.services().names().is_empty(), "the context has no services yet");
        services.insert(Arc::new(Diary::default()));
        Ok(())
    }

    async fn on_start(&self, ctx: &dyn ExtensionContext) -> Result<(), LoaderError> {
        ctx.service::<Diary>()?.write("first starts");
        Ok(())
    }

    async fn on_shutdown(&self, ctx: &dyn ExtensionContext) {
        ctx.service::<Diary>().expect("a service").write("first stops");
    }
}

struct Second;

#[async_trait]
impl Extension for Second {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "second", name: "Second", version: "1.0.0" }
    }

    fn priority(&self) -> u32 {
        1
    }

    fn dependencies(&self) -> Vec<&'static str> {
        vec!["first"]
    }

    async fn provides(&self, _: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        services.require::<Diary>()?.write("second sees the diary");
        Ok(())
    }

    async fn on_start(&self, ctx: &dyn ExtensionContext) -> Result<(), LoaderError> {
        let diary = ctx.service::<Diary>()?;
        diary.write("second starts");
        let shutdown = ctx.shutdown().clone();
        ctx.tracker().spawn(async move {
            shutdown.cancelled().await;
            diary.write("the task ends");
        });
        Ok(())
    }

    async fn on_shutdown(&self, ctx: &dyn ExtensionContext) {
        ctx.service::<Diary>().expect("a service").write("second stops");
    }
}

#[tokio::test]
async fn hooks_run_in_load_order_and_end_in_reverse() {
    let server = TestContext::builder().extension(Second).extension(First).start().await;
    let diary = server.service::<Diary>().expect("first provides it");
    assert!(server.has_extension("first") && server.get_extension("third").is_none());
    server.stop().await;
    let mut entries = diary.read();
    // The task notices the shutdown whenever the runtime lets it.
    entries.retain(|entry| entry != "the task ends");
    assert_eq!(diary.read().len(), entries.len() + 1, "the server waited for the task");
    assert_eq!(entries, ["second sees the diary", "first starts", "second starts", "second stops", "first stops"]);
}

/// Fails in whatever way its id says.
struct Broken(&'static str);

#[async_trait]
impl Extension for Broken {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: self.0, name: "Broken", version: "1.0.0" }
    }

    async fn on_start(&self, _: &dyn ExtensionContext) -> Result<(), LoaderError> {
        let failed = |message: &str| LoaderError::InitializationFailed {
            extension: self.0.to_owned(),
            message: message.to_owned(),
        };
        match self.0 {
            "fails" => Err(failed("no such file")),
            "panics" => panic!("out of luck"),
            "hangs" => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn health(&self, _: &dyn ExtensionContext) -> ExtensionHealth {
        match self.0 {
            "fails" => ExtensionHealth::Degraded("slow disk".to_owned()),
            "panics" => panic!("out of luck"),
            "hangs" => std::future::pending().await,
            _ => ExtensionHealth::Healthy,
        }
    }
}

#[tokio::test]
async fn one_extension_cannot_take_the_others_down() {
    let ids = ["fails", "fine", "hangs", "panics"];
    let registry = ExtensionRegistry::of(ids.map(|id| Arc::new(Broken(id)) as Arc<dyn Extension>));
    let ctx = TestContext::builder().start().await;
    let limit = Duration::from_millis(20);
    let timeouts = Timeouts { start: limit, shutdown: limit, health: limit };

    let failed: Vec<String> = registry.start(&*ctx, timeouts).await.iter().map(ToString::to_string).collect();
    assert_eq!(
        failed,
        [
            "Extension 'fails' failed to initialise: no such file",
            "Extension 'hangs' failed to initialise: on_start took longer than 20ms",
            "Extension 'panics' failed to initialise: on_start panicked: out of luck",
        ]
    );

    let health = registry.health(&*ctx, timeouts).await;
    assert_eq!(
        health,
        [
            ("fails", ExtensionHealth::Degraded("slow disk".to_owned())),
            ("fine", ExtensionHealth::Healthy),
            ("hangs", ExtensionHealth::Unhealthy("no answer within 20ms".to_owned())),
            ("panics", ExtensionHealth::Unhealthy("the health check panicked".to_owned())),
        ]
    );
    assert!(health[1].1.is_healthy());
    assert_eq!(json!(health[0].1), json!({ "status": "degraded", "reason": "slow disk" }));
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the row is gone")]
    Gone,
    #[error("password=hunter2")]
    Inner(#[source] std::io::Error),
    #[error("too busy")]
    Busy,
}

impl ExtensionError for Failure {
    fn code(&self) -> &'static str {
        match self {
            Self::Gone => "GONE",
            Self::Inner(_) => "INNER",
            Self::Busy => "BUSY",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Gone => StatusCode::NOT_FOUND,
            Self::Inner(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// One mount for every rule.
struct Rules;

const RULES: [(&str, Access); 5] = [
    ("/api/ext/public", Access::Public),
    ("/api/ext/authenticated", Access::User),
    ("/api/ext/scoped", Access::Scopes(&["service", "rules.write"])),
    ("/api/ext/permitted", Access::Permission("rules.read")),
    ("/api/ext/admins", Access::Admin),
];

#[async_trait]
impl Extension for Rules {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "rules", name: "Rules", version: "1.0.0" }
    }

    fn permissions(&self) -> Vec<PermissionDef> {
        vec![
            PermissionDef::new("rules.read", "Read.").default_roles(&["reader"]),
            PermissionDef::new("rules.write", "Write."),
        ]
    }

    fn roles(&self) -> Vec<ExtensionRole> {
        vec![ExtensionRole::new("writer", "Writer", "Writes.").with_permissions(vec!["rules:write".to_owned()])]
    }

    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        RULES.map(|(path, auth)| ExtensionRouterConfig::new(path).with_access(auth)).to_vec()
    }

    fn try_router(&self, _: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        async fn who(caller: Option<systemprompt::extension::api::AuthUser>) -> String {
            caller.map_or_else(|| "nobody".to_owned(), |caller| caller.0.user_name.clone())
        }
        let router = |(path, auth)| {
            let routes = Router::new()
                .route("/", get(who))
                .route("/gone", get(async || ApiResult::<(), Failure>::Err(Failure::Gone.into())))
                .route(
                    "/inner",
                    get(async || ApiResult::<(), _>::Err(Failure::Inner(std::io::Error::other("disk")).into())),
                )
                .route("/busy", get(async || ApiResult::<(), Failure>::Err(Failure::Busy.into())))
                .route("/echo", axum::routing::post(async |body: String| body));
            ExtensionRouter::new(routes, path).with_access(auth).with_body_limit(100)
        };
        Ok(RULES.map(router).to_vec())
    }

    fn well_known(&self) -> Vec<WellKnownRoute> {
        vec![WellKnownRoute::new("rules.json", |ctx| {
            let id = ctx.instance_id().to_string();
            Ok(get(async move || id.clone()))
        })]
    }
}

#[tokio::test]
async fn every_rule_for_every_kind_of_caller() {
    let server = TestContext::builder().extension(Rules).start().await;
    let callers = [
        ("anonymous", server.anonymous()),
        ("user", server.user("paul", &["user"]).await),
        ("reader", server.user("rita", &["reader"]).await),
        ("writer", server.user("wim", &["writer"]).await),
        ("admin", server.admin().await),
    ];
    let mut table = String::new();
    for (path, _) in RULES {
        let mut row = vec![format!("{path:<24}")];
        for (_, client) in &callers {
            row.push(client.get(path).await.status.as_str().to_owned());
        }
        table.push_str(&row.join(" "));
        table.push('\n');
    }
    assert_eq!(
        table,
        "\
/api/ext/public          200 200 200 200 200
/api/ext/authenticated   401 200 200 200 200
/api/ext/scoped          401 403 403 200 200
/api/ext/permitted       401 403 200 403 200
/api/ext/admins          401 403 403 403 200
"
    );
    let nobody = &callers[0].1;
    assert_eq!(nobody.get("/api/ext/public").await.text(), "nobody");
    assert_eq!(callers[1].1.get("/api/ext/public").await.text(), "paul", "a credential is offered to public routes");
    let refused = nobody.get("/api/ext/admins").await;
    assert_eq!(refused.header("www-authenticate"), r#"Bearer realm="systemprompt""#);
    assert_eq!(refused.code(), "unauthorized");
    assert_eq!(nobody.get("/.well-known/rules.json").await.text(), server.instance_id().to_string());
}

#[tokio::test]
async fn errors_are_json_with_the_request_id_and_nothing_internal() {
    let server = TestContext::builder().extension(Rules).start().await;
    let client = server.anonymous();

    let gone = client.get("/api/ext/public/gone").await;
    assert_eq!((gone.status, gone.code().as_str()), (StatusCode::NOT_FOUND, "GONE"));
    assert_eq!(gone.json()["error"]["message"], "the row is gone");
    assert!(gone.json()["error"]["request_id"].as_str().is_some_and(|id| id.len() == 36), "{}", gone.text());

    let inner = client.get("/api/ext/public/inner").await;
    assert_eq!((inner.status, inner.code().as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "INNER"));
    assert!(!inner.text().contains("hunter2") && !inner.text().contains("disk"), "{}", inner.text());

    let busy = client.get("/api/ext/public/busy").await;
    assert_eq!((busy.status, &busy.headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));

    let unknown = client.get("/api/ext/public/unknown").await;
    assert_eq!((unknown.status, unknown.code().as_str()), (StatusCode::NOT_FOUND, "not_found"));

    let too_long = client.post("/api/ext/public/echo", &json!("x".repeat(200))).await;
    assert_eq!(too_long.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// Settings of the form an author would write.
struct Shop;

#[derive(Debug, PartialEq, serde::Deserialize)]
struct ShopSettings {
    api_url: String,
    max_items: u32,
    token: Option<String>,
    labels: Vec<String>,
}

impl Extension for Shop {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "shop-front", name: "Shop", version: "1.0.0" }
    }

    fn config_prefix(&self) -> Option<&str> {
        Some("shop_front")
    }

    fn config_schema(&self) -> Option<JsonValue> {
        Some(json!({
            "type": "object",
            "required": ["api_url", "max_items"],
            "properties": {
                "api_url": { "type": "string" },
                "max_items": { "type": "integer", "maximum": 10000, "default": 100 },
                "token": { "type": "string" },
                "labels": { "type": "array", "items": { "type": "string" }, "default": [] },
            },
        }))
    }

    fn validate_config(&self, config: &JsonValue) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if !config["api_url"].as_str().is_some_and(|url| url.starts_with("https://")) {
            problems.push(ConfigError::InvalidValue { key: "api_url".into(), message: "must use https".into() });
        }
        if config["max_items"] == 13 {
            problems.push(ConfigError::InvalidValue { key: "max_items".into(), message: "brings bad luck".into() });
        }
        ConfigError::collect(problems)
    }
}

#[tokio::test]
async fn settings_are_layered_completed_and_masked() {
    let server = TestContext::builder()
        .extension(Shop)
        .document(
            "config/shop_front.yaml",
            json!({ "api_url": "https://shared", "labels": ["a"], "token": "${SHOP_TOKEN}" }),
        )
        .settings("shop_front", json!({ "api_url": "https://mine" }))
        .secret("shop_token", "s3cret")
        .start()
        .await;
    let settings: ShopSettings = server.typed_config("shop_front").expect("they fit");
    assert_eq!(
        settings,
        ShopSettings {
            api_url: "https://mine".into(),
            max_items: 100,
            token: Some("s3cret".into()),
            labels: vec!["a".into()],
        }
    );
    let configs: &ExtensionConfigs = server.extension_configs();
    let shown = configs.shown("shop_front").expect("it has settings").to_string();
    assert!(shown.contains("[redacted]") && !shown.contains("s3cret"), "{shown}");
    let unknown = server.typed_config::<ShopSettings>("shop").expect_err("nobody has this prefix");
    assert_eq!(unknown.code(), "EXT_CONFIG_VALIDATION_FAILED");
}

#[tokio::test]
async fn an_environment_variable_overrides_settings_when_the_profile_allows_it() {
    let builder = || {
        TestContext::builder()
            .extension(Shop)
            .settings("shop_front", json!({ "api_url": "https://mine", "max_items": 5 }))
            .variable("SYSTEMPROMPT_EXT__SHOP_FRONT__MAX_ITEMS", "7")
    };
    let max_items =
        |server: &TestContext| server.extension_config("shop_front").expect("settings")["max_items"].clone();
    assert_eq!(max_items(&builder().start().await), 5);
    let allowed = builder().profile("extensions", json!({ "allow_env_overrides": true })).start().await;
    assert_eq!(max_items(&allowed), 7);
}

#[test]
fn every_problem_of_the_settings_is_told_at_once_with_its_key() {
    let problems = |settings| TestContext::builder().extension(Shop).settings("shop_front", settings).problems();
    let schema = problems(json!({ "max_items": 20000, "max_itmes": 1 }));
    for part in ["shop_front.api_url", "shop_front.max_items", "max_itmes"] {
        assert!(schema.iter().any(|problem| problem.contains(part)), "{part}: {schema:?}");
    }
    let own = problems(json!({ "api_url": "http://x", "max_items": 13 }));
    assert_eq!(own, ["shop_front.api_url: must use https", "shop_front.max_items: brings bad luck"]);
    let unknown = TestContext::builder().extension(Shop).settings("shop_fornt", json!({})).problems();
    assert!(unknown.iter().any(|problem| problem.contains("shop_fornt")), "{unknown:?}");
}

#[tokio::test]
async fn the_documented_ways_to_the_database_and_the_configuration_work() {
    use systemprompt::extension::Database;
    let server = TestContext::builder().start().await;
    let ctx: &dyn ExtensionContext = &*server;
    let handle = ctx.database();
    let pool = handle.as_any().downcast_ref::<Database>().and_then(Database::pool).expect("it is connected");
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&*pool).await.expect("PostgreSQL answers");
    assert_eq!(one, 1);
    assert!(handle.is_connected());
    let config = ctx.config();
    let port = server.address().port();
    assert_eq!(config.get("server.port"), Some(port.to_string()));
    assert_eq!(config.get("server"), None);
    assert_eq!(config.api_port(), port);
    assert!(config.as_any().is::<Configuration>());
}

/// Announces some mounts and builds others.
struct Mounts {
    announced: Vec<ExtensionRouterConfig>,
    built: Vec<ExtensionRouter>,
}

impl Extension for Mounts {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "a", name: "Mounts", version: "1.0.0" }
    }

    fn router_configs(&self) -> Vec<ExtensionRouterConfig> {
        self.announced.clone()
    }

    fn try_router(&self, _: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        Ok(self.built.clone())
    }
}

#[tokio::test]
async fn what_is_built_must_be_what_was_announced() {
    let people = |path| ExtensionRouter::new(Router::new(), path);
    let announced = || vec![ExtensionRouterConfig::new("/api/v1/a")];
    let rows = [
        (announced(), vec![people("/api/v1/a")], ""),
        (vec![], vec![people("/api/v1/a")], ""),
        (
            announced(),
            vec![ExtensionRouter::public(Router::new(), "/api/v1/a")],
            "Extension 'a': router_config announces /api/v1/a (for people), but the router is /api/v1/a (for anyone)",
        ),
        (
            announced(),
            vec![],
            "Extension 'a': router_config announces /api/v1/a (for people), but the router is nothing",
        ),
        (
            vec![],
            vec![people("/api/v1/users/x")],
            "Extension 'a': base path '/api/v1/users/x' is reserved (it lies under '/api/v1/users')",
        ),
    ];
    let server = TestContext::builder().start().await;
    for (announced, built, expected) in rows {
        let registry = ExtensionRegistry::of([Arc::new(Mounts { announced, built }) as Arc<dyn Extension>]);
        let problems = registry.api_routers(&*server).err();
        let problems = problems.map(|errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(problems.unwrap_or_default().join("\n"), expected);
    }
}

/// Declares a policy that calls itself something else.
struct Renamed;

impl Extension for Renamed {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "a", name: "Renamed", version: "1.0.0" }
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        vec![PolicyDef::new("a.few", "Few is enough", |_| Ok(Arc::new(Many)))]
    }
}

struct Many;

#[async_trait]
impl Policy for Many {
    fn id(&self) -> &'static str {
        "a.many"
    }

    async fn judge(&self, _: &PolicyInput<'_>) -> Verdict {
        Verdict::Pass
    }
}

#[tokio::test]
async fn a_policy_is_called_what_it_was_declared_as() {
    let server = TestContext::builder().start().await;
    let registry = ExtensionRegistry::of([Arc::new(Renamed) as Arc<dyn Extension>]);
    let refused = registry.make_policies(&*server).err().map(|error| error.to_string());
    assert_eq!(
        refused.as_deref(),
        Some("Extension 'a' failed to initialise: the policy 'a.few' calls itself 'a.many'")
    );
}
