//! What an alert asks for is there from the start, and at 0: the first failure is then a change.

use systemprompt::testing::TestContext;
use systemprompt_extension::ExtensionContext as _;

#[tokio::test]
async fn what_can_be_counted_is_there_at_0_right_after_the_start() {
    let server = TestContext::builder().start().await;
    let page = server.metrics().encode();
    for line in [
        r#"gateway_requests_total{provider="demo",model="demo-1",status="completed",dialect="anthropic-messages"} 0"#,
        r#"gateway_requests_total{provider="demo",model="demo-1",status="failed",dialect="openai-chat"} 0"#,
        r#"gateway_tokens_total{kind="input",provider="demo",model="demo-1"} 0"#,
        r#"gateway_tokens_total{kind="cache_write",provider="demo",model="demo-1"} 0"#,
        r#"gateway_tokens_total{kind="cache_write_1h",provider="demo",model="demo-1"} 0"#,
        r#"gateway_cost_microdollars_total{provider="demo",model="demo-1"} 0"#,
        r#"gateway_request_duration_seconds_count{provider="demo"} 0"#,
        r#"gateway_upstream_retries_total{provider="demo"} 0"#,
        r#"gateway_denials_total{policy="secret_scan"} 0"#,
        r#"gateway_denials_total{policy="authz_default_deny"} 0"#,
        r#"credentials_refused_total{reason="missing"} 0"#,
        r#"credentials_refused_total{reason="expired"} 0"#,
        r#"credentials_refused_total{reason="banned"} 0"#,
        r#"credentials_refused_total{reason="unavailable"} 0"#,
        r#"http_connections_refused_total{reason="everything"} 0"#,
        r#"ledger_dropped_writes_total{kind="decision"} 0"#,
        r#"http_requests_rate_limited_total{group="address",tier="anon"} 0"#,
        "http_connections_open 0",
        concat!(r#"systemprompt_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
    for class in
        ["connect", "reset", "timeout", "credential", "429", "bad_request", "4xx", "5xx", "malformed", "reported"]
    {
        let line = format!(r#"gateway_upstream_errors_total{{provider="demo",class="{class}"}} 0"#);
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
    for name in [
        "audit_chain_lag_seconds ",
        r#"ledger_queue_entries{kind="decision"} "#,
        r#"ledger_queue_entries{kind="outcome"} "#,
        "process_start_time_seconds ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
        "process_cpu_seconds_total ",
        r#"database_pool_connections{pool="write",state="idle"} "#,
        r#"database_pool_connections{pool="read",state="in_use"} "#,
        r#"database_pool_max_connections{pool="write"} "#,
    ] {
        assert!(page.lines().any(|shown| shown.starts_with(name)), "{name}\n{page}");
    }
}
