"""The durable workflow of one fine-tuning job, in a process of its own.

    python -m training.workflow < setup        # `training.worker` starts it, see `Setup`

DBOS (https://docs.dbos.dev) keeps which steps are done, so a process that is killed at any moment
goes on at the unfinished step when the next one starts. The process leads a process group; when its
standard input ends, because the worker is gone or wants it to stop, the whole group is killed, and
that is the only way in which a job is ever stopped.
"""

import errno
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from gateway.store.database import Database, StoreError
from gateway.store.files import Files
from gateway.store.job_events import JobEvents
from gateway.store.jobs import FAILED, QUEUED, RUNNING, SUCCEEDED, VALIDATING, ClaimLost, Jobs
from gateway.store.releases import Releases
from training.order import Order
from training.registration import register
from training.step_process import StepFailed, run_step

T = TypeVar("T")
_STORE_RETRY_S = 1.0
# Behind the answers of engines on the same machine (nice(2)).
_NICE = 10


@dataclass(frozen=True, slots=True)
class Setup:
    """What the process of a job is told, as a line of JSON on its standard input.

    Args:
        job: The job's id.
        claim: The worker's claim on it.
        database_url: The store.
        workflow_url: The database of DBOS.
        home: The folder of jobs and files.
        models_dir: The folder of models.
        steps: The module of the steps.
        lock: A descriptor that stays open as long as any process of the job lives.
    """

    job: str
    claim: str
    database_url: str
    workflow_url: str
    home: str
    models_dir: str
    steps: str
    lock: int

    def line(self) -> bytes:
        """Return the line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def fine_tune(work: "Work") -> str:
    """Run the steps of a job that are not done yet, and return the id of the new release.

    Raises:
        StepFailed: A step cannot be done.
    """
    from dbos import DBOS, SetWorkflowID

    @DBOS.step(name="step")  # type: ignore[untyped-decorator]
    def step(name: str, status: str, then: str | None = None) -> dict[str, Any]:
        return work.do(name, status, then or status)

    @DBOS.workflow(name="fine_tune")  # type: ignore[untyped-decorator]
    def workflow() -> Any:
        step("order", VALIDATING)  # 1. find out what the job's ids mean
        step("validate", VALIDATING)  # 2. are recipe, base and files there and whole?
        step("prepare", VALIDATING, QUEUED)  # 3. check every row, split, freeze
        step("train", RUNNING)  # 4. an adapter
        step("merge", RUNNING)  # 5. adapter and base become one model
        step("evaluate", RUNNING)  # 6. is it better than its base?
        return step("register", RUNNING)  # 7. a release, and the alias that has it served

    # The version of an application is what DBOS binds its workflows to: with the job's id no
    # executor of another job takes this one, and a new release of Driftgate goes on with it.
    DBOS(
        config={
            "name": "driftgate",
            "system_database_url": work.setup.workflow_url,
            "executor_id": work.setup.job,
            "application_version": work.setup.job,
            "enable_otlp": False,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()  # takes up a workflow that was interrupted
    if DBOS.get_workflow_status(work.setup.job) is None:
        with SetWorkflowID(work.setup.job):
            DBOS.start_workflow(workflow)
    handle: Any = DBOS.retrieve_workflow(work.setup.job)
    result: dict[str, Any] = handle.get_result()
    work.finish(SUCCEEDED, **result)
    return str(result["fine_tuned_model"])


class Work:
    """What the steps of one job share: the store, the folder, the claim to write under."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self._database = Database(setup.database_url)
        self._jobs = Jobs(self._database)
        self._events = JobEvents(self._database)
        self._files = Files(self._database, Path(setup.home) / "files")
        self._folder = Path(setup.home) / "jobs" / setup.job

    def do(self, name: str, status: str, then: str) -> dict[str, Any]:
        """Do one step; again after it was killed, never after it has ended.

        Args:
            name: The step.
            status: The job's state meanwhile.
            then: The job's state afterwards.

        Raises:
            StepFailed: It cannot be done.
        """
        self._write(status=status, step=name)
        try:
            result = self._result_of(name)
        except StepFailed:
            raise
        except Exception as error:
            traceback.print_exc()
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            code = "disk_full" if full else "step_failed"
            raise StepFailed(code, f"The step {name} failed: {error}") from error
        # Trouble that comes after progress is new trouble.
        self._write(status=then, attempts=0, estimated_finish=None)
        return result

    def finish(self, status: str, **values: Any) -> None:
        """Write how the job ended."""
        job, claim = self.setup.job, self.setup.claim
        self._patiently(lambda: self._jobs.finish(job, claim, status, **values))

    def tell(self, message: str, level: str = "info") -> None:
        """Write an event."""
        self._hear({"event": {"message": message, "level": level}})

    def _result_of(self, name: str) -> dict[str, Any]:
        if name == "order":
            return self._patiently(self._order)
        if name == "register":
            order = Order.load(self._folder)
            return self._patiently(lambda: register(order, self._database, self._files))
        hold = [self.setup.lock]
        return run_step(self.setup.steps, name, self._folder, self._hear, hold)

    def _order(self) -> dict[str, Any]:
        job = self._jobs.get(self.setup.job)
        if job is None:
            raise StepFailed("job_gone", "The job is not in the store any more.")
        base = Releases(self._database).get(job.base_release)
        if base is None:
            raise StepFailed("model_not_found", f"There is no `{job.base_release}`.", "model")
        training = self._files.get(job.training_file)
        for param in ("training_file", "validation_file"):
            id = getattr(job, param)
            if id is not None and self._files.get(id) is None:
                raise StepFailed("file_not_found", f"The file `{id}` was deleted.", param)
        assert training is not None  # noqa: S101 - just looked at
        self.tell(f"Validating training file: {job.training_file}")
        # Links, so that files which are deleted meanwhile are there to the end.
        validation = job.validation_file
        Order(
            job=job.id,
            folder=self._folder,
            base=Path(base.path),
            base_release=base.id,
            base_model=base.model,
            base_revision=base.revision,
            training_file=self._linked(training.id, "training.jsonl"),
            training_sha256=training.sha256,
            validation_file=self._linked(validation, "validation.jsonl") if validation else None,
            recipe=job.recipe,
            overrides=job.overrides,
            hyperparameters=job.hyperparameters,
            seed=job.seed,
            suffix=job.suffix,
            alias=job.alias,
            owner=job.key_prefix,
            models_dir=Path(self.setup.models_dir),
        ).save()
        return {}

    def _linked(self, file: str, name: str) -> Path:
        source, target = self._files.path(file), self._folder / "input" / name
        if not source.is_file():
            raise StepFailed("file_not_found", f"The bytes of `{file}` are not on this host.")
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(source)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, target)
        return target

    def _hear(self, told: dict[str, Any]) -> None:
        """Write what a step tells; while the store is away, that is lost, but the step goes on."""
        job, claim = self.setup.job, self.setup.claim
        try:
            if "event" in told:
                self._events.add(job, claim=claim, **told["event"])
            elif "checkpoint" in told:
                self._events.add_checkpoint(job, claim, **told["checkpoint"])
                self._jobs.write(job, claim, attempts=0)  # a training that goes on is no crash
            else:
                self._jobs.write(job, claim, estimated_finish=told["estimate"])
        except ClaimLost:
            end_group()
        except StoreError as error:
            print(f"not written, the store is away ({error}): {told}", file=sys.stderr)

    def _write(self, **values: Any) -> None:
        self._patiently(lambda: self._jobs.write(self.setup.job, self.setup.claim, **values))

    def _patiently(self, write: Callable[[], T]) -> T:
        while True:
            try:
                return write()
            except ClaimLost:  # not raised: DBOS would take it for the step's outcome
                end_group()
            except StoreError as error:
                print(f"waiting for the store: {error}", file=sys.stderr)
                time.sleep(_STORE_RETRY_S)


def main() -> int:
    """Run the job that standard input names; returns the exit status."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return 1
        line += byte
    threading.Thread(target=_end_with_input, daemon=True).start()
    os.nice(_NICE)
    work = Work(Setup(**json.loads(line)))
    try:
        release = fine_tune(work)
    except StepFailed as error:
        work.tell(error.message, level="error")
        failure = {"code": error.code, "message": error.message, "param": error.param}
        work.finish(FAILED, error=failure)
        print(f"{work.setup.job} failed: {error.message}", file=sys.stderr)
    else:
        print(f"{work.setup.job} made {release}", file=sys.stderr)
    return 0


def _end_with_input() -> None:
    while os.read(0, 64):
        pass
    end_group()


def end_group() -> NoReturn:
    """Kill this process and all of its group."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError  # nobody is left


if __name__ == "__main__":
    sys.exit(main())
