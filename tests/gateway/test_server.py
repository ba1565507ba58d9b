"""Workers: metrics that add up, a dead one replaced, no open binding without a key."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.store.database import Database
from gateway.store.keys import Keys
from tests.gateway.running import ROOT, running_gateway, wait


def _metric(url: str, name: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@pytest.mark.slow
def test_metrics_add_up_over_workers_and_outlive_them(tmp_path: Path) -> None:
    with running_gateway(tmp_path, workers="2", embedder="") as gateway:
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: gateway.post().status_code, range(100)))
        assert statuses == [200] * 100
        count = "gen_ai_server_request_duration_seconds_count"
        wait(lambda: _metric(gateway.url, count) == 100)
        wait(lambda: _metric(gateway.url, "gen_ai_client_token_usage_sum{") == 600)
        wait(lambda: _metric(gateway.url, "driftgate_records_written_total") == 100)
        wait(lambda: _metric(gateway.url, "driftgate_requests_in_flight") == 0)
        assert _metric(gateway.url, "driftgate_store_up") == 1
        workers = [
            process
            for process in psutil.process_iter()
            if "gateway.worker" in _command(process)
            and process.parent() is not None
            and str(tmp_path) in process.environ().get("DRIFTGATE_HOME", "")
        ]
        assert len(workers) == 2
        workers[0].send_signal(signal.SIGKILL)
        wait(lambda: all(gateway.post().status_code == 200 for _ in range(5)))
        wait(lambda: _metric(gateway.url, count) >= 105)


@pytest.mark.services
def test_a_gateway_over_postgresql(tmp_path: Path, postgres_url: str) -> None:
    with running_gateway(tmp_path, database_url=postgres_url, embedder="") as gateway:
        answer = gateway.post(metadata={"on": "postgresql"}, stop=["\x00"])
        assert answer.status_code == 200
        assert gateway.record(answer.json()["id"]).outcome == "done"
        with gateway.client() as client:
            listed = client.get("/v1/chat/completions?metadata[on]=postgresql").json()
            assert [item["id"] for item in listed["data"]] == [answer.json()["id"]]
            body = {"completion_id": answer.json()["id"], "label": "good"}
            assert client.post("/v1/feedback", json=body).status_code == 201


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.mark.slow
def test_without_a_key_only_loopback_is_bound(tmp_path: Path) -> None:
    environment = os.environ | {
        "DRIFTGATE_HOME": str(tmp_path), "DRIFTGATE_HOST": "0.0.0.0", "DRIFTGATE_PORT": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "gateway.cli", "gateway"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert "driftgate keys create" in done.stderr
    database = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    Keys(database).create("now there is one", ["inference"])
    database.close()
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    wait(lambda: bool(psutil.Process(process.pid).children()), 30)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.terminate()
    assert process.wait(20) == 0


@pytest.mark.slow
def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with running_gateway(tmp_path, embedder="") as gateway:
        environment = os.environ | {
            "DRIFTGATE_HOME": str(tmp_path),
            "DRIFTGATE_PORT": gateway.url.rpartition(":")[2],
        }
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "gateway"],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    assert done.returncode == 2
    assert "Address already in use" in done.stderr
