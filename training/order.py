"""What a fine-tuning job asks of its steps, as a file in the job's folder.

<home>/jobs/<job>/
    order.json      this
    results/        what each finished step returned; a step with a result is not run again
    logs/           what each step printed
    data/ run/ merged/ evaluation/     what the steps make
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

_PATHS = ("folder", "base", "training_file", "validation_file", "models_dir", "baseline")


@dataclass(frozen=True, slots=True)
class Order:
    """A job with everything that it names made out: paths in place of ids.

    Args:
        job: Its id.
        folder: The job's folder.
        base: Folder of the model to train on.
        base_release: The release that this is.
        base_model: The name of the model that it is or was made from.
        base_revision: The exact version of that model at its source.
        training_file: The uploaded rows.
        training_sha256: Their digest when they were uploaded.
        validation_file: Rows to validate with; None: a share of the training's.
        recipe: Name of the recipe; None: one that fits the machine.
        overrides: Values in place of the recipe's.
        hyperparameters: OpenAI's: n_epochs, batch_size, learning_rate_multiplier.
        seed: Seed of all that is random.
        suffix: Part of the release's name.
        alias: What is pointed at the release; None: nothing.
        owner: Prefix of the key whose job it is.
        models_dir: Where merged models are kept.
        baseline: Folder of the model that the candidate must beat; None: the base.
        baseline_release: The release that this is.
        request: The request to retrain that the job answers.
    """

    job: str
    folder: Path
    base: Path
    base_release: str
    base_model: str
    base_revision: str
    training_file: Path
    training_sha256: str
    validation_file: Path | None
    recipe: str | None
    overrides: dict[str, Any]
    hyperparameters: dict[str, Any]
    seed: int
    suffix: str | None
    alias: str | None
    owner: str | None
    models_dir: Path
    baseline: Path | None = None
    baseline_release: str | None = None
    request: str | None = None

    def save(self) -> None:
        """Write the order into its folder."""
        values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        _write(self.folder / "order.json", values)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the order of a job's folder."""
        order = cls(**json.loads((folder / "order.json").read_text()))
        paths: dict[str, Any] = {
            name: Path(v) for name in _PATHS if (v := getattr(order, name)) is not None
        }
        return replace(order, **paths)

    def log(self, step: str) -> Path:
        """Return the log of a step."""
        return self.folder / "logs" / f"{step}.log"

    def result(self, step: str) -> dict[str, Any] | None:
        """Return what a finished step returned, or None where it has not finished."""
        try:
            found: dict[str, Any] = json.loads(self._result(step).read_text())
        except FileNotFoundError:
            return None
        return found

    def finished(self, step: str) -> dict[str, Any]:
        """Return what a step returned that must have finished before."""
        found = self.result(step)
        if found is None:
            raise RuntimeError(f"the step {step} has not finished")
        return found

    def finish(self, step: str, result: dict[str, Any]) -> None:
        """Write a step's result; from then on the step is done."""
        _write(self._result(step), result)

    def _result(self, step: str) -> Path:
        return self.folder / "results" / f"{step}.json"


def _write(path: Path, value: dict[str, Any]) -> None:
    """Write JSON, whole or not at all, also where the power fails."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        json.dump(value, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
