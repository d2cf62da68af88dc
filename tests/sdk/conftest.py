"""A gateway in front of a mock provider, as the real programs on free loopback ports.

The programs are built by `cargo xtask test`, which names them in SYSTEMPROMPT_BIN and MOCK_UPSTREAM_BIN.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import anyio
import pytest

ROOT = Path(__file__).resolve().parents[2]
SYSTEMPROMPT = os.environ.get("SYSTEMPROMPT_BIN", ROOT / "target/debug/systemprompt")
MOCK_UPSTREAM = os.environ.get("MOCK_UPSTREAM_BIN", ROOT / "target/debug/systemprompt-mock-upstream")

# Nothing in these tests takes longer unless it hangs.
PATIENCE = 60

# So many requests of one conversation, in a window no run of the tests outlasts.
RATE_LIMIT = 25

# Names a conversation, under which the ledger's records can be found without knowing a request id.
CONVERSATION = "x-gateway-conversation-id"

# The documentation's example of a key. In pieces, so that no scanner takes this file for a leak.
FAKE_SECRET = "".join(["AKIA", "IOSFODNN7", "EXAMPLQ"])

# What providers may speak, each with a model that can do whatever its vendor's can.
MODELS_OF_VENDORS = {
    "anthropic": "claude-sonnet-5",
    "openai-chat": "gpt-5.4",
    "openai-responses": "gpt-5.4",
    "gemini": "gemini-3.5-flash",
}
WIRES = list(MODELS_OF_VENDORS)

# A PNG image of one pixel.
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Mock:
    """The mock provider: told what to do, asked what it saw."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def behave(self, **behaviour):
        """How it answers from now on; the fields are those of `Behaviour` in crates/mock-upstream."""
        self._send("PUT", "/__mock/behaviour", behaviour)

    def fail(self, kind, times=None, behaviour=(), **details):
        """What goes wrong from now on, or for the next `times` requests."""
        self.behave(fault={"kind": kind, **details}, fault_times=times, **dict(behaviour))

    def requests(self):
        """The requests it received, oldest first, their bodies as JSON and their headers as a dictionary."""
        received = self._send("GET", "/__mock/requests")["requests"]
        return [
            {"path": request["path"], "headers": dict(request["headers"]), "body": json.loads(request["body"])}
            for request in received
        ]

    def statistics(self):
        return self._send("GET", "/__mock/statistics")

    def reset(self):
        self._send("DELETE", "/__mock/behaviour")
        self._send("DELETE", "/__mock/requests")

    def is_idle(self):
        return self.statistics()["open_answers"] == 0

    def _send(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")


class Gateway:
    """A running gateway and the commands of its operator."""

    def __init__(self, command, log):
        self._command = command
        self._log = log
        self._logged = 0

    def ready(self, document):
        assert "url" in document, json.dumps(document)
        self.url, self.key = document["url"], document["api_key"]

    def cli(self, *arguments):
        """Runs a command of the product and gives its JSON document."""
        ended = subprocess.run(
            [*self._command, "--json", *arguments], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE
        )
        assert ended.returncode == 0, f"{arguments}: {ended.stdout.decode()}{ended.stderr.decode()}"
        return json.loads(ended.stdout)

    def record(self, request_id):
        """The ledger's record of a request, once its outcome is written."""
        assert request_id, "the SDK found no request id"

        def look():
            found = self.cli("infra", "logs", "request", "show", request_id, "--messages", "--tools")
            return found if found["status"] != "pending" else None

        record = eventually(look, "the request has no outcome")
        assert record["request_id"] == request_id
        return record

    def records(self, conversation, count):
        """The records of all requests of a conversation the client named, oldest first; there are to be `count`."""
        query = f"SELECT id::text FROM ai_requests WHERE gateway_conversation_id = '{conversation}' ORDER BY id"

        def look():
            rows = self.cli("infra", "db", "query", query)["rows"]
            assert len(rows) <= count, f"{len(rows)} instead of {count} requests"
            return rows if len(rows) == count else None

        return [self.record(row[0]) for row in eventually(look, f"there are no {count} requests of {conversation}")]

    def new_log(self):
        """What it logged since the last call."""
        text = self._log.read_text(errors="replace")
        new, self._logged = text[self._logged :], len(text)
        return new


def eventually(look, otherwise):
    """The first true value `look` gives."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while True:
        if found := look():
            return found
        assert time.monotonic() < deadline, otherwise
        pause.wait(0.02)


async def cancel(call, mock):
    """Cancels a call as soon as the provider has it."""
    task = asyncio.create_task(call)
    with anyio.fail_after(PATIENCE):
        while mock.is_idle():
            await anyio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def pytest_configure():
    # A run that is terminated stops what it started, as one that is interrupted does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory):
    """Nothing of the developer's reaches the SDKs or the programs: no key, no proxy, no database, no home."""
    kept = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(tmp_path_factory.mktemp("user"))}
    if "SYSTEMPROMPT_PG_BIN" in os.environ:
        kept["SYSTEMPROMPT_PG_BIN"] = os.environ["SYSTEMPROMPT_PG_BIN"]
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(kept, NO_COLOR="1")
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def only_loopback():
    """A client that is pointed anywhere else by mistake must not get there."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and not ipaddress.ip_address(address[0]).is_loopback:
            raise PermissionError(f"a test tried to reach {address[0]}")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded)
        yield


@contextlib.contextmanager
def process(command, log):
    """A running program; stopped at the end, whatever happened."""
    with log.open("ab") as errors:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
    try:
        yield program
    finally:
        program.terminate()
        try:
            program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        program.stdout.close()


def first_line(program, log):
    line = program.stdout.readline()
    assert line, f"{program.args[0]} ended before it was ready:\n{log.read_text(errors='replace')}"
    return json.loads(line)


@pytest.fixture(scope="session")
def mock_process(environment, tmp_path_factory):
    log = tmp_path_factory.mktemp("mock") / "log"
    with process([MOCK_UPSTREAM], log) as program:
        yield Mock(first_line(program, log))


@pytest.fixture(scope="session")
def gateway(environment, mock_process, tmp_path_factory):
    directory = tmp_path_factory.mktemp("gateway")
    home = directory / "home"
    command = [SYSTEMPROMPT, "--home", home]
    gateway = Gateway(command, directory / "log")
    gateway.cli(
        *("admin", "setup", "--environment", "local"),
        *("--anthropic-key", "sk-upstream-anthropic", "--openai-key", "sk-upstream-openai"),
    )
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # Bound but not listening: who connects is refused.
        configure(home, mock_process.url, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        try:
            with process([*command, "up", "--json", "--port", "0"], directory / "log") as program:
                gateway.ready(first_line(program, directory / "log"))
                yield gateway
        finally:
            # The database of a server that had to be killed would outlive the tests.
            subprocess.run([*command, "infra", "services", "stop"], stdin=subprocess.DEVNULL, capture_output=True)
            # As root it lies outside the home.
            place = home / "postgres/location"
            if place.exists():
                shutil.rmtree(place.read_text().strip(), ignore_errors=True)


def configure(home, mock, nobody):
    """Points the profile at the mock. JSON is YAML, so no library is needed to write it."""
    hasty = {"first_byte_timeout_ms": 300, "stream_idle_timeout_ms": 300, "request_timeout_ms": 1000}

    def provider(name, wire, endpoint=mock, price=(3, 15), resilience=None, **model):
        family = "anthropic" if wire == "anthropic" else "openai"
        pricing = {"input_per_million": price[0], "output_per_million": price[1]}
        return {
            "name": name,
            "wire": wire,
            "surface": family,
            "endpoint": f"{endpoint}/v1",
            "api_key_secret": family,
            "models": [{"pricing": pricing, **model}],
            **({"resilience": resilience} if resilience else {}),
        }

    def of_wire(name, wire, **resilience):
        model = {
            "id": f"{name}-{wire}",
            # Google's library embeds otherwise with a model that has `gemini` in its name.
            "aliases": [f"{name}-google"] if wire == "gemini" else [],
            "upstream_model": MODELS_OF_VENDORS[wire],
            "pricing": {"input_per_million": 3, "output_per_million": 15},
            "limits": {"max_output_tokens": 1000},
        }
        return {
            "name": f"{name}-{wire}",
            "wire": wire,
            "surface": wire.partition("-")[0],
            "endpoint": f"{mock}/v1beta" if wire == "gemini" else f"{mock}/v1",
            "api_key_secret": "anthropic" if wire == "anthropic" else "openai",
            "models": [model],
            "resilience": resilience,
        }

    providers = [
        provider(
            "mock-anthropic",
            "anthropic",
            id="claude-test",
            aliases=["claude-alias"],
            upstream_model="claude-upstream",
            limits={"max_output_tokens": 1000},
        ),
        provider("mock-openai", "openai-chat", id="gpt-test", price=(1, 2)),
        provider("hasty-anthropic", "anthropic", id="claude-hasty", resilience=hasty),
        provider("hasty-openai", "openai-chat", id="gpt-hasty", resilience=hasty),
        provider("gone-anthropic", "anthropic", endpoint=nobody, id="claude-gone"),
        provider("gone-openai", "openai-chat", endpoint=nobody, id="gpt-gone"),
        provider("barred-anthropic", "anthropic", id="claude-barred"),
        provider("barred-openai", "openai-chat", id="gpt-barred"),
        {"name": "demo", "wire": "demo", "surface": "anthropic"},
    ]
    for wire in WIRES:
        providers += [
            of_wire("on", wire),
            of_wire("impatient", wire, **hasty),
            of_wire("retried", wire, retry_attempts=1),
            of_wire("patient", wire, head_patience_ms=50),
        ]
    profile = home / "profiles/local/profile.yaml"
    text = profile.read_text()
    for key, value in {"providers": providers, "gateway": {"enabled": True, "resilience": {"retry_attempts": 0, "breaker_failure_threshold": 0}}}.items():
        text, replaced = re.subn(rf"(?m)^{key}:.*\n(?:[ -].*\n|\n)*", f"{key}: {json.dumps(value)}\n\n", text)
        assert replaced == 1, f"the profile has no {key}"
    profile.write_text(text)

    # One user makes all requests of a run; only sessions are to meet their limit.
    rates = {"requests_per_window": RATE_LIMIT, "requests_per_user_window": 100_000, "window_secs": 86400}
    policies = [{"id": "secret_scan", "deny": ["aws-access-key"]}, {"id": "rate_limit", **rates}]
    (home / "services/governance/config.yaml").write_text(json.dumps({"governance": {"policies": policies}}))
    rules = [
        {"entity_type": "gateway_route", "entity_id": f"barred-{family}", "access": "deny", "roles": ["guest"]}
        for family in ("anthropic", "openai")
    ]
    (home / "services/access-control/guests.yaml").write_text(json.dumps({"rules": rules, "roles": [{"name": "guest"}]}))


@pytest.fixture(scope="session")
def guest_key(gateway):
    """The key of somebody who may use less."""
    gateway.cli("admin", "users", "create", "--name", "eve", "--email", "eve@example.com", "--roles", "guest")
    return gateway.cli("admin", "users", "api-key", "issue", "eve")["api_key"]


@pytest.fixture
def mock(mock_process):
    """The mock as new. At the end of the test nobody waits for an answer of it any more."""
    mock_process.reset()
    yield mock_process
    eventually(mock_process.is_idle, "an answer of the provider was neither read nor cancelled")


@pytest.fixture
def prompt(request):
    """A prompt of the test's own, and with it a conversation, a session and a rate limit of its own."""
    return re.sub(r"[\W_]+", " ", f"Hello from {request.node.name} of {request.module.__name__}")


@pytest.fixture
def pauses(monkeypatch):
    """How long the SDK pauses between its attempts, in seconds. It does not really."""
    seconds = []

    async def pause(duration):
        seconds.append(duration)

    monkeypatch.setattr(time, "sleep", seconds.append)
    monkeypatch.setattr(anyio, "sleep", pause)
    return seconds


@pytest.fixture(scope="session")
def anyio_backend():
    return "asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Shows what the gateway logged beside a failure."""
    gateway = item.funcargs.get("gateway")
    try:
        return (yield)
    finally:
        if gateway is not None:
            item.add_report_section("call", "gateway log", gateway.new_log())
