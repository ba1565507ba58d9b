"""The last step of a job: the merged model becomes a release that engines can serve.

Each part of it may be done again: a step that was killed half-way is run anew.
"""

import csv
import hashlib
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.store.database import Database
from gateway.store.files import Files, StoredFile
from gateway.store.job_events import JobEvents
from gateway.store.releases import Release, Releases, Target, release_id
from training import integrity
from training.certificate import attempt
from training.order import Order

_MANIFEST = "driftgate.json"  # as pulled models have it, so that `driftgate models list` shows it
_RESULTS = "fine-tune-results"


def register(order: Order, database: Database, files: Files) -> dict[str, Any]:
    """Move the model to the others, register its release, point the alias at it.

    Returns:
        What the job ends with: fine_tuned_model, trained_tokens, result_files.

    Raises:
        OSError: The model cannot be moved.
        StoreError: The store is away.
    """
    merged, trained = order.finished("merge"), order.finished("train")
    digests: dict[str, str] = merged["digests"]
    name = f"{order.base_model}-{order.suffix or 'tuned'}".lower()
    release = Release(
        id=release_id(name[:190], digests),
        model=order.base_model,
        revision=order.base_revision,
        path="",
        digests=digests,
        created_at=time.time(),
        source=f"job:{order.job}",
        base_release=order.base_release,
        dataset=order.finished("prepare").get("manifest_sha256"),
        adapter_path=trained.get("adapter"),
        recipe=trained.get("recipe"),
        evaluation=order.finished("evaluate").get("summary"),
        trigger="fine_tuning_api" if order.request is None else f"retraining:{order.request}",
        job=order.job,
    )
    path = _moved(Path(merged["model"]), order.models_dir / release.id, release)
    if "integrity" in merged:
        whole = integrity.unchanged(path, digests)
        if not whole.right:
            raise OSError(f"{path}: {whole.seen}")
    releases = Releases(database)
    releases.register(replace(release, path=str(path)))
    untold = attempt(database, order.folder.parents[1], release.id)
    if untold is not None:
        JobEvents(database).add(order.job, untold, level="warn")
    if order.alias is not None:
        releases.point(order.alias, [Target(release.id, 1.0, "live")])
    return {
        "fine_tuned_model": release.id,
        "trained_tokens": trained.get("trained_tokens"),
        "result_files": _result_files(order, JobEvents(database), files),
    }


def _moved(merged: Path, target: Path, release: Release) -> Path:
    """Move the folder; one that is there already is the same model, for the id is its digests'."""
    target = target.absolute()
    if target.exists():
        return target
    manifest = {
        "name": release.id,
        "path": None,
        "source": release.source,
        "revision": release.revision,
        "digests": release.digests,
    }
    (merged / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")  # the folder may be on another disk
    shutil.rmtree(partial, ignore_errors=True)
    shutil.move(merged, partial)
    partial.replace(target)
    return target


def _result_files(order: Order, events: JobEvents, files: Files) -> list[str]:
    """Keep the metrics as CSV, and the reports that steps name, as files of the job's owner."""
    metrics = order.folder / "step_metrics.csv"
    _write_metrics(metrics, order.job, events)
    steps = [order.finished(step) for step in ("prepare", "train", "evaluate")]
    reports = [Path(path) for result in steps for path in result.get("reports", [])]
    return [_keep(order, path, files) for path in [metrics, *reports] if path.is_file()]


def _keep(order: Order, path: Path, files: Files) -> str:
    named = f"{order.job}/{path.relative_to(order.folder)}"
    # The same each time, so that a step that is run again keeps nothing twice.
    id = f"file-{hashlib.sha256(named.encode()).hexdigest()[:24]}"
    if files.get(id) is None:
        partial = files.partial()
        shutil.copyfile(path, partial)
        partial.chmod(0o600)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        filename = "_".join(path.relative_to(order.folder).parts)
        files.add(
            StoredFile(
                id, order.owner, time.time(), filename, _RESULTS, len(content), digest, None
            ),
            partial,
        )
    return id


def _write_metrics(path: Path, job: str, events: JobEvents) -> None:
    # By their step: one that was made again after a crash, or is told of twice, is one row.
    rows: dict[Any, dict[str, Any]] = {}
    after, more = None, True
    while more:
        page, more = events.page(job, after=after, limit=1000, ascending=True)
        for data in (event.data for event in page if event.data is not None):
            rows[data.get("step")] = rows.get(data.get("step"), {}) | data
        after = page[-1].id if page else None
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows.values())
