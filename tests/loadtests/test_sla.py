"""A load test as a user runs it, against a running gateway: kept, broken, and not possible."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.store.keys import Keys
from loadtests.sla.__main__ import main
from tests.gateway.running import RunningGateway, running_gateway

pytestmark = pytest.mark.slow
_SLA = """\
scenarios:
  chat:
    says: Some chat
    user: ChatUser
    shape: spike
    users: 4
    seconds: 3
    limits:
      ttft_ms: {{p50: {limit}, p99: 20000}}
      total_ms: {{p95: 20000}}
      error_rate: 0.0
  tenants:
    says: Some are within their limits
    user: TenantUser
    shape: steady
    users: 3
    seconds: 6
    limits:
      total_ms: {{p95: 20000}}
      error_rate: 0.0
      refused_least: 1
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("load"), embedder="") as running:
        yield running


@pytest.fixture
def load(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Runs `python -m loadtests.sla` with a limit for the first token; returns its status."""
    monkeypatch.setenv("DRIFTGATE_HOME", str(gateway.home))
    monkeypatch.setenv("DRIFTGATE_API_KEY", gateway.key)
    monkeypatch.setenv("COLUMNS", "120")

    def run(limit: float, *arguments: str) -> int:
        (tmp_path / "sla.yaml").write_text(_SLA.format(limit=limit))
        options = ["--url", gateway.url, "--sla", str(tmp_path / "sla.yaml")]
        return main([*options, "--out", str(tmp_path), *arguments])

    return run


def test_an_sla_that_is_kept(
    gateway: RunningGateway,
    load: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, said = load(20000), capsys.readouterr()
    assert status == 0, said
    assert "The SLA is kept." in said.out
    report = json.loads((tmp_path / "report.json").read_text())
    chat, tenants = report["scenarios"]
    assert report["kept"] is True
    assert chat["requests"]["chat stream"]["answered"] > 0
    assert chat["percentiles_ms"].keys() == {"ttft_ms", "inter_token_ms", "total_ms"}
    assert tenants["requests"]["tenant small"]["refused"] >= 1
    assert tenants["requests"]["tenant large"]["refused"] == 0
    # Locust's own table has our metrics beside its own.
    assert "chat stream TTFT" in (tmp_path / "chat.log").read_text()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "<script" not in page
    # The keys of tenants ended with the run.
    tenants_keys = [k for k in Keys(gateway.database).all() if "tenant" in k.name]
    assert len(tenants_keys) == 3
    assert all(key.revoked_at is not None for key in tenants_keys)
    assert not (tmp_path / "tenants.json").exists()


def test_an_sla_that_is_broken_ends_with_1(
    load: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = load(0.001, "chat", "--seconds", "2"), capsys.readouterr()
    assert status == 1, said
    assert "The SLA is broken by chat." in said.out
    (line,) = [line for line in said.out.splitlines() if "BROKEN" in line]
    assert "time to first token p50" in line
    report = json.loads((tmp_path / "report.json").read_text())
    broken = [c["figure"] for c in report["scenarios"][0]["checks"] if not c["kept"]]
    assert broken == ["time to first token p50"]


def test_what_cannot_be_tried_says_what_to_do(
    load: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load(1, "--url", "http://127.0.0.1:9") == 2
    assert "make serve" in capsys.readouterr().err
    assert load(1, "nothing") == 2
    assert "has no scenario `nothing`" in capsys.readouterr().err
    monkeypatch.setenv("DRIFTGATE_API_KEY", "dg-wrongkey0")
    assert load(1, "chat") == 2
    assert "refuses the key" in capsys.readouterr().err
