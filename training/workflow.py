"""The durable workflow of one fine-tuning job, in a process of its own.

    python -m training.workflow < setup        # a worker starts it, see `leash.Setup`

`training.durable` keeps which steps are done, `training.leash` how it is stopped.
"""

import errno
import shutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway.store.database import Database, StoreError
from gateway.store.files import Files
from gateway.store.job_events import JobEvents
from gateway.store.jobs import FAILED, QUEUED, RUNNING, SUCCEEDED, VALIDATING, ClaimLost, Job, Jobs
from gateway.store.releases import Release, Releases
from training.durable import Step, run
from training.gating import Gating, GatingInvalid
from training.leash import Setup, end_group, patiently, told
from training.order import Order
from training.registration import register
from training.step_process import StepFailed, run_step

T = TypeVar("T")


def fine_tune(work: "Work") -> str:
    """Run the steps of a job that are not done yet, and return the id of the new release.

    Raises:
        StepFailed: A step cannot be done.
    """

    def line(step: Step) -> dict[str, Any]:
        step("order", VALIDATING)  # 1. find out what the job's ids mean
        step("validate", VALIDATING)  # 2. are recipe, base and files there and whole?
        step("prepare", VALIDATING, QUEUED)  # 3. check every row, split, freeze
        step("train", RUNNING)  # 4. an adapter
        step("merge", RUNNING)  # 5. adapter and base become one model
        step("evaluate", RUNNING)  # 6. is it better than its base?
        return step("register", RUNNING)  # 7. a release, and the alias that has it served

    setup = work.setup
    result: dict[str, Any] = run(setup.id, setup.workflow_url, "fine_tune", work.do, line)
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
        self._folder = Path(setup.home) / "jobs" / setup.id

    def do(self, name: str, status: str, then: str | None = None) -> dict[str, Any]:
        """Do one step; again after it was killed, never after it has ended.

        Args:
            name: The step.
            status: The job's state meanwhile.
            then: The job's state afterwards; None: the same.

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
        self._write(status=then or status, attempts=0, estimated_finish=None)
        return result

    def finish(self, status: str, **values: Any) -> None:
        """Write how the job ended."""
        job, claim = self.setup.id, self.setup.claim
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
        job = self._jobs.get(self.setup.id)
        if job is None:
            raise StepFailed("job_gone", "The job is not in the store any more.")
        base = Releases(self._database).get(job.base_release)
        if base is None:
            raise StepFailed("model_not_found", f"There is no `{job.base_release}`.", "model")
        baseline = self._baseline(job)
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
            baseline=None if baseline is None else Path(baseline.path),
            baseline_release=None if baseline is None else baseline.id,
            request=job.metadata.get("retraining") if baseline is not None else None,
        ).save()
        return {}

    def _baseline(self, job: Job) -> Release | None:
        """Return the release that the candidate must beat, where the job names one."""
        try:
            gating = Gating.of(job.overrides)
        except GatingInvalid as error:
            raise StepFailed("invalid_gates", str(error)) from error
        if gating is None or gating.baseline is None:
            return None
        release = Releases(self._database).get(gating.baseline)
        if release is None:
            raise StepFailed("model_not_found", f"There is no `{gating.baseline}`.")
        return release

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
        job, claim = self.setup.id, self.setup.claim
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
        self._patiently(lambda: self._jobs.write(self.setup.id, self.setup.claim, **values))

    def _patiently(self, write: Callable[[], T]) -> T:
        try:
            return patiently(write)
        except ClaimLost:  # not raised: DBOS would take it for the step's outcome
            end_group()


def main() -> int:
    """Run the job that standard input names; returns the exit status."""
    setup = told()
    if setup is None:
        return 1
    work = Work(setup)
    try:
        release = fine_tune(work)
    except StepFailed as error:
        work.tell(error.message, level="error")
        failure = {"code": error.code, "message": error.message, "param": error.param}
        work.finish(FAILED, error=failure)
        print(f"{work.setup.id} failed: {error.message}", file=sys.stderr)
    else:
        print(f"{work.setup.id} made {release}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
