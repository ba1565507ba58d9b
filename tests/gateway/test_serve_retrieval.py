"""`driftgate serve` has retrieval: documents added by command are found, and metrics tell of it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.running import ROOT, wait

_DRIFTGATE = [sys.executable, "-m", "gateway.cli"]


@pytest.mark.slow
def test_documents_are_indexed_and_found_beside_a_running_gateway(
    tmp_path: Path, minilm: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "DRIFTGATE_HOME": str(tmp_path / "home"),
        "DRIFTGATE_MODELS_DIR": str(minilm.parent),
        "DRIFTGATE_PORT": str(port),
        "DRIFTGATE_MONITOR": "false",
    }

    def index(*arguments: str) -> Any:
        command = [*_DRIFTGATE, "index", *arguments, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    document = tmp_path / "opening.md"
    document.write_text("# Opening hours\n\nThe library opens at nine in the morning.\n")
    output = tmp_path / "out"
    with output.open("wb") as opened:
        process = subprocess.Popen(
            [*_DRIFTGATE, "serve", "--engine", "echo"],
            cwd=ROOT, env=environment, stdout=opened, stderr=opened,
        )  # fmt: skip
    try:
        wait(lambda: process.poll() is not None or "Ctrl-C" in output.read_text(), 120)
        added = index("add", str(document), "--store", "hours")
        assert [file["state"] for file in added["files"]] == ["added"]
        found = index("search", "when can I come and read books", "--store", "hours")
        assert found["hits"][0]["title"] == "Opening hours"
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        assert "driftgate_retrieval_service_up 1.0" in metrics
        assert f'driftgate_retrieval_documents{{collection="{added["store"]}"}} 1.0' in metrics
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, output.read_text()
