"""A real Prometheus scrapes the gateway and answers for its metrics."""

import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.gateway.running import RunningGateway, wait
from tests.installed import installed

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def binaries() -> tuple[str, str]:
    return installed("prometheus", "prometheus"), installed("promtool", "prometheus")


def test_promtool_accepts_the_exposition(
    gateway: RunningGateway, binaries: tuple[str, str]
) -> None:
    gateway.post(stream=True)
    text = httpx.get(f"{gateway.url}/metrics").text
    done = subprocess.run(
        [binaries[1], "check", "metrics"], input=text, capture_output=True, text=True
    )
    assert done.returncode in (0, 3), done.stderr  # 3: it was parsed, and lint has remarks
    remarks = done.stdout + done.stderr
    assert "error while linting" not in remarks, remarks


def test_prometheus_scrapes_and_answers(
    gateway: RunningGateway, binaries: tuple[str, str], tmp_path: Path
) -> None:
    gateway.post(stream=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target = gateway.url.removeprefix("http://")
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: driftgate, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    command = [
        binaries[0],
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def value(query: str) -> float | None:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query})
            result = answer.json()["data"]["result"]
        except (httpx.TransportError, ValueError, KeyError):
            return None
        return float(result[0]["value"][1]) if result else None

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait(lambda: value('up{job="driftgate"}') == 1, 30)
        counted = 'sum(gen_ai_server_request_duration_seconds_count{error_type=""})'
        wait(lambda: (value(counted) or 0) >= 1)
        quantile = (
            "histogram_quantile(0.5, sum by (le) "
            "(gen_ai_server_time_to_first_token_seconds_bucket))"
        )
        first_token = value(quantile)
        assert first_token is not None
        assert 0 < first_token < 5
        assert value('driftgate_engine_state{slot="production-1", state="ready"}') == 1
        assert value("driftgate_store_up") == 1
    finally:
        process.terminate()
        process.wait(20)
