"""Steps that train nothing: they write down that they ran, and wait or fail where they are told.

A file `hold-<step>` in the job's folder makes a step wait; `overrides` of the order may name a step
to `fail`, to `crash` (an error that nobody foresaw) or to `die` (SIGKILL).
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from training.order import Order
from training.step_process import Step, StepFailed, Teller


def _ran(order: Order, line: str) -> None:
    with (order.folder / "ran.txt").open("a") as file:
        file.write(line + "\n")


def _meet(order: Order, step: str) -> None:
    _ran(order, f"{step} begins")
    while (order.folder / f"hold-{step}").exists():
        time.sleep(0.02)
    if order.overrides.get("fail") == step:
        raise StepFailed("invalid_training_file", "line 7: it contradicts line 3", "training_file")
    if order.overrides.get("crash") == step:
        raise ValueError("nobody foresaw this")
    if order.overrides.get("die") == step:
        os.kill(os.getpid(), signal.SIGKILL)


def validate(order: Order, tell: Teller) -> dict[str, Any]:
    _meet(order, "validate")
    return {"rows": len(order.training_file.read_bytes().splitlines())}


def prepare(order: Order, tell: Teller) -> dict[str, Any]:
    _meet(order, "prepare")
    return {"manifest_sha256": "ab" * 32}


def train(order: Order, tell: Teller) -> dict[str, Any]:
    """Four steps with a checkpoint each; goes on after the last checkpoint."""
    run = order.folder / "run"
    run.mkdir(exist_ok=True)
    for number in range(1, 5):
        checkpoint = run / f"checkpoint-{number}"
        if checkpoint.exists():
            continue
        _ran(order, f"train {number}")
        loss = 1 / number
        tell.event(f"Step {number}/4", data={"step": number, "train_loss": loss})
        tell.estimate(time.time() + 4 - number)
        checkpoint.touch()
        tell.checkpoint(number, checkpoint, {"train_loss": loss})
        if number == 2:
            _meet(order, "train")
    return {
        "adapter": str(run),
        "recipe": {"name": "fake", "seed": order.seed},
        "trained_tokens": 8,
    }


def merge(order: Order, tell: Teller) -> dict[str, Any]:
    _meet(order, "merge")
    merged = order.folder / "merged"
    merged.mkdir(exist_ok=True)
    (merged / "model.safetensors").write_text(order.job)
    return {"model": str(merged), "digests": {"model.safetensors": f"{order.seed:064x}"}}


def evaluate(order: Order, tell: Teller) -> dict[str, Any]:
    _meet(order, "evaluate")
    assert (order.folder / "merged").is_dir()
    report: Path = order.folder / "evaluation" / "report.html"
    report.parent.mkdir(exist_ok=True)
    report.write_text("<p>better</p>")
    summary = {"verdict": "PASS", "trained": order.finished("train")["trained_tokens"]}
    tell.event(f"Evaluation: {json.dumps(summary)}")
    return {"summary": summary, "reports": [str(report)]}


STEPS: dict[str, Step] = {
    step.__name__: step for step in (validate, prepare, train, merge, evaluate)
}
