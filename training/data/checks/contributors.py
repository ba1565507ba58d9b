"""Who the rows come from: one who gives most of them decides what the model says."""

from collections import Counter
from collections.abc import Iterable, Iterator

from gateway.store.examples import Example
from training.data.findings import Finding

CHECK = "contributor"
_TOO_MUCH = 0.5


def contributors(examples: Iterable[Example]) -> Counter[str]:
    """Return how many rows each contributor gave; an empty name is unknown."""
    return Counter(example.contributor for example in examples)


def shares(counted: Counter[str]) -> Iterator[Finding]:
    """Say how much each contributor gave; warn where one of several gave most."""
    total = counted.total()
    named = Counter({name: n for name, n in counted.items() if name})
    if not named:
        return
    largest, count = named.most_common(1)[0]
    parts = ", ".join(f"{name} {n / total:.1%}" for name, n in named.most_common(5))
    yield Finding(0, CHECK, "info", f"{len(named):,} named: {parts}")
    if len(counted) > 1 and count > _TOO_MUCH * total:
        reason = f"{largest} gave {count / total:.1%} of all rows"
        yield Finding(0, CHECK, "warning", reason)
