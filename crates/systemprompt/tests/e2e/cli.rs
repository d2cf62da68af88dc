//! The operator's commands against a running server: text for people, one document for programs, honest exit statuses.

use serde_json::{Value, json};

use crate::harness::{Instance, command, document, hello, path, run};

/// Runs a command on an instance's home and gives status, output and errors.
fn text(instance: &Instance, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(instance.home.path()).args(arguments).output().expect("the binary runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test]
async fn users_and_keys() {
    let instance = Instance::start().await;
    let user = instance.cli(&[
        "admin",
        "users",
        "create",
        "--name",
        "eve",
        "--email",
        "Eve@Example.com",
        "--full-name",
        "Eve Adams",
        "--roles",
        "analyst",
    ]);
    assert_eq!((user["email"].as_str(), user["roles"].clone()), (Some("eve@example.com"), json!(["analyst", "user"])));
    for mistaken in [
        &["admin", "users", "create", "--name", "ava", "--email", "ava@example.com", "--roles", "anlyst"][..],
        &["admin", "users", "update", "eve", "--roles", "user,anlyst"],
    ] {
        let (status, _, errors) = text(&instance, mistaken);
        assert_eq!(status, Some(2), "{errors}");
        assert!(
            errors.starts_with("error[unknown_role]: there is no role `anlyst`; did you mean `analyst`?"),
            "{errors}"
        );
    }
    let again =
        instance.cli(&["admin", "users", "create", "--name", "eve", "--email", "x@example.com", "--if-not-exists"]);
    assert_eq!(again["id"], user["id"]);
    assert_eq!(text(&instance, &["admin", "users", "create", "--name", "eve", "--email", "x@example.com"]).0, Some(5));
    for reference in ["eve", "eve@example.com", user["id"].as_str().expect("an id")] {
        assert_eq!(instance.cli(&["admin", "users", "show", reference])["id"], user["id"], "{reference}");
    }
    assert_eq!(instance.cli(&["admin", "users", "search", "adams"])["items"][0]["name"], "eve");
    assert_eq!(instance.cli(&["admin", "users", "list", "--role", "analyst"])["total"], 1);
    assert_eq!(instance.cli(&["admin", "users", "update", "eve", "--status", "suspended"])["status"], "suspended");
    let (status, _, errors) = text(&instance, &["admin", "users", "show", "nobody"]);
    assert_eq!(status, Some(1));
    assert!(errors.starts_with("error[unknown_user]: ") && errors.contains("help: "), "{errors}");
    let (status, _, errors) = text(&instance, &["admin", "users", "delete", "eve"]);
    assert_eq!(status, Some(2), "without a terminal only --yes is consent");
    assert!(errors.contains("--yes"), "{errors}");
    assert_eq!(instance.cli(&["admin", "users", "delete", "eve", "--yes"])["status"], "deleted");
    assert_eq!(instance.cli(&["admin", "users", "count"])["count"], 1);

    let key = instance.cli(&["admin", "users", "api-key", "issue", "admin", "--name", "ci", "--expires-in-days", "7"]);
    let secret = key["api_key"].as_str().expect("a secret").to_owned();
    let listed = instance.cli(&["admin", "users", "api-key", "list", "admin"]);
    assert!(!listed.to_string().contains(&secret), "the secret is shown once");
    let (_, table, _) = text(&instance, &["admin", "users", "api-key", "list", "admin"]);
    assert!(table.contains("ci") && table.contains("live"), "{table}");
}

#[tokio::test]
async fn the_database() {
    let instance = Instance::start().await;
    assert_eq!(instance.cli(&["infra", "db", "status"])["pending_migrations"], 0);
    assert!(instance.cli(&["infra", "db", "info"])["size_bytes"].as_i64().is_some());
    let tables = instance.cli(&["infra", "db", "tables", "--filter", "ai_"]);
    assert!(
        tables["items"].as_array().is_some_and(|tables| tables
            .iter()
            .any(|table| table["name"] == "ai_requests" && table["owner_extension"] == "gateway")),
        "{tables}"
    );
    assert!(
        instance.cli(&["infra", "db", "describe", "users"])["columns"]
            .as_array()
            .is_some_and(|columns| columns.len() > 5)
    );
    let (_, _, errors) = text(&instance, &["infra", "db", "describe", "usrs"]);
    assert!(errors.contains("users"), "{errors}");
    assert_eq!(instance.cli(&["infra", "db", "count", "users"])["row_count"], 1);
    assert!(instance.cli(&["infra", "db", "size"])["size_bytes"].as_i64().is_some());
    assert!(
        instance.cli(&["infra", "db", "indexes", "--table", "users"])["items"]
            .as_array()
            .is_some_and(|indexes| !indexes.is_empty())
    );
    let result = instance.cli(&[
        "infra",
        "db",
        "query",
        "SELECT 1 AS one, 'drop table x' AS text, NULL AS nothing",
        "--limit",
        "5",
    ]);
    assert_eq!(
        (result["rows"].clone(), result["truncated"].clone()),
        (json!([[1, "drop table x", null]]), json!(false))
    );
    assert_eq!(
        instance.cli(&["infra", "db", "query", "SELECT generate_series(1, 10)", "--limit", "3"])["truncated"],
        true
    );
    for changing in
        ["DELETE FROM users", "WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x", "SELECT 1; SELECT 2"]
    {
        assert_ne!(text(&instance, &["infra", "db", "query", changing]).0, Some(0), "{changing}");
    }
    assert_eq!(instance.cli(&["infra", "db", "execute", "DELETE FROM users", "--dry-run"])["rows_affected"], 1);
    assert_eq!(instance.cli(&["infra", "db", "count", "users"])["row_count"], 1);
    instance.cli(&["infra", "db", "migrate"]);
    for reading in ["migrate-plan", "migrate-status", "migrate-repair"] {
        instance.cli(&["infra", "db", reading]);
    }
    let (status, said, _) = text(&instance, &["infra", "db", "doctor", "--strict"]);
    assert_eq!(status, Some(0), "{said}");
    instance.cli(&["infra", "db", "execute", "--yes", "ALTER TABLE logs ADD COLUMN surprise TEXT"]);
    assert_eq!(text(&instance, &["infra", "db", "doctor", "--strict"]).0, Some(1));
}

#[tokio::test]
async fn logs_and_the_audit() {
    let instance = Instance::start().await;
    let answer = instance.messages(&hello("claude-test")).await;
    let id = answer.request_id().to_owned();
    let record = instance.record(&id).await;
    assert_eq!(record["messages"][0]["content"], "Hello", "{record}");
    let listed = instance.cli(&[
        "infra",
        "logs",
        "request",
        "list",
        "--model",
        "claude-test",
        "--user",
        "admin",
        "--since",
        "1h",
    ]);
    assert_eq!(listed["items"][0]["request_id"], id.as_str());
    let (_, table, _) = text(&instance, &["infra", "logs", "request", "list"]);
    assert!(table.contains(&id[..13]) && table.contains("1 completed"), "{table}");
    let stats = instance.cli(&["infra", "logs", "request", "stats"]);
    assert_eq!((stats["requests"].as_i64(), stats["completed"].as_i64()), (Some(1), Some(1)));
    let trace = answer.header("x-trace-id").expect("a trace").to_owned();
    for reference in [id.as_str(), trace.as_str()] {
        let audit = instance.cli(&["infra", "logs", "audit", reference]);
        for key in [
            "request_id",
            "provider",
            "model",
            "requested_model",
            "input_tokens",
            "output_tokens",
            "cost_microdollars",
            "cost_dollars",
            "latency_ms",
            "trace_id",
            "messages",
            "tool_calls",
        ] {
            assert!(audit["items"][0].get(key).is_some(), "{key}: {audit}");
        }
    }
    let (_, people, _) = text(&instance, &["infra", "logs", "audit", &id]);
    assert!(people.contains("allow by") && people.contains("Hello"), "{people}");
    assert_eq!(text(&instance, &["infra", "logs", "audit", "ffffffff-ffff-7fff-8fff-ffffffffffff"]).0, Some(1));

    let verified = instance.cli(&["infra", "logs", "audit", "verify"]);
    assert_eq!(verified["problems"], json!([]), "{verified}");
    assert!(verified["verified"].as_i64() >= Some(2), "{verified}");
    let export = path(&instance, "ledger.jsonl");
    let export = export.to_str().expect("UTF-8");
    let exported = instance.cli(&["infra", "logs", "audit", "export", "--output", export]);
    let from_export = instance.cli(&["infra", "logs", "audit", "verify", "--file", export]);
    assert_eq!((&exported["entries"], &from_export["problems"]), (&from_export["verified"], &json!([])));
    // As a table of one model's requests: whoever verifies it sees that the rest was there, and nothing of it.
    let table = path(&instance, "demo.parquet");
    let table = table.to_str().expect("UTF-8");
    let part = ["infra", "logs", "audit", "export", "--output", table, "--format", "parquet", "--model", "claude-*"];
    let part = instance.cli(&part);
    let from_part = instance.cli(&["infra", "logs", "audit", "verify", "--file", table]);
    assert_eq!((&part["entries"], &part["left_out"]), (&from_part["verified"], &from_part["left_out"]), "{from_part}");
    assert!(part["left_out"].as_i64() > Some(0) && part["entries"].as_i64() > Some(1), "{part}");
    // What is erased is known to be erased.
    let (status, _, why) = text(&instance, &["infra", "logs", "content", "redact", &id, "--part", "anser", "--yes"]);
    assert!(status == Some(2) && why.contains("`anser`") && why.contains("answer, request"), "{why}");
    instance.cli(&["infra", "logs", "content", "redact", &id, "--part", "answer", "--yes"]);
    let verified = instance.cli(&["infra", "logs", "audit", "verify"]);
    assert_eq!((&verified["problems"], &verified["erased"]), (&json!([]), &json!(1)), "{verified}");
    // A row that the log does not say is named, and mended by filling the table anew.
    instance.cli(&["infra", "db", "execute", "--yes", "UPDATE ai_requests SET cost_microdollars = 0"]);
    let (status, said, _) = text(&instance, &["infra", "logs", "audit", "verify"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&id), "the altered request is named: {said}");
    instance.cli(&["infra", "db", "projections", "rebuild", "ai_requests"]);
    assert_eq!(text(&instance, &["infra", "logs", "audit", "verify"]).0, Some(0));
    // Who made somebody an administrator is on record, or it is named.
    let eve = ["admin", "users", "create", "--name", "eve", "--email", "eve@example.com"];
    let eve = instance.cli(&eve)["id"].as_str().expect("an id").to_owned();
    instance.cli(&["admin", "users", "update", "eve", "--roles", "analyst,user"]);
    assert_eq!(text(&instance, &["infra", "logs", "audit", "verify"]).0, Some(0));
    instance.cli(&["infra", "db", "execute", "--yes", "UPDATE users SET roles = '{admin}' WHERE name = 'eve'"]);
    let (status, said, _) = text(&instance, &["infra", "logs", "audit", "verify"]);
    assert!(status == Some(1) && said.contains(&eve) && said.contains("now with the roles admin"), "{said}");
    instance.cli(&["infra", "db", "execute", "--yes", "UPDATE users SET roles = '{analyst,user}' WHERE name = 'eve'"]);
    let (status, said, _) = text(&instance, &["infra", "logs", "audit", "verify"]);
    assert_eq!(status, Some(0), "{said}");
    // A trigger that is switched off, or does something else, is seen.
    let silence = "ALTER TABLE ledger DISABLE TRIGGER ledger_unchanged";
    instance.cli(&["infra", "db", "execute", "--yes", silence]);
    let found = instance.cli(&["infra", "db", "doctor"]);
    assert_eq!(found["disabled_triggers"][0]["trigger"], json!("ledger_unchanged"), "{found}");
    instance.cli(&["infra", "db", "execute", "--yes", "ALTER TABLE ledger ENABLE TRIGGER ledger_unchanged"]);
    // A key that is exchanged vouches for the next.
    instance.cli(&["infra", "logs", "audit", "keys", "rotate", "--yes"]);
    let keys = instance.cli(&["infra", "logs", "audit", "keys", "list"]);
    assert_eq!(keys["items"][1]["follows"], keys["items"][0]["key_id"], "{keys}");
    let (status, said, _) = text(&instance, &["infra", "logs", "audit", "verify"]);
    assert_eq!(status, Some(0), "{said}");
    // Somebody who owns the tables can get around the triggers, but not around the chain.
    for statement in [
        "ALTER TABLE ledger DISABLE TRIGGER ledger_unchanged",
        &format!("UPDATE ledger SET body = replace(body, 'user_prompt', 'tool_prompt') WHERE action_id = '{id}'"),
        "ALTER TABLE ledger ENABLE TRIGGER ledger_unchanged",
    ] {
        instance.cli(&["infra", "db", "execute", "--yes", statement]);
    }
    let (status, said, _) = text(&instance, &["infra", "logs", "audit", "verify"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&id), "the altered action is named: {said}");
    // All of it was done by somebody.
    let changes = instance.cli(&["infra", "logs", "changes", "list", "--operation", "database"]);
    let first = &changes["items"][0];
    assert_eq!((&first["actor_kind"], &first["status"]), (&json!("operator"), &json!("completed")), "{changes}");
    let shown = instance.cli(&["infra", "logs", "changes", "show", first["id"].as_str().expect("an id")]);
    assert!(shown["request"]["statement_sha256"].is_string(), "{shown}");

    instance.send(http::Method::GET, "/nothing/here", &[], "").await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let lines: Value = instance.cli(&["infra", "logs", "search", "/nothing/here"]);
        if lines["items"].as_array().is_some_and(|lines| !lines.is_empty()) {
            assert!(lines["items"][0]["trace_id"].as_str().is_some(), "{lines}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the refusal is not in the log");
    }
    assert!(
        instance.cli(&["infra", "logs", "view", "-n", "5", "--level", "info"])["items"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty())
    );
    assert_eq!(text(&instance, &["infra", "logs", "view", "--since", "yesterday"]).0, Some(2));
}

#[tokio::test]
async fn configuration_and_extensions() {
    let instance = Instance::start().await;
    let shown = instance.cli(&["admin", "config", "show"]);
    assert_eq!(shown["profile"]["name"], "local");
    assert!(!shown.to_string().contains("sk-upstream"), "secrets are masked: {shown}");
    let (_, port, _) = text(&instance, &["admin", "config", "show", "server.port"]);
    assert!(port.trim().parse::<u16>().is_ok(), "{port}");
    assert_eq!(text(&instance, &["admin", "config", "validate"]).0, Some(0));
    assert_eq!(instance.cli(&["admin", "config", "validate"])["valid"], true);
    let schema = instance.cli(&["admin", "config", "validate", "--schema"]);
    assert!(schema["properties"]["providers"].is_object() && schema["properties"]["server"].is_object(), "{schema}");

    let extensions = instance.cli(&["plugins", "list"]);
    let ids: Vec<_> = extensions["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|extension| extension["id"].as_str().expect("an id").to_owned())
        .collect();
    for id in ["identity", "governance", "gateway", "server"] {
        assert!(ids.contains(&id.to_owned()), "{ids:?}");
        assert_eq!(instance.cli(&["plugins", "show", id])["id"], id);
    }
    assert_eq!(instance.cli(&["plugins", "validate"])["valid"], true);
    assert!(instance.cli(&["plugins", "capabilities", "routes"]).to_string().contains("/v1"));
}

#[test]
fn what_came_from_a_variable_is_not_shown() {
    let home = tempfile::TempDir::new().expect("a directory");
    assert!(run(home.path(), &["admin", "setup", "-e", "local"]).status.success());
    let file = home.path().join("home/profiles/local/profile.yaml");
    let text = std::fs::read_to_string(&file).expect("a profile").replace(
        "    wire: demo\n",
        "    wire: demo\n    extra_headers: { x-partner: \"key ${PARTNER_KEY}\", x-plain: plain-canary }\n",
    );
    let text = text.replace("  name: home", "  name: ${SITE_NAME}").replace("  port: 8080", "  port: ${PORT}");
    std::fs::write(&file, text).expect("writable");
    let show = |path: &[&str]| {
        let mut command = command(home.path());
        let command = command.env("PARTNER_KEY", "partner-canary").env("SITE_NAME", "site-canary").env("PORT", "8181");
        command.args(["--json", "admin", "config", "show"]).args(path).output().expect("the binary runs")
    };
    let shown = document(&show(&[]));
    assert!(!shown.to_string().contains("canary"), "{shown}");
    assert_eq!(shown["profile"]["server"]["port"], 8181, "a number hides nothing");
    let headers = document(&show(&["providers"]))[0]["extra_headers"].clone();
    assert_eq!(headers, json!({"x-partner": "[redacted]", "x-plain": "[redacted]"}));
}

#[test]
fn secrets_are_read_from_standard_input() {
    use std::io::Write as _;
    let home = tempfile::TempDir::new().expect("a directory");
    let setup = |name: &str, lines: &str| {
        let mut child = command(home.path())
            .args(["--json", "admin", "setup", "-e", name, "--db-host", "db", "--db-password", "-"])
            .args(["--openai-key", "-", "--anthropic-key", "-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the binary runs");
        child.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    };
    assert!(setup("local", "pass word\nsk-anthropic\nsk-openai\n").status.success());
    let secrets = std::fs::read(home.path().join("home/profiles/local/secrets.json")).expect("secrets");
    let secrets: Value = serde_json::from_slice(&secrets).expect("JSON");
    assert_eq!((secrets["anthropic"].as_str(), secrets["openai"].as_str()), (Some("sk-anthropic"), Some("sk-openai")));
    assert_eq!(secrets["database_url"], "postgres://systemprompt:pass%20word@db:5432/systemprompt");
    let short = setup("other", "password\n");
    assert_eq!((short.status.code(), document(&short)["error"]["code"].as_str()), (Some(2), Some("missing_value")));
    assert!(!home.path().join("home/profiles/other").exists());
}

#[test]
fn outside_a_project() {
    let nowhere = tempfile::TempDir::new().expect("a directory");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_systemprompt"))
        .env_clear()
        .current_dir(nowhere.path())
        .args(["--json", "admin", "config", "show"])
        .output()
        .expect("the binary runs");
    assert_eq!((output.status.code(), document(&output)["error"]["code"].as_str()), (Some(3), Some("no_project")));
    assert_eq!(run(nowhere.path(), &["frobnicate"]).status.code(), Some(2));
    assert_eq!(run(nowhere.path(), &["--version"]).status.code(), Some(0));
    for format in ["--json", "--yaml"] {
        let listed = run(nowhere.path(), &[format, "plugins", "list"]);
        assert!(listed.status.success() && !listed.stdout.is_empty(), "{format}");
    }
}
