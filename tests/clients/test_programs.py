"""Coding assistants, without anybody at the keyboard."""

import json

import pytest
from conftest import COST, USED, WIRES, harness

SAID = "token token token"
WORD = "heron"

QUIET = {
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    "GEMINI_TELEMETRY_ENABLED": "false",
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


class Program:
    """A program: how it is asked, and which of its tools reads a file."""

    def __init__(self, client, family, command, tool=None):
        self.client, self.family, self._command, self._tool = client, family, command, tool

    def model(self, wire):
        return f"{self.family}-on-{wire}"

    def ask(self, user, prompt, *arguments, **options):
        command = [prompt if word is None else word for word in self._command]
        return user.run(*command, *arguments, **QUIET, **options)

    def reads(self, file):
        """What a model says that wants a file read."""
        name, field, text = self._tool
        return {"name": name, "input": {field: text.format(file=file)}}


CLAUDE = Program("claude-code", "claude", ["claude", "-p", None], ("Read", "file_path", "{file}"))
CODEX = Program(
    *("codex", "gpt"),
    # Where it may do everything, it offers a live search of the web too, which not every provider has: it is left out.
    ["codex", "exec", "--skip-git-repo-check", "--json", "-s", "danger-full-access", None],
    ("exec_command", "cmd", "cat {file}"),
)
OPENCODE = Program("opencode", "gpt", ["opencode", "run", None], ("read", "filePath", "{file}"))
GEMINI = Program("gemini-cli", "gemini", ["gemini", "-p", None], ("read_file", "file_path", "{file}"))
AIDER = Program(
    *("aider", "gpt"),
    ["aider", "--message", None, "--yes-always", "--no-git", "--no-show-model-warnings", "--no-check-update"]
    + ["--analytics-disable", "--no-pretty"],
)
PROGRAMS = [CLAUDE, CODEX, OPENCODE, GEMINI, AIDER]


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.client)
def program(request):
    return request.param


@pytest.fixture
def connected(user, mock):
    """Has a program set up for a model."""

    def connect(program, model, *arguments):
        user.connect(program.client, "--write", "--no-verify", "--model", model, *arguments)
        mock.reset()

    return connect


def test_it_is_set_up_answers_and_is_as_before(user, program, mock, ledger):
    report = user.connect(program.client, "--write", "--model", program.model("openai-chat"))
    assert report["verification"]["works"], report
    mock.reset()
    session = ledger()
    assert SAID in program.ask(user, "Say something.")
    session.matches(mock, "openai-chat")
    for file in user.connect(program.client, "--undo")["files"]:
        assert file["outcome"] in ("removed", "restored", "reverted"), file


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("program", [CLAUDE, CODEX, OPENCODE, GEMINI], ids=lambda program: program.client)
def test_it_reads_a_file_with_its_own_tool_and_goes_on(user, connected, program, mock, ledger, wire):
    connected(program, program.model(wire))
    file = user.project / "note.txt"
    file.write_text(f"the word is {WORD}")
    mock.behave(tool_calls=[program.reads(file)], tool_calls_once=True)
    session = ledger()
    assert SAID in program.ask(user, f"What does {file.name} say?")
    assert session.matches(mock, wire) >= 2
    assert WORD in json.dumps([request["body"] for request in mock.requests()]), "what the tool read reached the model"


@pytest.mark.parametrize("wire", WIRES)
def test_aider_writes_a_file(user, connected, mock, ledger, wire):
    connected(AIDER, AIDER.model(wire))
    (user.project / "note.txt").write_text("nothing\n")
    mock.behave(text=f"note.txt\n```\nthe word is {WORD}\n```\n")
    session = ledger()
    AIDER.ask(user, "Write the word down.", "note.txt")
    assert (user.project / "note.txt").read_text() == f"the word is {WORD}\n"
    session.matches(mock, wire)


def test_an_answer_that_breaks_off_is_not_taken_for_one(user, connected, program, mock, ledger):
    connected(program, program.model("openai-chat"))
    mock.fail("close_mid_stream", times=1, after_chunks=2)
    session = ledger()
    said = program.ask(user, "Say something.", may_fail=True)
    first, *others = session.records()
    assert "broke" in first[0], first
    assert int(first[2]) > 0 and int(first[3]) > 0, "what came is charged"
    if others:
        assert SAID in said, "it asked again"
        for status, _, read, written, cost in others:
            assert (status, int(read), int(written), int(cost)) == ("completed", *USED, COST)
    else:
        assert "broke" in said, said


def test_a_refusal_is_one_a_person_understands(user, connected, program, mock):
    connected(program, program.model("openai-chat"))
    said = program.ask(user, f"Why does S3 refuse {harness.FAKE_SECRET}?", may_fail=True)
    assert "secret" in said.lower() or "credential" in said.lower(), said
    assert not mock.requests(), "the secret did not leave"


def test_a_secret_is_kept_from_the_provider_and_the_session_goes_on(user, connected, program, mock):
    token = "ghp_" + "".join("Zk7Qm2Xv9Rt4Wb8Ls3Nc6Hd1Fj5Gp0Ya2Ue7"[:36])
    connected(program, program.model("openai-chat"))
    assert SAID in program.ask(user, f"Why does GitHub refuse {token}?")
    sent = json.dumps([request["body"] for request in mock.requests()])
    assert token not in sent and "SECRET_github" in sent


def test_claude_code_streams_and_counts_what_it_used(user, connected, mock, ledger):
    connected(CLAUDE, "claude-on-anthropic")
    session = ledger()
    stream = ("--output-format", "stream-json", "--verbose", "--include-partial-messages")
    said = CLAUDE.ask(user, "Say something.", *stream)
    events = [json.loads(line) for line in said.splitlines()]
    deltas = [event for event in events if event["type"] == "stream_event" and event["event"]["type"] == "content_block_delta"]
    assert len(deltas) == 8, "every part of the stream by itself"
    result = events[-1]
    assert (result["type"], result["is_error"]) == ("result", False)
    assert (result["usage"]["input_tokens"], result["usage"]["output_tokens"]) == (10, 8)
    session.matches(mock, "anthropic")


def test_claude_code_begins_with_a_model_that_is_here(user, mock, ledger):
    """Its own default is a newer Opus than anybody offers here."""
    user.connect("claude-code", "--write", "--no-verify")
    mock.reset()
    session = ledger()
    assert SAID in CLAUDE.ask(user, "Say something.")
    session.matches(mock, "anthropic")


def test_codex_knows_the_models_of_other_vendors(user, connected, mock):
    connected(CODEX, "claude-on-anthropic")
    listed = {model["slug"]: model for model in json.loads(user.run("codex", "debug", "models"))["models"]}
    assert {"claude-on-anthropic", "gemini-on-gemini"} <= listed.keys()
    assert "gpt-on-anthropic" not in listed, "what its vendor's models can do, it knows better"
    patch = "*** Begin Patch\n*** Add File: word.txt\n+heron\n*** End Patch\n"
    command = f"apply_patch <<'PATCH'\n{patch}PATCH\n"
    mock.behave(tool_calls=[{"name": "exec_command", "input": {"cmd": command}}], tool_calls_once=True)
    said = CODEX.ask(user, "Write the word down.", may_fail=True)
    assert SAID in said and "failed to decode" not in said and "metadata" not in said, said
    assert (user.project / "word.txt").read_text() == "heron\n"
    assert "You are a coding agent" in json.dumps(mock.requests()[0]["body"])


@pytest.mark.parametrize("program", [CLAUDE, CODEX], ids=lambda program: program.client)
def test_the_demo_model_uses_its_tools_too(user, connected, program, ledger):
    connected(program, "demo-1")
    session = ledger()
    (user.project / "note.txt").write_text(f"the word is {WORD}")
    tool = program.reads(user.project / "note.txt")["name"]
    assert "The tool answered" in program.ask(user, f"Use the {tool} tool.")
    records = session.records()
    assert len(records) >= 2 and all(record[0] == "completed" for record in records), records
