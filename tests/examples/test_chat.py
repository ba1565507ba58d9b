"""The example asks a running gateway, and leaves its score."""

from collections.abc import Iterator

import pytest

from examples.chat import main
from gateway.store.feedback import FeedbackLog
from tests.gateway.running import RunningGateway, running_gateway


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("example"), embedder="") as gateway:
        yield gateway


def test_it_asks_and_scores(
    running: RunningGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DRIFTGATE_API_KEY", running.key)
    assert main(["--url", running.url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "What is the capital of France?"  # the stub says what it was asked
    assert lines[1] == "by production-1"
    assert lines[3] == f"streamed: {lines[0]}"
    completion = lines[4].removeprefix("scored ")
    (feedback,) = FeedbackLog(running.database).of(completion)
    assert (feedback.score, feedback.correction) == (1.0, "Paris.")


def test_it_says_what_is_missing(
    running: RunningGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DRIFTGATE_API_KEY", raising=False)
    assert main(["--url", running.url]) == 2
    monkeypatch.setenv("DRIFTGATE_API_KEY", running.key)
    assert main(["--url", running.url, "--model", "nobody"]) == 1
    said = capsys.readouterr().err
    assert "make serve" in said
    assert "`nobody` does not exist" in said
