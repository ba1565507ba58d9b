import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from examples.loop import kills
from examples.loop.kills import Kill, Killer, parts
from tests.gateway.running import ROOT, wait

# A parent with two children, one of them with the words of the recorder in its command line.
_PARENT = """
import subprocess, sys
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
children = [subprocess.Popen([*sleep, *more]) for more in (["gateway.recorder"], [])]
print(*(child.pid for child in children), flush=True)
sys.stdin.read()
for child in children:
    child.kill()
    child.wait()
"""


@dataclass(frozen=True)
class Family:
    """What the killer is let loose on: nothing else of the tests' may die."""

    root: int
    recorder: psutil.Process
    other: psutil.Process


@pytest.fixture
def family() -> Iterator[Family]:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        recorder, other = map(psutil.Process, map(int, parent.stdout.readline().split()))
        yield Family(parent.pid, recorder, other)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "_LEAST_S", 0.01)
    monkeypatch.setattr(kills, "_MOST_S", 0.02)


def _is_dead(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_ZOMBIE  # its parent has not looked yet


def test_a_part_is_known_by_what_it_was_started_as(family: Family) -> None:
    assert parts(family.root) == {"the recorder": [family.recorder]}


def test_every_process_of_training_is_a_part() -> None:
    started = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "training").rglob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    ]
    assert len(started) > 5
    assert [module for module in started if module not in kills._PARTS] == []


def test_what_was_killed_least_often_comes_first(family: Family) -> None:
    found = {"a": [family.recorder], "b": [family.other]}
    killer = Killer(4, 7, lambda _: None, family.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kills, "parts", lambda _: found)
        killer.start()
        killer.join(20)
    assert sorted(kill.part for kill in killer.killed) == ["a", "a", "b", "b"]


def test_it_kills_as_often_as_it_was_told(family: Family) -> None:
    told: list[Kill] = []
    killer = Killer(1, 7, told.append, family.root)
    killer.start()
    killer.join(20)
    assert [kill.part for kill in told] == ["the recorder"]
    killer.stop()
    wait(lambda: _is_dead(family.recorder))
    assert not _is_dead(family.other)


def test_it_kills_nothing_while_it_is_held(family: Family) -> None:
    killer = Killer(1, 7, lambda _: None, family.root)
    with killer.held():
        killer.start()
        killer.join(0.3)
        assert killer.is_alive()
        assert not _is_dead(family.recorder)
    killer.join(20)
    wait(lambda: _is_dead(family.recorder))
