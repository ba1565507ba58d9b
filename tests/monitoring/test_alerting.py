"""`driftgate monitor alerts`: a real Prometheus beside a gateway that comes and goes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from monitoring import alerting
from monitoring.alerting import AlertsUnavailable, configuration, prometheus
from tests.gateway.running import ROOT, wait
from tests.installed import installed
from tests.monitoring.alarms import sped_up
from tests.monitoring.scraped import free_port

pytestmark = pytest.mark.services


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"some_metric 1\n")

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def _answering(port: int) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", port), _Metrics)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_alert_fires_while_the_gateway_is_away_and_ends_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("prometheus", "prometheus")
    rules = tmp_path / "rules"
    rules.mkdir()
    for path in (ROOT / "monitoring" / "prometheus" / "rules").glob("*.yml"):
        (rules / path.name).write_text(sped_up(path.read_text(), 30))
    monkeypatch.setattr(alerting, "_RULES", rules)
    gateway, monitor = free_port(), free_port()
    seen: list[tuple[str, str]] = []
    with (
        _answering(monitor),
        prometheus(
            tmp_path / "home", free_port(), f"127.0.0.1:{gateway}", f"127.0.0.1:{monitor}"
        ) as watch,
    ):

        def told(state: str) -> bool:
            began, ended = watch.changes()
            seen.extend(("firing", alert.name) for alert in began)
            seen.extend(("resolved", alert.name) for alert in ended)
            for alert in began:
                assert alert.severity in ("page", "ticket")
                assert alert.summary
                assert alert.runbook.startswith("docs/runbook.md#")
            return (state, "GatewayDown") in seen

        wait(lambda: told("firing"), 60)
        with _answering(gateway):
            wait(lambda: told("resolved"), 60)


def test_every_rule_is_read_and_both_are_scraped() -> None:
    made = configuration({"gateway": "a:1", "monitor": "b:2"})
    assert {Path(path).name for path in made["rule_files"]} == {"serving.yml", "quality.yml"}
    jobs = {each["job_name"]: each["static_configs"] for each in made["scrape_configs"]}
    assert jobs == {"gateway": [{"targets": ["a:1"]}], "monitor": [{"targets": ["b:2"]}]}


def test_without_prometheus_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(AlertsUnavailable, match="apt-get install prometheus"),
        prometheus(tmp_path, free_port(), "a:1", "b:2"),
    ):
        pass


def test_a_taken_port_is_told_with_prometheus_own_words(tmp_path: Path) -> None:
    installed("prometheus", "prometheus")
    port = free_port()
    with (
        _answering(port),
        pytest.raises(AlertsUnavailable, match="did not start"),
        prometheus(tmp_path, port, "a:1", "b:2"),
    ):
        pass


def test_the_command_begins_says_where_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    installed("prometheus", "prometheus")
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "gateway.cli", "monitor", "alerts", "--port", str(port)],
        env=os.environ | {"DRIFTGATE_HOME": str(tmp_path), "COLUMNS": "200"}, cwd=ROOT,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert f"http://127.0.0.1:{port}/alerts" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()
    written = json.loads((tmp_path / "monitoring" / "prometheus" / "prometheus.json").read_text())
    assert len(written["scrape_configs"]) == 2
