"""From the store to a curated data set: rows, quarantine and manifest in one folder."""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import sqlalchemy as sa

from gateway.store.database import Database, StoreError
from gateway.store.examples import write_jsonl
from training.data import findings, manifest, quarantine
from training.data.checks.personal import personal
from training.data.checks.secrets import secrets
from training.data.curation import Rules, curate
from training.data.manifest import Manifest
from training.data.source import Progress, silent
from training.data.stored import judged

ROWS = "curated.jsonl"


def harvest(
    url: str,
    out: Path,
    rules: Rules,
    *,
    model: str | None = None,
    since: float | None = None,
    until: float | None = None,
    on_progress: Progress = silent,
) -> Manifest:
    """Curate the answers of a store.

    Args:
        url: SQLAlchemy URL of the store.
        out: Folder for `curated.jsonl`, `quarantine.jsonl` and `manifest.json`.
        rules: What becomes a row.
        model: Only answers of this alias or release.
        since: Only answers from this time on, in Unix seconds.
        until: Only answers before this time, in Unix seconds.
        on_progress: Told how far it is.

    Raises:
        StoreError: There is no such store, or it cannot be read.
    """
    database = _open(url)
    unread: Counter[str] = Counter()
    try:
        answers = judged(
            database, unread, model=model, since=since, until=until, on_progress=on_progress
        )
        curated = curate(answers, rules)
    finally:
        database.close()
    rows = [replace(row, line=line) for line, row in enumerate(curated.examples, 1)]
    found = [*secrets(rows, on_progress), *personal(rows, on_progress)]
    aside = findings.lines_to("quarantine", found)
    kept = [row for row in rows if row.line not in aside]
    out.mkdir(parents=True, exist_ok=True)
    records = [manifest.record(out / ROWS, write_jsonl(out / ROWS, kept))]
    count = quarantine.write(out / quarantine.NAME, rows, found)
    records.append(manifest.record(out / quarantine.NAME, count))
    filters = dict(unread) | curated.filters | {"quarantined": count}
    chosen = {"model": model, "since": since, "until": until}
    made = Manifest(
        files=tuple(records),
        filters=dict(sorted(filters.items())),
        settings=asdict(rules)
        | {"trusted": list(rules.trusted)}  # as JSON has it
        | {name: v for name, v in chosen.items() if v is not None},
        time_range=manifest.time_range(kept),
    )
    made.write(out)
    return made


def _open(url: str) -> Database:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        parsed = None  # its error below does not show the password
    file = parsed.database if parsed and parsed.get_backend_name() == "sqlite" else None
    if file and file != ":memory:" and not Path(file).is_file():
        # Opening would make an empty one, which holds nothing to curate.
        raise StoreError(f"{file}: there is no such store")
    database = Database(url)
    database.migrate()
    return database
