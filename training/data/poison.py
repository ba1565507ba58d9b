"""Limits that keep a few keys from deciding what the model learns.

- An answer that contradicts what the release was trained on, or what another key says to the same
  or nearly the same question, needs the sources of a changed answer; else it is set aside.
- The rows of one key are at most a share of all rows that are trained on.

Near questions count, since whoever poisons would only have to change a word. What is set aside by
mistake waits for a second source; it is not lost.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.store.examples import Example
from training.data.alike import Alike, find_alike
from training.data.answers import compare, shown
from training.data.curation import Rules
from training.data.source import Progress, silent

# Compares a row with this many others at most.
_MOST = 50


@dataclass(frozen=True, slots=True)
class Checked:
    """New rows beside what is known.

    Args:
        kept: Rows that may be learnt, in their order.
        known_already: How many of them the release was trained on, with the same answer.
        set_aside: Rows that need another source, with the reason.
        superseded: Indices of known rows whose answer has changed, as enough sources say.
    """

    kept: tuple[Example, ...]
    known_already: int
    set_aside: tuple[tuple[Example, str], ...]
    superseded: frozenset[int]


def check(
    rows: Sequence[Example],
    sources: Mapping[str, Collection[str]],
    known: Sequence[Example],
    rules: Rules,
    on_progress: Progress = silent,
) -> Checked:
    """Hold new rows against what is known, and against each other.

    Args:
        rows: The new rows.
        sources: The keys that stand behind each, by its `source`.
        known: Rows that the release was trained or judged on.
        rules: How many sources an answer needs.
        on_progress: Told how the search for near questions goes.
    """
    alike = find_alike(rows, known, on_progress=on_progress)
    near = _near(alike)
    kept, aside = [], []
    superseded: set[int] = set()
    repeated = 0
    for group, indices in enumerate(alike.rows):
        for index in indices:
            row = rows[index]
            same = [k for k in alike.held_out[group] if not _clash(row, known[k])]
            changed = [k for k in alike.held_out[group] if _clash(row, known[k])]
            if same and not changed:
                repeated += 1
                continue
            reason = _against(row, rows, sources, known, alike, (group, *near[group]))
            if reason is not None and not rules.enough(sources.get(row.source, ())):
                aside.append((row, reason))
                continue
            kept.append(index)
            superseded.update(changed)
    return Checked(
        tuple(rows[index] for index in sorted(kept)), repeated, tuple(aside), frozenset(superseded)
    )


def capped(
    rows: Sequence[Example],
    share: float,
    trusted: Collection[str],
    beside: Callable[[int], int],
) -> list[Example]:
    """Keep so many of each key's newest rows that none has more than a share of all.

    Args:
        rows: New rows, whose `contributor` is their key.
        share: Of all rows that are trained on, from 0 to 1.
        trusted: Keys without a limit.
        beside: How many other rows are trained on beside so many of these.
    """
    counts = Counter(row.contributor for row in rows if row.contributor not in trusted)
    free = sum(row.contributor in trusted for row in rows)
    most = max(counts.values(), default=0)
    while most:
        kept = free + sum(min(count, most) for count in counts.values())
        if most <= share * (kept + beside(kept)):
            break
        most -= 1
    given: Counter[str] = Counter()
    chosen = []
    for index in sorted(range(len(rows)), key=lambda i: -(rows[i].created_at or 0.0)):
        row = rows[index]
        given[row.contributor] += 1
        if row.contributor in trusted or given[row.contributor] <= most:
            chosen.append(index)
    return [rows[index] for index in sorted(chosen)]


def _against(
    row: Example,
    rows: Sequence[Example],
    sources: Mapping[str, Collection[str]],
    known: Sequence[Example],
    alike: Alike,
    groups: Sequence[int],
) -> str | None:
    """Return what contradicts a row, or None."""
    mine = set(sources.get(row.source, ()))
    for group in groups:
        for index in alike.held_out[group][:_MOST]:
            if _clash(row, known[index]):
                return (
                    f"answers {shown(row.answer)} where the release was trained on "
                    f"{shown(known[index].answer)}, and too few keys say so"
                )
        for index in alike.rows[group][:_MOST]:
            other = rows[index]
            if not set(sources.get(other.source, ())) <= mine and _clash(row, other):
                return (
                    f"answers {shown(row.answer)} where another key says {shown(other.answer)}, "
                    "and too few keys say so"
                )
    return None


def _clash(one: Example, other: Example) -> bool:
    return compare(one.answer, other.answer) == "incompatible"


def _near(alike: Alike) -> Mapping[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for one, other in _pairs(alike):
        found[one].append(other)
    return found


def _pairs(alike: Alike) -> Iterator[tuple[int, int]]:
    for one, other, _ in alike.near:
        yield one, other
        yield other, one
