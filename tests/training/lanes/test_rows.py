"""A lane of light processes: one of each row, whoever is killed."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gateway.store.claims import Claims
from gateway.store.database import Database
from training.lanes.places import LANES, WorkerConfig
from training.lanes.rows import Lane, RowLane

pytestmark = pytest.mark.slow


class Site:
    """A home with a store, rows by their ids, and lanes as threads."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = f"sqlite:///{home / 'driftgate.db'}"
        self.database = Database(self.url)
        self.database.migrate()
        self.rows: list[str] = []
        self.given_up: list[tuple[str, str]] = []

    def up(self) -> list[str]:
        return [id for id in self.rows if not (self.home / f"{id}.over").exists()]

    def give_up(self, id: str, reason: str) -> None:
        self.given_up.append((id, reason))
        self.rows.remove(id)

    def began(self, id: str) -> int:
        return len(list((self.home / "fakes" / id).glob("began-*")))

    @contextlib.contextmanager
    def lane(self, worker: str, home: Path | None = None) -> Iterator[threading.Event]:
        lane = Lane("fakes", "tests.training.lanes.fake_row", self.up, self.give_up, "fake.log")
        folder = home or self.home
        config = WorkerConfig(self.url, folder, folder / "models", period_s=0.05, stale_s=1.0)
        stop = threading.Event()
        thread = threading.Thread(
            target=RowLane(lane, config, self.database, worker).run, args=(stop,)
        )
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join(20)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.database.close()


def running() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
        and "tests.training.lanes.fake_row" in child.cmdline()
    ]


def wait(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)


def test_every_row_has_one_process_whatever_the_number_of_workers(site: Site) -> None:
    site.rows = ["one", "two"]
    with site.lane("a"), site.lane("b"):
        wait(lambda: site.began("one") == site.began("two") == 1)
        time.sleep(0.5)
        assert len(running()) == 2
        site.rows.append("three")
        wait(lambda: site.began("three") == 1)
    assert (site.began("one"), site.began("two")) == (1, 1)
    wait(lambda: running() == [])
    assert Claims(site.database).take("one", "x")  # given back


def test_hosts_without_a_common_home_are_kept_apart_by_the_claim(
    site: Site, tmp_path: Path
) -> None:
    site.rows = ["one"]
    other = tmp_path / "other"
    other.mkdir()
    with site.lane("a") as stop, site.lane("b", other):
        wait(lambda: len(running()) == 1)
        time.sleep(0.5)
        assert len(running()) == 1
        stop.set()  # the other goes on with it
        wait(lambda: (other / "fakes" / "one").exists() and len(running()) == 1)


def test_a_killed_process_is_started_again(site: Site) -> None:
    site.rows = ["one"]
    with site.lane("a"):
        wait(lambda: site.began("one") == 1)
        os.kill(running()[0].pid, signal.SIGKILL)
        wait(lambda: site.began("one") == 2)
    assert site.given_up == []


def test_a_row_comes_after_the_answers_of_engines(site: Site) -> None:
    site.rows = ["one"]
    with site.lane("a"):
        wait(lambda: site.began("one") == 1)
        assert running()[0].nice() == min(19, psutil.Process().nice() + 10)


def test_a_row_that_is_over_is_left(site: Site) -> None:
    site.rows = ["ends"]
    with site.lane("a"):
        wait(lambda: site.began("ends") == 1)
        wait(lambda: Claims(site.database).take("ends", "x"))
        time.sleep(0.3)
    assert site.began("ends") == 1


def test_a_process_that_never_lives_long_is_given_up(site: Site) -> None:
    site.rows = ["breaks"]
    with site.lane("a"):
        wait(lambda: bool(site.given_up))
    ((id, reason),) = site.given_up
    assert id == "breaks"
    assert "5 times, last with status 3" in reason
    assert site.began("breaks") == 5


def test_who_loses_the_claim_ends_the_process(site: Site) -> None:
    site.rows = ["one"]
    with site.lane("a"):
        wait(lambda: site.began("one") == 1)
        (process,) = running()
        site.rows = []
        # As if the worker had been silent for too long, and another had begun.
        wait(lambda: _stolen(site))
        wait(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def _stolen(site: Site) -> bool:
    import sqlalchemy as sa

    with site.database.begin() as connection:
        connection.execute(sa.text("UPDATE claims SET token = 'another'"))
    return True


def test_every_lane_can_be_built(tmp_path: Path) -> None:
    from training.worker import Worker

    url = f"sqlite:///{tmp_path / 'driftgate.db'}"
    stop = threading.Event()
    worker = Worker(WorkerConfig(url, tmp_path, tmp_path / "models", period_s=0.1))
    threading.Timer(1.0, stop.set).start()
    worker.run(stop)
    assert all((tmp_path / name).is_dir() for name in LANES)
