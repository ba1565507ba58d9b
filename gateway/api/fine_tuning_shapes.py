"""The JSON of the fine-tuning API: what a client asks for, and OpenAI's objects of the answers."""

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gateway.store.job_events import JobCheckpoint, JobEvent, LiveWorker
from gateway.store.jobs import LIVE, Job

CANDIDATE = "candidate"
_HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier")
_Name = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
_Text = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00]*$")]
_FileId = Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Hyperparameters(_Part):
    """OpenAI's; `auto` is what the recipe says."""

    n_epochs: Literal["auto"] | Annotated[int, Field(ge=1, le=50)] | None = None
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] | None = None
    learning_rate_multiplier: Literal["auto"] | Annotated[float, Field(gt=0, le=100)] | None = None


class Supervised(_Part):
    """The options of the one method."""

    hyperparameters: Hyperparameters | None = None


class Method(_Part):
    """How to train; only `supervised` is known."""

    type: Literal["supervised"]
    supervised: Supervised | None = None


class Extension(_Part):
    """What Driftgate knows beside OpenAI's fields."""

    recipe: str | None = Field(
        None, max_length=100, pattern="^[a-z0-9][a-z0-9._-]*$", description="Training recipe."
    )
    set: dict[_Name, bool | int | float | _Text | None] = Field(
        default_factory=dict, max_length=50, description="Values in place of the recipe's."
    )
    alias: _Name | None = Field(CANDIDATE, description="Alias that is pointed at the new release.")


class JobRequest(_Part):
    """A job to be made."""

    model: str = Field(min_length=1, max_length=200, description="An alias or a release id.")
    training_file: _FileId
    validation_file: _FileId | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = Field(None, description="Use `method` instead.")
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    suffix: str | None = Field(None, min_length=1, max_length=64, pattern="^[A-Za-z0-9._-]+$")
    metadata: dict[_Name, _Text] | None = Field(None, max_length=16)
    integrations: list[Any] | None = None
    driftgate: Extension = Field(default_factory=Extension)

    def chosen_hyperparameters(self) -> dict[str, Any]:
        """Return the hyperparameters that are not left to the recipe."""
        given = self.hyperparameters
        if self.method is not None and self.method.supervised is not None:
            given = self.method.supervised.hyperparameters or given
        chosen = {} if given is None else given.model_dump()
        return {name: value for name, value in chosen.items() if value not in (None, "auto")}


def job_object(job: Job, workers: Sequence[LiveWorker]) -> dict[str, Any]:
    """Return a job as OpenAI's object, with what Driftgate knows beside it.

    Args:
        job: The job.
        workers: The live workers: without any, the object says why nothing happens.
    """
    chosen = {name: job.hyperparameters.get(name, "auto") for name in _HYPERPARAMETERS}
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": int(job.created_at),
        "error": job.error,
        "fine_tuned_model": job.fine_tuned_model,
        "finished_at": _seconds(job.finished_at),
        "hyperparameters": chosen,
        "method": {"type": "supervised", "supervised": {"hyperparameters": chosen}},
        "model": job.model,
        "organization_id": "driftgate",
        "result_files": list(job.result_files),
        "seed": job.seed,
        "status": job.status,
        "trained_tokens": job.trained_tokens,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "estimated_finish": _seconds(job.estimated_finish),
        "integrations": [],
        "metadata": job.metadata,
        "driftgate": {
            "base_release": job.base_release,
            "suffix": job.suffix,
            "recipe": job.recipe,
            "set": job.overrides,
            "alias": job.alias,
            "step": job.step,
            "note": _note(job, workers),
            "key": job.key_prefix,
        },
    }


def _note(job: Job, workers: Sequence[LiveWorker]) -> str | None:
    """Return why a live job does not move, or None where it does."""
    if job.status not in LIVE or (job.claimed_until or 0) > time.time():
        return None
    if not workers:
        return "The job waits: no worker runs. `driftgate worker` starts one."
    busy = sum(worker.job is not None for worker in workers)
    return f"The job waits for a worker; {busy} of {len(workers)} are busy."


def event_object(event: JobEvent) -> dict[str, Any]:
    """Return an event as OpenAI's object."""
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": int(event.created_at),
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data,
    }


def checkpoint_object(checkpoint: JobCheckpoint) -> dict[str, Any]:
    """Return a checkpoint as OpenAI's object; it can be resumed from, not asked."""
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": int(checkpoint.created_at),
        "fine_tuned_model_checkpoint": f"{checkpoint.job}:ckpt-step-{checkpoint.step_number}",
        "fine_tuning_job_id": checkpoint.job,
        "metrics": {"step": checkpoint.step_number, **checkpoint.metrics},
        "step_number": checkpoint.step_number,
    }


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
