//! Every route of the server as nobody, as the wrong user and as the right one. The list of routes is the server's own, so
//! a new route is walked without being added here; what must be added is how to ask for it, if `{}` is no body for it.

use std::collections::BTreeMap;

use http::Method;
use systemprompt::extension::{Access, ExtensionRegistry};

use crate::harness::Instance;

#[tokio::test]
async fn who_may_ask_for_what() {
    systemprompt::__force_extension_link();
    let instance = Instance::start().await;
    instance.cli(&["admin", "users", "create", "--name", "eve", "--email", "eve@example.com"]);
    let user_key =
        instance.cli(&["admin", "users", "api-key", "issue", "eve"])["api_key"].as_str().expect("a key").to_owned();
    instance.cli(&["admin", "users", "create", "--name", "mallory", "--email", "mallory@example.com"]);
    let barred_key =
        instance.cli(&["admin", "users", "api-key", "issue", "mallory"])["api_key"].as_str().expect("a key").to_owned();
    instance.cli(&["admin", "users", "update", "mallory", "--status", "suspended"]);
    // A request that a proxy handed on does not come from this machine.
    let forwarded = ("x-forwarded-for", "203.0.113.9");

    let registry = ExtensionRegistry::discover();
    let mut walked = 0;
    for extension in registry.iter() {
        let documents =
            extension.well_known().into_iter().map(|document| ("GET", document.full_path(), Access::Public));
        let endpoints =
            extension.endpoints().into_iter().map(|endpoint| (endpoint.method, endpoint.path, endpoint.access));
        for (method, path, access) in endpoints.chain(documents) {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let body = if method == Method::GET { "" } else { "{}" };
            let ask = async |key: &str| {
                instance.send(method.clone(), &path, &[("x-api-key", key), forwarded], body).await.status.as_u16()
            };
            let (nobody, barred, user, admin) =
                (ask("").await, ask(&barred_key).await, ask(&user_key).await, ask(&instance.key).await);
            let what = format!(
                "{method} {path} for {}: nobody {nobody}, barred {barred}, user {user}, admin {admin}",
                access.describe()
            );
            // A path with a parameter names something that does not exist, which is found out after who is asking.
            let about_nothing = path.contains('{');
            let let_in =
                |status: u16| !matches!(status, 401 | 403 | 405) && (status != 404 || about_nothing) && status < 500;
            assert!(let_in(admin), "{what}");
            match access {
                Access::Public | Access::Own => assert!(let_in(nobody) && let_in(user), "{what}"),
                Access::Authenticated | Access::User => {
                    assert!(nobody == 401 && barred == 401 && let_in(user), "{what}");
                }
                Access::Scopes(_) | Access::Permission(_) | Access::Admin | Access::AdminOrLocal => {
                    assert!(nobody == 401 && barred == 401 && user == 403, "{what}");
                }
            }
            walked += 1;
        }
    }
    assert!(walked >= 10, "only {walked} routes were found");
    let prompt = |text: &str| {
        format!(r#"{{"model":"claude-test","max_tokens":9,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    for (text, status) in [("Hello", 200), (concat!("AKIA", "IOSFODNN7EXAMPLQ"), 200)] {
        let headers = [("x-api-key", instance.key.as_str())];
        assert_eq!(instance.send(Method::POST, "/v1/messages", &headers, prompt(text)).await.status, status, "{text}");
    }
    let local = instance.send(Method::GET, "/metrics", &[("x-api-key", "")], "").await;
    assert_eq!(local.status, 200, "metrics are for programs on this machine");
    let shown = metrics_on(local.text());
    for name in
        ["http_requests_total", "http_request_duration_seconds", "http_requests_in_flight", "gateway_overhead_seconds"]
    {
        assert!(shown.keys().any(|shown| shown == name), "{name} is missing:\n{}", local.text());
    }
    let documented = documented_metrics();
    for (name, row) in &shown {
        assert_eq!(Some(row), documented.get(name), "{name} in docs/reference/metrics.md");
    }
    // Metrics with labels appear with their first observation; all others are there from the start.
    let absent: Vec<_> =
        documented.iter().filter(|(name, row)| !shown.contains_key(*name) && row.labels.is_empty()).collect();
    assert!(absent.is_empty(), "documented, and not shown: {absent:?}");
}

/// What is said of a metric.
#[derive(Debug, PartialEq)]
struct Described {
    kind: String,
    labels: Vec<String>,
    meaning: String,
}

/// The metrics of an OpenMetrics page, by the names under which they are queried.
fn metrics_on(page: &str) -> BTreeMap<String, Described> {
    let mut metrics = BTreeMap::new();
    let (mut help, mut metric): (&str, Option<(&str, &str)>) = ("", None);
    for line in page.lines() {
        if let Some(line) = line.strip_prefix("# HELP ") {
            help = line.split_once(' ').expect("a name and a text").1;
        } else if let Some(line) = line.strip_prefix("# TYPE ") {
            metric = line.split_once(' ');
        } else if let Some((name, kind)) = metric.take_if(|_| !line.starts_with('#')) {
            // The pattern of a route may hold braces itself.
            let labels =
                line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inside, _)| inside);
            let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect();
            let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            metrics.insert(name, Described { kind: kind.to_owned(), labels, meaning: help.to_owned() });
        }
    }
    metrics
}

/// The rows of the committed reference.
fn documented_metrics() -> BTreeMap<String, Described> {
    include_str!("../../../../docs/reference/metrics.md")
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.strip_prefix("| `")?.split(" | ").collect();
            let [name, kind, labels, meaning] = cells.as_slice() else { return None };
            let labels = labels.split(", ").filter(|label| !label.is_empty());
            Some((
                name.trim_matches('`').to_owned(),
                Described {
                    kind: (*kind).to_owned(),
                    labels: labels.map(|label| label.trim_matches('`').to_owned()).collect(),
                    meaning: meaning.trim_end_matches(" |").to_owned(),
                },
            ))
        })
        .collect()
}
