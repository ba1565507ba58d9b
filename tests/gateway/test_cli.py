"""Wrong input on the command line is named."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.gateway.running import ROOT


def _run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway.cli", *arguments]
    environment = os.environ | variables
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


def test_a_setting_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    home = str(tmp_path)
    done = _run("keys", "list", DRIFTGATE_HOME=home, DRIFTGATE_PORT="http", DRIFTGATE_WORKERS="0")
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("DRIFTGATE_PORT='http': ")
    assert second.startswith("DRIFTGATE_WORKERS='0': ")


def test_serve_names_an_address_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _run("serve", DRIFTGATE_HOME=str(tmp_path), DRIFTGATE_PORT=port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be served: Address already in use" in done.stdout
    assert not (tmp_path / "driftgate.db").exists()
