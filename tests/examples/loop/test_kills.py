import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from examples.loop import kills
from examples.loop.kills import Kill, Killer, parts

_SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def recorder() -> Iterator["subprocess.Popen[bytes]"]:
    """A process with the words of the recorder in its command line."""
    process = subprocess.Popen([sys.executable, "-c", _SLEEP, "gateway.recorder"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "_LEAST_S", 0.01)
    monkeypatch.setattr(kills, "_MOST_S", 0.02)


def test_a_part_is_known_by_what_it_was_started_as(
    recorder: "subprocess.Popen[bytes]",
) -> None:
    other = subprocess.Popen([sys.executable, "-c", _SLEEP])
    try:
        found = parts()
        assert [process.pid for process in found["the recorder"]] == [recorder.pid]
        assert other.pid not in {each.pid for every in found.values() for each in every}
    finally:
        other.kill()
        other.wait()


def test_it_kills_as_often_as_it_was_told(recorder: "subprocess.Popen[bytes]") -> None:
    told: list[Kill] = []
    killer = Killer(1, 7, told.append)
    killer.start()
    killer.join(20)
    assert [kill.part for kill in told] == ["the recorder"]
    assert recorder.wait(10) == -signal.SIGKILL
    killer.stop()


def test_it_kills_nothing_while_it_is_held(recorder: "subprocess.Popen[bytes]") -> None:
    killer = Killer(1, 7, lambda _: None)
    with killer.held():
        killer.start()
        with pytest.raises(subprocess.TimeoutExpired):
            recorder.wait(0.3)
    assert recorder.wait(10) == -signal.SIGKILL
    killer.stop()
