"""The data set of a retraining: what people corrected, beside enough of what was known before.

<folder>/
    train.jsonl         new rows and answers that were liked, and a replay of the release's own rows
    held_out.jsonl      what the gates are decided on, by slice: `new`, `old`, `golden`
    quarantine.jsonl    what was proposed and may not be learnt, with the reasons
    manifest.json
"""

import os
import random
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from gateway.store.examples import Example, write_jsonl
from training.data import manifest, poison, quarantine
from training.data.collecting import GOLDEN, Collected, as_rows
from training.data.curation import Rules
from training.data.source import Progress, silent
from training.data.split import clusters

NEW, OLD = "new", "old"
"""The slices of what drifted and of what was known before; `GOLDEN` must be right in any case."""
TRAIN, HELD_OUT = "train.jsonl", "held_out.jsonl"
DECISIVE = 5
"""So many cases can show a gain, if each of them is one: 2 ** -5 < 0.05, and 2 ** -4 is not."""
_LEAST_CASES = 8  # where there are rows for them: three may be no gain


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows are shared out.

    Args:
        held_out: Share of the rows that the gates are decided on; of few rows up to a half, since
            less could decide nothing.
        cases: Most of these.
        replay: Most of the release's own rows, as a share of the rows trained on.
        key_share: Most rows of one key, as a share of the same.
        seed: The same rows, shape and seed give the same files.
    """

    held_out: float
    cases: int
    replay: float
    key_share: float
    seed: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """The data set: its folder, and how many rows are in each part of it."""

    folder: Path
    new: int
    train: Mapping[str, int]
    held_out: Mapping[str, int]
    set_aside: int
    filters: Mapping[str, int]


def renew(
    collected: Collected, rules: Rules, shape: Shape, out: Path, on_progress: Progress = silent
) -> Renewal:
    """Make the data set; the folder appears whole, and one that is there already is made anew.

    Raises:
        OSError: It cannot be written.
    """
    chance = random.Random(shape.seed)  # noqa: S311 - no secret
    parent = collected.parent
    fresh = poison.capped(
        [*collected.new, *collected.good],
        shape.key_share,
        rules.trusted,
        lambda kept: _replayed(kept, len(parent.train), shape.replay),
    )
    over = len(collected.new) + len(collected.good) - len(fresh)
    named = {id(row) for row in collected.new}
    new = [row for row in fresh if id(row) in named]
    good = [row for row in fresh if id(row) not in named]
    golden = as_rows(collected.golden)
    most = {name: max(1, shape.cases // 2) for name in (NEW, OLD)}
    vouched = {row.source for row in new if rules.enough(collected.sources.get(row.source, ()))}
    exam = _held_out(new, vouched, shape, most[NEW], rules.trusted, chance, on_progress)
    known = list(parent.valid) or _held_out(
        good, {row.source for row in good}, shape, most[OLD], rules.trusted, chance, on_progress
    )
    old = chance.sample(known, min(len(known), most[OLD]))
    kept_back = {id(row) for row in (*exam, *known)}
    learnt = [row for row in new if id(row) not in kept_back]
    liked = [row for row in good if id(row) not in kept_back]
    replayed = _replayed(len(learnt) + len(liked), len(parent.train), shape.replay)
    replay = chance.sample(list(parent.train), replayed)
    parts = {
        TRAIN: [*_sliced(learnt, NEW), *_sliced(liked, OLD), *_sliced(replay, OLD)],
        HELD_OUT: [*_sliced(exam, NEW), *_sliced(old, OLD), *_sliced(golden, GOLDEN)],
    }
    chance.shuffle(parts[TRAIN])
    filters = dict(collected.filters) | {"over_key_share": over, "replayed": replayed}
    _write(out, parts, collected, filters, shape, rules)
    return Renewal(
        out,
        len(new),
        Counter(row.slice for row in parts[TRAIN]),
        Counter(row.slice for row in parts[HELD_OUT]),
        len(collected.set_aside),
        filters,
    )


def _replayed(fresh: int, available: int, share: float) -> int:
    """Return how many known rows go beside fresh ones, so that they are at most a share of all."""
    return min(available, int(fresh * share / (1 - share)))


def _held_out(
    rows: Sequence[Example],
    vouched: Collection[str],
    shape: Shape,
    most: int,
    trusted: Collection[str],
    chance: random.Random,
    on_progress: Progress,
) -> list[Example]:
    """Choose the exam: whole clusters of near duplicates, rows that several keys agree on first.

    Whoever poisons would else write the exam too: of the rows of a single key no more than its
    share is in it.
    """
    least = min(_LEAST_CASES, len(rows) // 2)
    target = min(most, max(least, round(len(rows) * shape.held_out)))
    groups = clusters(rows, on_progress) if rows else []
    chance.shuffle(groups)
    groups.sort(key=lambda group: not all(rows[n].source in vouched for n in group))
    allowed = max(1, int(shape.key_share * target))
    given: Counter[str] = Counter()
    chosen: list[Example] = []
    for group in groups:
        if len(chosen) >= target:
            break
        alone = Counter(
            rows[n].contributor
            for n in group
            if rows[n].source not in vouched and rows[n].contributor not in trusted
        )
        if any(given[key] + count > allowed for key, count in alone.items()):
            continue
        given += alone
        chosen += [rows[n] for n in group]
    return chosen


def _sliced(rows: Iterable[Example], name: str) -> list[Example]:
    return [replace(row, slice=name) for row in rows]


def _write(
    out: Path,
    parts: Mapping[str, Sequence[Example]],
    collected: Collected,
    filters: Mapping[str, int],
    shape: Shape,
    rules: Rules,
) -> None:
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    records = [
        manifest.record(partial / name, write_jsonl(partial / name, rows))
        for name, rows in parts.items()
    ]
    _set_aside(partial / quarantine.NAME, collected.set_aside)
    records.append(manifest.record(partial / quarantine.NAME, len(collected.set_aside)))
    settings = asdict(shape) | asdict(rules) | {"trusted": list(rules.trusted)}
    manifest.Manifest(
        files=tuple(records),
        filters=dict(sorted(filters.items())),
        settings=settings | {"release": collected.parent.release},
        time_range=manifest.time_range(parts[TRAIN]),
    ).write(partial)
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)


def _set_aside(path: Path, rows: Sequence[tuple[Example, str]]) -> None:
    # For this user alone: secrets are among the reasons.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for row, reason in rows:
            file.write(msgspec.json.encode(row.as_dict() | {"quarantined": [reason]}) + b"\n")
