"""A process of its own for one claimed row, on a leash: it lives as long as its worker wants.

The worker starts it (`training.lane`) with a line on its standard input. It leads a process group;
when its standard input ends, because the worker is gone or wants it to stop, the whole group is
killed, and that is the only way in which the work on a row is ever stopped.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NoReturn, TypeVar

from gateway.store.database import StoreError

T = TypeVar("T")
STORE_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Setup:
    """What the process is told, as a line of JSON on its standard input.

    Args:
        id: The row: a job, a rollout, a request to retrain.
        claim: The worker's claim on it.
        database_url: The store.
        workflow_url: The database of DBOS.
        home: The folder of jobs, rollouts and files.
        models_dir: The folder of models.
        steps: The module of a job's steps.
        lock: A descriptor that stays open as long as any process of the row lives.
        gateway_url: Where questions are asked, without `/v1`.
        nice: How much later than others' its turn comes (nice(2)).
    """

    id: str
    claim: str
    database_url: str
    workflow_url: str
    home: str
    models_dir: str
    steps: str
    lock: int
    gateway_url: str = "http://127.0.0.1:8080"
    nice: int = 0

    def line(self) -> bytes:
        """Return the line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def told() -> Setup | None:
    """Read the line, and from then on live only while standard input is open; None: no line came.

    Called once, first of all.
    """
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return None
        line += byte
    threading.Thread(target=_end_with_input, daemon=True).start()
    setup = Setup(**json.loads(line))
    os.nice(setup.nice)
    return setup


def end_group() -> NoReturn:
    """Kill this process and all of its group."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError  # nobody is left


def patiently(do: Callable[[], T]) -> T:
    """Return what `do` returns, trying again for as long as the store is away."""
    while True:
        try:
            return do()
        except StoreError as error:
            print(f"waiting for the store: {error}", file=sys.stderr, flush=True)
            time.sleep(STORE_RETRY_S)


def _end_with_input() -> None:
    while os.read(0, 64):
        pass
    end_group()
