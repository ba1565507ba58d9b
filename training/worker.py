"""The worker: takes up one fine-tuning job after the other, each in a process of its own.

Any number of workers may run, on one host or on several that share home and store. A worker claims
a job and renews its claim every second. It stops a job, within about that time, by ending the
standard input of its process, when the job was cancelled or paused, when the claim is lost, or when
the worker itself is stopped or killed. The next worker goes on at the step that was not finished.
"""

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.store.database import Database, StoreError
from gateway.store.job_events import JobEvent, JobEvents, LiveWorker
from gateway.store.jobs import FAILED, STALE_S, ClaimLost, Job, Jobs
from training.workflow import Setup

_STOP_S = 10.0
# A job whose process ends so often without finishing a step would end all others too.
_MOST_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Where a worker finds and puts things.

    Args:
        database_url: The store.
        home: The folder of files and jobs.
        models_dir: The folder of models.
        steps: The module of the steps.
        period_s: How often it looks for a job, and at the one that it has, in seconds.
        stale_s: How long its claim outlasts it, in seconds.
    """

    database_url: str
    home: Path
    models_dir: Path
    steps: str = "training.steps"
    period_s: float = 1.0
    stale_s: float = STALE_S

    def workflow_url(self) -> str:
        """Return the database of DBOS: a file in `home`, or the store where that is PostgreSQL."""
        if self.database_url.startswith("sqlite"):
            return f"sqlite:///{self.home.absolute() / 'workflows.db'}"
        return self.database_url


class Worker:
    """One worker.

    Args:
        config: Where things are.
        show: Called with each event of the job at hand, and with None when there is none.
    """

    def __init__(
        self, config: WorkerConfig, show: Callable[[JobEvent | None], None] | None = None
    ) -> None:
        self.id = f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(4)}"
        self._config = config
        self._show = show or (lambda _: None)
        self._database = Database(config.database_url)
        self._jobs = Jobs(self._database)
        self._events = JobEvents(self._database)
        self._started_at = time.time()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set.

        Raises:
            StoreError: The store cannot be brought up to date.
            OSError: The folder of jobs cannot be made.
        """
        self._database.migrate()
        (self._config.home / "jobs").mkdir(mode=0o700, parents=True, exist_ok=True)
        while not stop.is_set():
            try:
                self._seen(None)
                token = f"{self.id}/{secrets.token_hex(4)}"
                job = self._jobs.claim(token, self._config.stale_s)
                if job is not None:
                    self._take(job, token, stop)
                    continue
            except StoreError as error:
                print(f"the store is away: {error}", file=sys.stderr)
            self._show(None)
            stop.wait(self._config.period_s)
        with contextlib.suppress(StoreError):
            self._events.gone(self.id)
        self._database.close()

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
        process = self._start(job, token, lock)
        try:
            while not stop.is_set():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self._config.period_s)
                after = self._look(job, token, after)
                if process.returncode is not None:
                    break
        finally:
            _end(process)
        if stop.is_set() or process.returncode == 0:
            return False
        self._events.add(
            job.id,
            f"The job's process ended with status {process.returncode}; it is started again. "
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
            self._seen(job.id)
            self._jobs.renew(job.id, token, self._config.stale_s)
        except StoreError as error:
            print(f"the store is away: {error}", file=sys.stderr)
        return after

    def _start(self, job: Job, token: str, lock: int) -> "subprocess.Popen[bytes]":
        setup = Setup(
            job=job.id,
            claim=token,
            database_url=self._config.database_url,
            workflow_url=self._config.workflow_url(),
            home=str(self._config.home.absolute()),
            models_dir=str(self._config.models_dir.absolute()),
            steps=self._config.steps,
            lock=lock,
        )
        # Telemetry of the libraries that steps load, and a hub that is perhaps not there.
        quiet = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        with self._log(job).open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "training.workflow"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[lock],
                env={**os.environ, **quiet},
                start_new_session=True,
            )
        assert process.stdin is not None  # noqa: S101 - a pipe
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(setup.line())
            process.stdin.flush()
        return process

    @contextlib.contextmanager
    def _locked(self, job: Job, token: str, stop: threading.Event) -> Iterator[int | None]:
        """Hold the job's folder; None where `stop` came first.

        Its processes hold the lock too, so that what an earlier worker left behind has ended.
        """
        folder = self._config.home / "jobs" / job.id
        (folder / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while not stop.is_set():
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._jobs.renew(job.id, token, self._config.stale_s)
                    stop.wait(self._config.period_s / 4)
                else:
                    yield lock
                    return
            yield None
        finally:
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

    def _seen(self, job: str | None) -> None:
        self._events.seen(LiveWorker(self.id, self._started_at, time.time(), job))

    def _log(self, job: Job) -> Path:
        return self._config.home / "jobs" / job.id / "logs" / "workflow.log"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a job's process and all that it started."""
    assert process.stdin is not None  # noqa: S101 - a pipe
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    if process.returncode is None:
        # Its id cannot be another's before it is waited for.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_STOP_S)
    else:
        # The leader is gone; what it left still has its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
