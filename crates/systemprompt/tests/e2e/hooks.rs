//! Hooks as a coding client runs them: `connect --hooks` writes its settings, and the command in them asks the server.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Instance, command};

/// Runs what the settings have for an event, as Claude Code does: by a shell, with the event on standard input.
fn run(instance: &Instance, settings: &Value, event: &Value) -> Output {
    let name = event["hook_event_name"].as_str().expect("an event");
    let line = settings["hooks"][name][0]["hooks"][0]["command"].as_str().expect("a command");
    let home = instance.home.path();
    let mut child = std::process::Command::new("sh")
        .args(["-c", line])
        .env("HOME", home)
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    child.stdin.take().expect("a pipe").write_all(event.to_string().as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_asks_before_it_uses_a_tool_and_stops_without_an_answer() {
    let instance = Instance::start().await;
    let file = instance.home.path().join(".claude/settings.json");
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    let mine =
        "{\n  // mine\n  \"hooks\": {\"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"beep\"}]}]}\n}\n";
    std::fs::write(&file, mine).expect("written");
    let connect = |arguments: &[&str]| {
        let output = command(instance.home.path()).args(["connect", "claude-code"]).args(arguments).output();
        let output = output.expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = connect(&["--hooks", "--write", "--yes", "--no-verify"]);
    let text = std::fs::read_to_string(&file).expect("settings");
    assert!(!said.contains("sp-live-") && !text.contains("sp-live-"), "the key is shown nowhere");
    assert!(text.contains("// mine"), "{text}");
    let settings: Value = serde_json::from_str(&text.replace("// mine", "")).expect("JSON");
    assert_eq!(settings["hooks"]["Stop"].as_array().map(Vec::len), Some(2), "{settings}");

    let tool = |command: &str| {
        json!({"hook_event_name": "PreToolUse", "session_id": "s", "tool_name": "Bash",
            "tool_input": {"command": command}, "tool_use_id": command})
    };
    let allowed = run(&instance, &settings, &tool("ls"));
    assert_eq!((allowed.status.code(), allowed.stdout.len()), (Some(0), 0), "{allowed:?}");
    let denied = run(&instance, &settings, &tool(concat!("export KEY=AKIA", "IOSFODNN7EXAMPLQ")));
    let answer: Value = serde_json::from_slice(&denied.stdout).expect("JSON");
    assert_eq!((denied.status.code(), &answer["hookSpecificOutput"]["permissionDecision"]), (Some(0), &json!("deny")));
    let started = json!({"hook_event_name": "SessionStart", "session_id": "s", "source": "startup"});
    let reported = run(&instance, &settings, &started);
    assert_eq!((reported.status.code(), reported.stdout.len(), reported.stderr.len()), (Some(0), 0, 0), "{reported:?}");
    let recorded =
        instance.cli(&["infra", "db", "query", "SELECT event, decision FROM hook_events ORDER BY created_at"]);
    assert_eq!(recorded["rows"].as_array().map(Vec::len), Some(3), "{recorded}");

    // Nobody is there: the tool is not used, and the report is lost.
    let nowhere: Value =
        serde_json::from_str(&settings.to_string().replace("--url http://", "--url http://127.0.0.1:1/"))
            .expect("JSON");
    let unanswered = run(&instance, &nowhere, &tool("ls"));
    assert_eq!(unanswered.status.code(), Some(2), "{unanswered:?}");
    assert!(!unanswered.stderr.is_empty(), "the client is told why");
    assert_eq!(run(&instance, &nowhere, &started).status.code(), Some(0));

    connect(&["--undo", "--yes"]);
    assert_eq!(std::fs::read_to_string(&file).expect("settings"), mine, "to the byte");
}
