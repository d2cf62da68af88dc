"""Coding assistants, without anybody at the keyboard."""

import json

import pytest
from conftest import harness

SAID = "token token token"

QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


def claude(user, prompt, *arguments, **options):
    return user.run("claude", "-p", prompt, *arguments, **QUIET, **options)


def codex(user, prompt, **options):
    return user.run("codex", "exec", "--skip-git-repo-check", "--json", prompt, **QUIET, **options)


def opencode(user, prompt, **options):
    return user.run("opencode", "run", prompt, **QUIET, **options)


def aider(user, prompt, **options):
    quiet = ("--no-git", "--no-show-model-warnings", "--no-check-update", "--analytics-disable", "--no-pretty")
    return user.run("aider", "--message", prompt, "--yes-always", *quiet, **QUIET, **options)


PROGRAMS = {
    "claude-code": (claude, {"anthropic": "claude-sonnet-5", "openai-chat": "claude-on-chat"}),
    "codex": (codex, {"anthropic": "gpt-on-messages", "openai-chat": "gpt-test"}),
    "opencode": (opencode, {"anthropic": "gpt-on-messages", "openai-chat": "gpt-test"}),
    "aider": (aider, {"anthropic": "gpt-on-messages", "openai-chat": "gpt-test"}),
}


@pytest.mark.parametrize("wire", ["anthropic", "openai-chat"])
@pytest.mark.parametrize("client", PROGRAMS)
def test_an_answer_arrives_and_the_ledger_has_what_the_provider_said(user, mock, ledger, client, wire):
    program, models = PROGRAMS[client]
    report = user.connect(client, "--write", "--model", models[wire])
    assert report["verification"]["works"], report
    mock.reset()
    session = ledger()
    assert SAID in program(user, "Say something.")
    session.matches(mock, wire)
    for file in user.connect(client, "--undo")["files"]:
        assert file["outcome"] in ("removed", "restored", "reverted"), file


def test_claude_code_streams_and_counts_what_it_used(user, mock, ledger):
    user.connect("claude-code", "--write", "--no-verify", "--model", "claude-sonnet-5")
    mock.reset()
    session = ledger()
    said = claude(user, "Say something.", "--output-format", "stream-json", "--verbose", "--include-partial-messages")
    events = [json.loads(line) for line in said.splitlines()]
    deltas = [event for event in events if event["type"] == "stream_event" and event["event"]["type"] == "content_block_delta"]
    assert len(deltas) == 8, "every part of the stream by itself"
    result = events[-1]
    assert (result["type"], result["is_error"]) == ("result", False)
    assert (result["usage"]["input_tokens"], result["usage"]["output_tokens"]) == (10, 8)
    session.matches(mock, "anthropic")


def test_claude_code_uses_a_tool_and_goes_on(user, ledger):
    user.connect("claude-code", "--write", "--no-verify", "--model", "demo-1")
    session = ledger()
    (user.project / "note.txt").write_text("the word is heron")
    said = claude(
        user,
        "Use the Read tool on note.txt.",
        *("--output-format", "stream-json", "--verbose", "--allowedTools", "Read"),
    )
    events = [json.loads(line) for line in said.splitlines()]
    blocks = [block["type"] for event in events if event["type"] in ("assistant", "user") for block in event["message"]["content"]]
    assert "tool_use" in blocks and "tool_result" in blocks, blocks
    assert not events[-1]["is_error"], events[-1]
    records = session.records()
    assert len(records) >= 2 and all(record[0] == "completed" for record in records), records


@pytest.mark.parametrize("client, prompt", [("codex", "Use the exec_command tool."), ("opencode", "Use the bash tool.")])
def test_a_tool_is_used_and_its_result_goes_back(user, ledger, client, prompt):
    user.connect(client, "--write", "--model", "demo-1")
    session = ledger()
    # What the demo model has the tool say, and says of it afterwards.
    assert "The tool answered" in PROGRAMS[client][0](user, prompt)
    records = session.records()
    assert len(records) >= 2 and all(record[0] == "completed" for record in records), records


@pytest.mark.parametrize("client", ["claude-code", "codex"])
def test_a_refusal_is_one_a_person_understands(user, mock, client):
    program, models = PROGRAMS[client]
    user.connect(client, "--write", "--no-verify", "--model", models["openai-chat"])
    mock.reset()
    said = program(user, f"Why does S3 refuse {harness.FAKE_SECRET}?", may_fail=True)
    assert "secret" in said.lower() or "credential" in said.lower(), said
    assert not mock.requests(), "the secret did not leave"
