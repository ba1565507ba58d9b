"""`driftgate serve` with the stub engine: from an empty folder to a curl line that works."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gateway.first_key import first_key
from gateway.store.database import Database
from gateway.store.keys import Keys
from tests.gateway.running import ROOT, wait


@pytest.mark.slow
def test_serve_prints_a_curl_line_that_works_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "DRIFTGATE_HOME": str(tmp_path / "home"),
        "DRIFTGATE_PORT": str(port),
        "DRIFTGATE_EMBEDDER": "",
    }
    command = [sys.executable, "-m", "gateway.cli", "serve", "--engine", "echo"]
    keys = []
    for _ in range(2):  # the second run finds everything there
        output = tmp_path / "out"
        with output.open("wb") as opened:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=opened, stderr=opened
            )
        try:
            wait(lambda o=output: "Ctrl-C" in o.read_text(), 60)  # type: ignore[misc]
            printed = output.read_text()
            found = re.search(r"^curl (?:.*\\\n)*.*$", printed, re.MULTILINE)
            assert found is not None
            done = subprocess.run(
                ["bash", "-c", found[0]], capture_output=True, text=True, timeout=20
            )
            assert "What is the capital of France?" in done.stdout, done.stderr
            keys += re.findall(r"API key: (\S+)", printed)
            below = psutil.Process(process.pid).children(recursive=True)
            assert len(below) >= 4  # two guards, the gateway, its worker, the engine
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not any(child.is_running() for child in below)
    assert len(set(keys)) == 1
    assert (tmp_path / "home" / "serve.key").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.migrate()
    return Keys(database)


def test_the_first_key_is_made_once_and_only_where_there_is_none(
    tmp_path: Path, keys: Keys
) -> None:
    made = first_key(tmp_path, keys)
    assert made is not None
    assert first_key(tmp_path, keys) == made
    assert len(keys.all()) == 1
    (tmp_path / "serve.key").unlink()
    assert first_key(tmp_path, keys) is None  # it cannot be known any more


def test_a_revoked_first_key_is_not_printed_again(tmp_path: Path, keys: Keys) -> None:
    made = first_key(tmp_path, keys)
    keys.create("another", ["inference"])
    keys.revoke(keys.all()[0].prefix)
    assert first_key(tmp_path, keys) is None
    assert made is not None
    assert not (tmp_path / "serve.key").exists()
