"""The worker: works in lanes, side by side, each a kind of row that comes up in the store.

- `jobs`: fine-tuning jobs, one after the other (`lanes.jobs`);
- `rollouts`: all rollouts under way, each in a light process (`lanes.rollouts`);
- `retraining`: requests to retrain, each in a light process that has a job train and a rollout
  follow; it also opens the requests that are due (`lanes.retraining`).

Another lane of light processes is a `lanes.rows.Lane`: a file of `lanes/`, its name in
`lanes.places.LANES`, and a line in `_LANES` here.

Any number of workers may run, on one host or on several that share home and store. A worker claims
a row and renews its claim every second. It stops the work on it by ending the standard input of its
process (`training.leash`), when the claim is lost, or when the worker itself is stopped or killed.
The next worker goes on where it was.
"""

import contextlib
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Callable
from os import getpid

from gateway.store.database import Database, StoreError
from gateway.store.job_events import JobEvent, JobEvents, LiveWorker
from training.lanes import retraining, rollouts
from training.lanes.jobs import JobLane
from training.lanes.places import WorkerConfig
from training.lanes.rows import Lane, RowLane

_LANES: dict[str, Callable[[Database, WorkerConfig], Lane]] = {
    "retraining": lambda database, config: retraining.lane(database, config.home),
    "rollouts": lambda database, _: rollouts.lane(database),
}


class Worker:
    """One worker.

    Args:
        config: Where things are.
        show: Called with each event of the job at hand, and with None when there is none.
    """

    def __init__(
        self, config: WorkerConfig, show: Callable[[JobEvent | None], None] | None = None
    ) -> None:
        self.id = f"{socket.gethostname()[:60]}:{getpid()}:{secrets.token_hex(4)}"
        self._config = config
        self._database = Database(config.database_url)
        self._events = JobEvents(self._database)
        self._started_at = time.time()
        self._jobs = JobLane(config, self._database, self.id, show or (lambda _: None))
        self._failed = False

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set.

        Raises:
            StoreError: The store cannot be brought up to date.
            OSError: The folders cannot be made.
            RuntimeError: A lane broke; what it was is on standard error.
        """
        self._database.migrate()
        for name in self._config.lanes:
            (self._config.home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        threads = [
            threading.Thread(target=self._work, args=(name, stop), name=name)
            for name in self._config.lanes
        ]
        for thread in threads:
            thread.start()
        while not stop.is_set():
            with contextlib.suppress(StoreError):  # the lanes tell of it
                seen = LiveWorker(self.id, self._started_at, time.time(), self._jobs.job)
                self._events.seen(seen)
            stop.wait(self._config.period_s)
        for thread in threads:
            thread.join()
        with contextlib.suppress(StoreError):
            self._events.gone(self.id)
        self._database.close()
        if self._failed:
            raise RuntimeError("a lane broke")

    def _work(self, name: str, stop: threading.Event) -> None:
        try:
            if name == "jobs":
                self._jobs.run(stop)
            else:
                lane = _LANES[name](self._database, self._config)
                RowLane(lane, self._config, self._database, self.id).run(stop)
        except Exception:
            traceback.print_exc()
            self._failed = True
            stop.set()  # what runs the worker starts it again; half a worker nobody would notice
