"""Splits rows into training, validation and test sets, so that no near duplicates are apart."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gateway.store.examples import Example, write_jsonl
from training.data import manifest
from training.data.alike import find_alike
from training.data.checks.labels import labels
from training.data.similarity import CLUSTER_THRESHOLD, Clusters
from training.data.source import Progress, SourceError, load, silent
from training.data.texts import collapsed

PARTS = ("train", "valid", "test")
# How much the size of a part counts beside the spread of each stratum over the parts, in rows.
_SIZE_WEIGHT = 1.0


class SplitError(ValueError):
    """The rows cannot be split as asked."""


def split(
    examples: Sequence[Example],
    shares: Mapping[str, float],
    *,
    seed: int,
    on_progress: Progress = silent,
) -> dict[str, list[Example]]:
    """Split rows by clusters of near duplicates, each label or slice spread alike where that goes.

    Args:
        examples: The rows.
        shares: Share of the rows for each part, from 0 up to 1, together 1.
        seed: The same rows, shares and seed give the same parts.
        on_progress: Told how the search for near duplicates goes.

    Returns:
        The rows of each part, in the order in which they came.

    Raises:
        SplitError: The shares are none, or there are fewer clusters than parts.
    """
    if any(share < 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-9:
        raise SplitError(f"shares must not be negative and add up to 1: {dict(shares)}")
    wanted = [part for part, share in shares.items() if share > 0]
    groups = clusters(examples, on_progress)
    if len(groups) < len(wanted):
        raise SplitError(
            f"{len(examples):,} rows make {len(groups)} clusters of near duplicates, "
            f"too few for {len(wanted)} parts"
        )
    random.Random(seed).shuffle(groups)  # noqa: S311 - no secret
    groups.sort(key=len, reverse=True)
    part_of: dict[int, str] = {}
    for group, part in zip(groups, _assign(groups, strata(examples), shares), strict=True):
        part_of |= dict.fromkeys(group, part)
    found: dict[str, list[Example]] = {part: [] for part in shares}
    for index, example in enumerate(examples):
        found[part_of[index]].append(example)
    for part in wanted:
        if not found[part]:
            raise SplitError(
                f"the share of `{part}` ({shares[part]:.1%} of {len(examples):,} rows) is too "
                "small for a row"
            )
    return found


def split_file(
    path: Path,
    out: Path,
    shares: Mapping[str, float],
    *,
    seed: int,
    on_progress: Progress = silent,
) -> manifest.Manifest:
    """Split a file into `<part>.jsonl` files and a manifest in a folder.

    Raises:
        SourceError: The file, or a row of it, cannot be read.
        SplitError: As `split`.
    """
    examples, errors = load(path, on_progress)
    if errors:
        more = f" (and {len(errors) - 1:,} more)" if len(errors) > 1 else ""
        raise SourceError(f"{path}, {errors[0]}{more}; `driftgate data check` names all")
    parts = split(examples, shares, seed=seed, on_progress=on_progress)
    out.mkdir(parents=True, exist_ok=True)
    records = []
    for part, rows in parts.items():
        file = out / f"{part}.jsonl"
        records.append(manifest.record(file, write_jsonl(file, rows)))
    made = manifest.Manifest(
        files=tuple(records),
        inputs=(manifest.record(path, len(examples), str(path)),),
        settings={"seed": seed, "shares": dict(shares), "alike": CLUSTER_THRESHOLD},
        time_range=manifest.time_range(examples),
    )
    made.write(out)
    return made


def clusters(examples: Sequence[Example], on_progress: Progress = silent) -> list[list[int]]:
    """Return the clusters of rows that ask the same or nearly the same, as sorted indices."""
    near = find_alike(examples, threshold=CLUSTER_THRESHOLD, on_progress=on_progress)
    joined = Clusters(len(examples))
    for rows in near.rows:
        for index in rows[1:]:
            joined.join(rows[0], index)
    for a, b, _ in near.near:
        joined.join(near.rows[a][0], near.rows[b][0])
    return joined.groups()


def strata(examples: Sequence[Example]) -> list[str]:
    """Return what each row is one of: its slice, and its label where the answers are labels."""
    closed = labels(examples) is not None
    return [f"{e.slice}\0{collapsed(e.answer) if closed else ''}" for e in examples]


def _assign(
    groups: Sequence[Sequence[int]], strata_of: Sequence[str], shares: Mapping[str, float]
) -> Iterator[str]:
    """Give each cluster to the part that lacks its rows most."""
    sizes = Counter(strata_of)
    parts = [part for part, share in shares.items() if share > 0]
    have: dict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    for group in groups:
        inside = Counter(strata_of[index] for index in group)

        def lack(part: str, inside: Counter[str] = inside) -> float:
            share = shares[part]
            of_strata = sum(
                count * (share * sizes[stratum] - have[part][stratum])
                for stratum, count in inside.items()
            )
            size = share * len(strata_of)
            return of_strata / inside.total() + _SIZE_WEIGHT * (size - total[part]) / size

        part = max(parts, key=lack)
        have[part] += inside
        total[part] += inside.total()
        yield part
