"""The lane of fine-tuning jobs: one after the other, for each needs the whole machine.

A job is stopped, within about a second, when it was cancelled or paused, when the claim is lost, or
when the worker is stopped or killed. The next worker goes on at the step that was not finished.
"""

import contextlib
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.store.database import Database, StoreError
from gateway.store.job_events import JobEvent, JobEvents
from gateway.store.jobs import FAILED, ClaimLost, Job, Jobs
from training.lanes import process
from training.lanes.places import WorkerConfig
from training.leash import Setup

# A job whose process ends so often without finishing a step would end all others too.
_MOST_ATTEMPTS = 5


class JobLane:
    """Works on jobs.

    Args:
        config: Where things are.
        database: The store.
        worker: Names the worker.
        show: Called with each event of the job at hand, and with None when there is none.

    Attributes:
        job: The id of the job at hand.
    """

    def __init__(
        self,
        config: WorkerConfig,
        database: Database,
        worker: str,
        show: Callable[[JobEvent | None], None],
    ) -> None:
        self.job: str | None = None
        self._config, self._worker, self._show = config, worker, show
        self._jobs, self._events = Jobs(database), JobEvents(database)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set."""
        while not stop.is_set():
            try:
                token = f"{self._worker}/{secrets.token_hex(4)}"
                job = self._jobs.claim(token, self._config.stale_s)
                if job is not None:
                    self.job = job.id
                    self._take(job, token, stop)
                    self.job = None
                    continue
            except StoreError as error:
                print(f"the store is away: {error}", file=sys.stderr)
            self.job = None
            self._show(None)
            stop.wait(self._config.period_s)

    def _take(self, job: Job, token: str, stop: threading.Event) -> None:
        """Work on a claimed job until it ends, is taken away, or `stop` is set."""
        try:
            if job.attempts > _MOST_ATTEMPTS:
                self._give_up(job, token)
                return
            with self._locked(job, token, stop) as lock:
                crashed = lock is not None and self._run(job, token, stop, lock)
            self._jobs.release(job.id, token, crashed=crashed)
        except ClaimLost:
            return

    def _run(self, job: Job, token: str, stop: threading.Event, lock: int) -> bool:
        """Run the job's process until it ends or must; returns whether it ended by itself, badly.

        Raises:
            ClaimLost: The job is not ours any more.
        """
        after = self._newest(job)
        running = process.start("training.workflow", self._setup(job, token, lock), self._log(job))
        try:
            while not stop.is_set():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.wait(self._config.period_s)
                after = self._look(job, token, after)
                if running.returncode is not None:
                    break
        finally:
            process.end(running)
        if stop.is_set() or running.returncode == 0:
            return False
        self._events.add(
            job.id,
            f"The job's process ended with status {running.returncode}; it is started again. "
            f"See {self._log(job)}.",
            level="warn",
            claim=token,
        )
        return True

    def _look(self, job: Job, token: str, after: str | None) -> str | None:
        """Renew the claim and show what is new; returns the last event shown.

        Raises:
            ClaimLost: The job is not ours any more, or over.
        """
        try:
            page, _ = self._events.page(job.id, after=after, limit=1000, ascending=True)
            for event in page:
                self._show(event)
                after = event.id
            self._jobs.renew(job.id, token, self._config.stale_s)
        except StoreError as error:
            print(f"the store is away: {error}", file=sys.stderr)
        return after

    def _setup(self, job: Job, token: str, lock: int) -> Setup:
        return Setup(
            id=job.id,
            claim=token,
            database_url=self._config.database_url,
            workflow_url=self._config.workflow_url(),
            home=str(self._config.home.absolute()),
            models_dir=str(self._config.models_dir.absolute()),
            steps=self._config.steps,
            lock=lock,
            gateway_url=self._config.gateway_url,
            nice=self._config.nice,
        )

    @contextlib.contextmanager
    def _locked(self, job: Job, token: str, stop: threading.Event) -> Iterator[int | None]:
        """Hold the job's folder; None where `stop` came first."""
        folder = self._config.home / "jobs" / job.id
        (folder / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = None
        while lock is None and not stop.is_set():
            lock = process.lock(folder)
            if lock is None:
                self._jobs.renew(job.id, token, self._config.stale_s)
                stop.wait(self._config.period_s / 4)
        try:
            yield lock
        finally:
            if lock is not None:
                os.close(lock)

    def _give_up(self, job: Job, token: str) -> None:
        message = (
            f"The job's process ended {_MOST_ATTEMPTS} times in the step {job.step} without a "
            f"result; the machine may be short of memory. See {self._log(job)}."
        )
        error = {"code": "worker_failed", "message": message, "param": None}
        self._events.add(job.id, message, level="error", claim=token)
        self._jobs.finish(job.id, token, FAILED, error=error)

    def _newest(self, job: Job) -> str | None:
        page, _ = self._events.page(job.id, limit=1)
        return page[0].id if page else None

    def _log(self, job: Job) -> Path:
        return self._config.home / "jobs" / job.id / "logs" / "workflow.log"
