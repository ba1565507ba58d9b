"""A lane of rows that are claimed in `store.claims`: all that are up, each in a light process.

What such a process does takes hours and little of the machine: it waits for traffic, for an engine,
for a person. So it runs beside the job at hand, and beside others of its kind.
"""

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.store.claims import Claims
from gateway.store.database import Database, StoreError
from training.lanes import process
from training.lanes.places import WorkerConfig
from training.leash import Setup

_MOST_ENDINGS = 5
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Lane:
    """What a lane works on; the place to plug in another one.

    Attributes:
        name: Of the lane; below the folder of this name in `home` each row has its own.
        module: What is started for a row, with `leash.Setup` on its standard input. It must be able
            to go on with what another process of it left, and end with status 0 once the row is
            over.
        up: Returns the ids of the rows that are to be worked on.
        give_up: Called with a row's id and the reason, where its process ended badly five times in
            a row: it must bring the row to an end, or it is tried again for ever.
        log: The name of its log in the row's folder.
        tidy: Called now and then for what needs no process.
    """

    name: str
    module: str
    up: Callable[[], list[str]]
    give_up: Callable[[str, str], None]
    log: str
    tidy: Callable[[], None] = lambda: None


@dataclass(slots=True)
class _Held:
    token: str
    lock: int
    process: process.Process


@dataclass(slots=True)
class _Trouble:
    endings: int = 0
    not_before: float = field(default_factory=time.monotonic)


class RowLane:
    """Works on the rows of a lane.

    Args:
        lane: What they are.
        config: Where things are.
        database: The store.
        worker: Names the worker.
    """

    def __init__(self, lane: Lane, config: WorkerConfig, database: Database, worker: str) -> None:
        self._lane, self._config, self._worker = lane, config, worker
        self._claims = Claims(database)
        self._held: dict[str, _Held] = {}
        self._troubles: dict[str, _Trouble] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then end every process and give the claims back."""
        try:
            while not stop.is_set():
                try:
                    self._look()
                    self._lane.tidy()
                except StoreError as error:
                    print(f"the store is away: {error}", file=sys.stderr)
                stop.wait(self._config.period_s)
        finally:
            for id in list(self._held):
                self._let_go(id)

    def _look(self) -> None:
        for id, held in list(self._held.items()):
            status = held.process.poll()
            if status is None:
                if not self._claims.renew(id, held.token, self._config.stale_s):
                    self._let_go(id)
            elif status == 0:
                self._let_go(id)
                self._troubles.pop(id, None)
            else:
                self._let_go(id)
                self._again(id, status)
        for id in self._lane.up():
            trouble = self._troubles.get(id)
            if id not in self._held and (trouble is None or trouble.not_before < time.monotonic()):
                self._take(id)

    def _take(self, id: str) -> None:
        folder = self._config.home.absolute() / self._lane.name / id
        lock = process.lock(folder)
        if lock is None:  # another worker of this host has it, or its process is about to end
            return
        token = f"{self._worker}/{secrets.token_hex(4)}"
        try:
            taken = self._claims.take(id, token, self._config.stale_s)
        except StoreError:
            os.close(lock)
            raise
        if not taken:
            os.close(lock)
            return
        setup = Setup(
            id=id,
            claim=token,
            database_url=self._config.database_url,
            workflow_url=self._config.workflow_url(folder),
            home=str(self._config.home.absolute()),
            models_dir=str(self._config.models_dir.absolute()),
            steps=self._config.steps,
            lock=lock,
            gateway_url=self._config.gateway_url,
            nice=self._config.nice,
        )
        running = process.start(self._lane.module, setup, self._log(id))
        self._held[id] = _Held(token, lock, running)

    def _let_go(self, id: str) -> None:
        """End a row's process, and give back the folder and the claim."""
        held = self._held.pop(id)
        process.end(held.process)
        os.close(held.lock)
        try:
            self._claims.release(id, held.token)
        except StoreError as error:  # it runs out by itself
            print(f"the store is away: {error}", file=sys.stderr)

    def _again(self, id: str, status: int) -> None:
        """Note that a process ended badly, and when the next one may start."""
        trouble = self._troubles.setdefault(id, _Trouble())
        trouble.endings += 1
        pause = min(self._config.period_s * 2**trouble.endings, _LONGEST_PAUSE_S)
        trouble.not_before = time.monotonic() + pause
        told = f"its process ended {trouble.endings} times, last with status {status}"
        print(f"{id}: {told}; see {self._log(id)}", file=sys.stderr)
        if trouble.endings >= _MOST_ENDINGS:
            self._lane.give_up(id, f"{told}; see {self._log(id)}")

    def _log(self, id: str) -> Path:
        return self._config.home.absolute() / self._lane.name / id / self._lane.log
