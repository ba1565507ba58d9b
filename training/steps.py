"""The steps of a fine-tuning job: from an order to paths and figures, each the work of one package.

A step may be killed at any moment and run again: each package goes on where it was. What a step
returns is JSON, and what the next ones read (`Order.finished`).
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training import recipe as recipes
from training.evaluating import CASES, SUITES, evaluate, gating_of, score
from training.gating import OVERRIDE
from training.order import Order
from training.recipe import Recipe, RecipeError
from training.step_process import Step, StepFailed, Teller

_VALID_SHARE = 0.1
_SHOWN = 20
_MULTIPLIER = "learning_rate_multiplier"


def validate(order: Order, tell: Teller) -> dict[str, Any]:
    """Check what the job names before anything heavy is loaded."""
    recipe = _recipe(order)
    if _digest(order.training_file) != order.training_sha256:
        raise StepFailed(
            "file_changed", "The training file is not what was uploaded.", "training_file"
        )
    if not (order.base / "config.json").is_file():
        raise StepFailed(
            "model_missing", f"The files of {order.base_release} are not on this host.", "model"
        )
    most = order.overrides.get(CASES, 1)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise StepFailed("invalid_recipe", f"`{CASES}` is 1 or more, not {most!r}.", "driftgate")
    gating = gating_of(order)
    if gating is not None and order.baseline is not None:
        for what, path in (("model", order.baseline / "config.json"), ("file", gating.truth)):
            if path is not None and not Path(path).is_file():
                told = f"The gates of the loop need a {what} that is not on this host: {path}"
                raise StepFailed("gates_missing", told)
    tell.event(f"Recipe {recipe.name}: {recipe.description}")
    return {"recipe": recipe.name}


def prepare(order: Order, tell: Teller) -> dict[str, Any]:
    """Check every row, split, and freeze the data set."""
    from training.data.findings import DataRejected, counts
    from training.data.manifest import sha256
    from training.data.masking import TokenizerError
    from training.data.pipeline import prepare as prepare_data
    from training.data.source import SourceError

    valid = order.validation_file
    try:
        prepared = prepare_data(
            order.training_file,
            valid,
            order.folder / "data",
            model=order.base,
            max_length=_recipe(order).max_length,
            valid_share=_VALID_SHARE,
            seed=order.seed,
        )
    except DataRejected as error:
        files = {finding.file for finding in error.findings}
        at_fault = valid is not None and files == {valid.name}
        param = "validation_file" if at_fault else "training_file"
        raise StepFailed("invalid_training_file", str(error), param) from error
    except SourceError as error:
        raise StepFailed("invalid_training_file", str(error), "training_file") from error
    except TokenizerError as error:
        raise StepFailed("model_not_trainable", str(error), "model") from error
    told = [f for f in prepared.findings if f.severity != "info"]
    for finding in told[:_SHOWN]:
        tell.event(str(finding), level="warn")
    if len(told) > _SHOWN:
        tell.event(f"… and {len(told) - _SHOWN:,} more findings: {counts(told)}", level="warn")
    rows = {name: _lines(getattr(prepared, name)) for name in ("train", "valid", "quarantine")}
    tell.event(
        f"The files are valid: {rows['train']:,} rows to train on, {rows['valid']:,} to validate "
        f"with, {rows['quarantine']:,} set aside."
    )
    return {
        "train": str(prepared.train),
        "valid": str(prepared.valid),
        "manifest": str(prepared.manifest),
        "manifest_sha256": sha256(prepared.manifest),
        "reports": [str(prepared.report)],
        "rows": rows,
    }


def train(order: Order, tell: Teller) -> dict[str, Any]:
    """Train the adapter, or go on after its last checkpoint."""
    from training.run import TrainConfig
    from training.run import train as run_training
    from training.run_folder import RunError

    data = order.finished("prepare")
    recipe = _recipe(order)
    config = TrainConfig(
        base=order.base,
        data=Path(data["train"]),
        eval=Path(data["valid"]),
        out=order.folder / "run",
        recipe=recipe.name,
        overrides=_overrides(order),
        resume=True,
        manifest=Path(data["manifest"]),
    )
    try:
        result = run_training(config, _hearing(tell))
    except (RecipeError, RunError) as error:
        raise StepFailed("training_failed", str(error)) from error
    tell.event(f"Training complete: {result.steps} steps, best validation loss {result.eval_loss}.")
    return {
        "run": str(result.run),
        "adapter": str(result.adapter),
        "recipe": recipe.model_dump(mode="json"),
        "trained_tokens": _trained_tokens(result.run, result.steps, recipe),
        "reports": [str(result.run / "report.html"), str(result.run / "loss.png")],
        "result": result.as_dict(),
    }


def merge(order: Order, tell: Teller) -> dict[str, Any]:
    """Make one model of adapter and base; of several merges the one that the evaluation prefers."""
    from training import integrity
    from training.merge import KL_LIMIT, MergeError
    from training.merge import merge as run_merge
    from training.run_folder import RunError

    run = Path(order.finished("train")["run"])
    # A release is replaced only by what is as close to its adapter as the gates ask.
    by_score = _recipe(order).method == "qlora" and gating_of(order) is None
    prefer = score(order) if by_score else None
    try:
        merged = run_merge(run, order.folder / "merged", prefer=prefer, on_progress=tell.event)
    except (MergeError, RunError) as error:
        raise StepFailed("merge_failed", str(error)) from error
    tell.event("Checking that the merged model is whole.")
    checks = integrity.inspect(
        merged.model, order.base, merged.digests, merged.kl, KL_LIMIT, evaluated_itself=by_score
    )
    for check in checks:
        if not check.right:
            raise StepFailed("integrity_failed", f"The merged model: {check.name}: {check.seen}.")
    tell.event(
        f"Merged into the {merged.kind} base ({merged.precision}): KL {merged.kl:.2g} nats a token "
        f"to the adapter, {merged.agreement:.0%} of greedy answers the same."
    )
    return {
        "model": str(merged.model),
        "digests": merged.digests,
        "kind": merged.kind,
        "kl": merged.kl,
        "agreement": merged.agreement,
        "integrity": [check.as_dict() for check in checks],
    }


STEPS: dict[str, Step] = {
    "validate": validate,
    "prepare": prepare,
    "train": train,
    "merge": merge,
    "evaluate": evaluate,
}


def _recipe(order: Order) -> Recipe:
    """Return the job's recipe with its values in place."""
    from training.run import gpu_count

    name = order.recipe or ("qlora-7b" if gpu_count() else "tiny-cpu")
    if name not in recipes.names():  # a path is for people on this machine, not for clients
        known = ", ".join(recipes.names())
        raise StepFailed("invalid_recipe", f"No recipe {name!r}; there are {known}.", "driftgate")
    try:
        return recipes.load(name, _overrides(order, name))
    except RecipeError as error:
        raise StepFailed("invalid_recipe", str(error), "driftgate") from error


def _overrides(order: Order, name: str | None = None) -> dict[str, object]:
    """Return the recipe's fields that the job sets: its own values before OpenAI's names."""
    given = order.hyperparameters
    found: dict[str, object] = {"seed": order.seed}
    if "n_epochs" in given:
        found["epochs"] = given["n_epochs"]
    if "batch_size" in given:
        found["batch_size"] = given["batch_size"]
    if _MULTIPLIER in given:
        base = recipes.load(name or order.finished("validate")["recipe"])
        found["learning_rate"] = base.learning_rate * given[_MULTIPLIER]
    own = {k: v for k, v in order.overrides.items() if k not in (CASES, SUITES, OVERRIDE)}
    return found | own


def _hearing(tell: Teller) -> Callable[[Any], None]:
    """Return what turns events of the training into those of the job."""
    losses: dict[str, float] = {}

    def hear(event: Any) -> None:
        place = f"Step {event.step}/{event.total}"
        numbers = {"step": event.step, "total_steps": event.total}
        if event.kind == "step":
            losses["train_loss"] = event.loss
            more = {k: getattr(event, k) for k in ("learning_rate", "tokens_per_s", "memory")}
            tell.event(
                f"{place}: training loss={event.loss:.4f}",
                data=numbers | {"train_loss": event.loss} | more,
            )
            if event.eta_s is not None:
                tell.estimate(time.time() + event.eta_s)
        elif event.kind == "eval":
            losses["valid_loss"] = losses["full_valid_loss"] = event.eval_loss
            tell.event(
                f"{place}: validation loss={event.eval_loss:.4f}",
                data=numbers | {"valid_loss": event.eval_loss},
            )
        elif event.kind == "checkpoint":
            tell.checkpoint(event.step, Path(event.checkpoint), dict(losses))
        elif event.message:
            level = "warn" if event.kind == "warning" else "info"
            tell.event(f"Training: {event.message}", level=level)

    return hear


def _trained_tokens(run: Path, steps: int, recipe: Recipe) -> int:
    """Return about how many tokens were read, from the run's manifest."""
    counted: dict[str, int] = json.loads((run / "manifest.json").read_text())["train"]
    tokens, rows = counted["tokens"], counted["rows"]
    return round(tokens / rows * steps * recipe.batch_size * recipe.accumulation)


def _digest(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
