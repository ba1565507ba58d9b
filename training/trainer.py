"""The trainer's process: reads a run's folder, trains, and writes the result last."""

import itertools
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from training import curve, run_report
from training.data.masking import TokenizerError, load_tokenizer, template_digest
from training.events import Event, EventLog, read
from training.lifeline import end_with_parent
from training.recipe import Recipe
from training.rows import RowsError, TokenRows, tokenise
from training.run import INTERRUPTED, TrainResult
from training.run_folder import RunError, RunFolder, digests, read_json, sha256, write_json

FAILED = 1


def main(path: Path) -> int:
    """Train the run in a folder and return the exit status."""
    folder = RunFolder(path)
    first = int(os.environ.get("RANK", "0")) == 0
    end_with_parent()
    try:
        if not first:
            return _work(folder, first)
        with folder.locked():
            return _work(folder, first)
    except (RunError, RowsError, TokenizerError, OSError) as error:
        return _fail(folder, str(error))
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        return _fail(
            folder,
            f"{str(error).splitlines()[0]} Lower `batch_size`, `max_length` or `lora.rank`, set "
            "`checkpointing` to true, or use `method: qlora`",
        )


def _work(folder: RunFolder, first: bool) -> int:
    call = read_json(folder.config)
    recipe = Recipe.model_validate(yaml.safe_load(folder.recipe.read_text("utf-8")))
    base = Path(call["base"])
    tokenizer = load_tokenizer(base)
    rows = _rows(Path(call["data"]), tokenizer, base, recipe)
    valid = _rows(Path(call["eval"]), tokenizer, base, recipe) if call["eval"] else None
    if first:
        _write_manifest(folder, call, tokenizer, rows, valid)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.path / "tensorboard")

    # Heavy: only once the rows are known to be of use.
    from training import qlora
    from training.watch import Watch

    watch = Watch(folder)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watch.interrupt())
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    qlora.fit(folder, base, recipe, tokenizer, rows, valid, watch, rank)
    if first:
        finish(folder, recipe, complete=not watch.interrupted)
    return INTERRUPTED if watch.interrupted else 0


def finish(folder: RunFolder, recipe: Recipe, *, complete: bool) -> None:
    """Write chart and page of what was trained so far, and the result if it is complete."""
    events = read(folder.metrics)
    summary = summarise(folder, events)
    if complete:
        EventLog(folder.metrics).add("finished", summary.steps, summary.total)
    curve.save_png(events, folder.chart)
    manifest = read_json(folder.manifest)
    page = run_report.render(summary, recipe, events, manifest, complete=complete)
    folder.report.write_text(page, "utf-8")
    if complete:
        write_json(folder.result, summary.as_dict())


def summarise(folder: RunFolder, events: Sequence[Event]) -> TrainResult:
    """Return what the events of a run add up to."""
    checks = [(e.eval_loss, e.step) for e in events if e.eval_loss is not None]
    losses = [e.loss for e in events if e.loss is not None]
    speeds = [e.tokens_per_s for e in events if e.tokens_per_s]
    last = events[-1]
    best_loss, best_step = min(checks, default=(None, last.step))
    return TrainResult(
        run=folder.path,
        adapter=folder.adapter,
        steps=max(event.step for event in events),
        total=last.total,
        best_step=best_step,
        loss=losses[-1] if losses else None,
        first_eval_loss=checks[0][0] if checks else None,
        eval_loss=best_loss,
        seconds=round(_busy_s(events), 1),
        tokens_per_s=round(sum(speeds) / len(speeds), 1) if speeds else None,
        memory=max((event.memory or 0 for event in events), default=0),
        warnings=tuple(curve.judge(events)),
    )


def _busy_s(events: Sequence[Event]) -> float:
    """Return the seconds between events, the time between two processes left out."""
    pairs = itertools.pairwise(events)
    return sum(after.time - before.time for before, after in pairs if after.kind != "started")


def _rows(path: Path, tokenizer: Any, base: Path, recipe: Recipe) -> TokenRows:
    return tokenise(
        path,
        tokenizer,
        base,
        max_length=recipe.max_length,
        drop_long=recipe.too_long == "drop",
    )


def _write_manifest(
    folder: RunFolder,
    call: dict[str, Any],
    tokenizer: Any,
    rows: TokenRows,
    valid: TokenRows | None,
) -> None:
    """Write what the run is made of; a resumed run must be made of the same.

    Raises:
        RunError: The base or the rows have changed since the run began.
    """
    manifest: dict[str, Any] = {
        "base": {
            "path": call["base"],
            "digests": digests(Path(call["base"])),
            "chat_template": template_digest(tokenizer),
        },
        "train": {"path": call["data"], "sha256": sha256(Path(call["data"]))} | rows.counts(),
        "eval": None,
        "data_manifest": None,
    }
    if valid is not None:
        path = Path(call["eval"])
        manifest["eval"] = {"path": call["eval"], "sha256": sha256(path)} | valid.counts()
    if call["data_manifest"]:
        path = Path(call["data_manifest"])
        manifest["data_manifest"] = {"path": str(path), "sha256": sha256(path)}
    if folder.manifest.exists():
        before = read_json(folder.manifest)
        changed = [name for name, value in manifest.items() if before.get(name) != value]
        if changed:
            raise RunError(f"{', '.join(changed)} changed since the run began; begin a new one")
    write_json(folder.manifest, manifest)


def _fail(folder: RunFolder, message: str) -> int:
    print(message, file=sys.stderr)
    write_json(folder.path / "failure.json", {"message": message})
    return FAILED
