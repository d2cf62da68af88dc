#!/usr/bin/env python3
"""Measures other gateways beside this one: the same requests, the same mock provider, in alternating rounds of one run.

    python3 crates/bench/beside/run.py [--only litellm|portkey] [options of `cargo xtask bench gateway`]

LiteLLM's proxy and Portkey's gateway are installed from PyPI and npm below `target/bench/beside`, in the versions below, and
started on free ports with the mock as their only provider and without records. Nothing of this is part of the tests.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

LITELLM = "litellm[proxy]==1.106.12"
PORTKEY = {"@portkey-ai/gateway": "1.15.2", "@hono/node-server": "1.13.8"}
MODEL = "bench-model"

ROOT = Path(__file__).resolve().parents[3]
HOME = ROOT / "target" / "bench" / "beside"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(name, command, port, **environment):
    """Starts a gateway and waits until it answers anything at all."""
    log = open(HOME / f"{name}.log", "w")
    process = subprocess.Popen(
        command, stdout=log, stderr=log, cwd=HOME, env={**os.environ, **environment}, start_new_session=True
    )
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
            return process
        except urllib.error.HTTPError:
            return process
        except OSError:
            time.sleep(0.5)
    stop(process)
    sys.exit(f"{name} does not start; see {log.name}")


def stop(process):
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def litellm(mock, workers):
    environment = HOME / "litellm"
    program = environment / "bin" / "litellm"
    if not program.exists():
        venv.create(environment, with_pip=True)
        subprocess.run([environment / "bin" / "pip", "install", "--quiet", LITELLM], check=True)
    config = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"anthropic/{MODEL}",
                    "api_base": f"http://127.0.0.1:{mock}",
                    "api_key": "sk-bench",
                },
            }
        ],
        "litellm_settings": {"telemetry": False, "request_timeout": 60},
        "general_settings": {"master_key": "sk-bench"},
    }
    # JSON is YAML.
    (HOME / "litellm.yaml").write_text(json.dumps(config))
    port = free_port()
    command = [program, "--config", HOME / "litellm.yaml", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", str(workers)]
    process = start("litellm", command, port, LITELLM_LOG="ERROR", LITELLM_LOCAL_MODEL_COST_MAP="True")
    return process, f"litellm=127.0.0.1:{port},sk-bench"


def portkey(mock):
    place = HOME / "portkey"
    program = place / "node_modules" / "@portkey-ai" / "gateway"
    if not program.exists():
        place.mkdir(parents=True, exist_ok=True)
        package = {"private": True, "dependencies": PORTKEY, "overrides": {"@hono/node-server": "$@hono/node-server"}}
        (place / "package.json").write_text(json.dumps(package))
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund"], cwd=place, check=True)
    port = free_port()
    command = ["node", program / "build" / "start-server.js", "--headless", f"--port={port}"]
    process = start("portkey", command, port, TRUSTED_CUSTOM_HOSTS="127.0.0.1")
    headers = f"x-portkey-provider: anthropic;x-portkey-custom-host: http://127.0.0.1:{mock}/v1"
    return process, f"portkey=127.0.0.1:{port};{headers}"


def main():
    arguments = sys.argv[1:]
    only = arguments[1] if arguments[:1] == ["--only"] else None
    arguments = arguments[2:] if only else arguments
    HOME.mkdir(parents=True, exist_ok=True)
    mock = free_port()
    running, beside = [], []
    try:
        for name, begin in [("litellm", lambda: litellm(mock, os.cpu_count())), ("portkey", lambda: portkey(mock))]:
            if only in (None, name):
                process, where = begin()
                running.append(process)
                beside += ["--beside", where]
        command = ["cargo", "xtask", "bench", "gateway", "--mock-port", str(mock), *beside, *arguments]
        return subprocess.run(command, cwd=ROOT).returncode
    finally:
        for process in running:
            stop(process)


if __name__ == "__main__":
    sys.exit(main())
