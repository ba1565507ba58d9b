"""Wrong input on the command line is named."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("command", ["gateway", "serve"])
def test_a_ledger_that_is_none_is_named_once(command: str, tmp_path: Path) -> None:
    done = _run(command, DRIFTGATE_HOME=str(tmp_path), DRIFTGATE_LEDGER_URL="foo://x")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("DRIFTGATE_LEDGER_URL='foo://x': ")


def test_a_ledger_url_that_redis_does_not_understand_is_named_once(tmp_path: Path) -> None:
    done = _run("gateway", DRIFTGATE_HOME=str(tmp_path), DRIFTGATE_LEDGER_URL="redis://host:port")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the ledger's URL" in line


def test_serve_names_an_address_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = _run("serve", DRIFTGATE_HOME=str(tmp_path), DRIFTGATE_PORT=port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be served: Address already in use" in done.stdout
    assert not (tmp_path / "driftgate.db").exists()
