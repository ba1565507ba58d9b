"""Answers that are one of a few labels: how the rows are spread over them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median

from gateway.store.examples import Example
from training.data.findings import Finding
from training.data.texts import canonical_json, collapsed

CHECK = "label_balance"
_MOST_LABELS = 200
_LEAST_ROWS_A_LABEL = 5
_LEAST_ROWS = 20
_LONGEST = 80
_TOO_MUCH = 10.0
_RARE = 3


def labels(examples: Sequence[Example]) -> Counter[str] | None:
    """Return the rows of each label, or None where the answers are no closed set of labels.

    They are one where there are few different answers, all short, each given five times or more
    on average, and none of them is JSON.
    """
    answers = Counter(collapsed(example.answer) for example in examples)
    few = len(answers) <= min(_MOST_LABELS, len(examples) / _LEAST_ROWS_A_LABEL)
    if len(examples) < _LEAST_ROWS or not few or len(answers) < 2:
        return None
    if any(len(answer) > _LONGEST or canonical_json(answer) for answer in answers):
        return None
    return answers


def balance(counted: Counter[str] | None) -> Iterator[Finding]:
    """Say how the labels are spread; warn of labels with too many or hardly any rows."""
    if counted is None:
        return
    ranked = counted.most_common()
    (most, largest), (least, smallest) = ranked[0], ranked[-1]
    middle = median(counted.values())
    reason = (
        f"{len(counted)} labels; most rows: `{most}` {largest:,} "
        f"({largest / counted.total():.1%}), fewest: `{least}` {smallest:,}"
    )
    yield Finding(0, CHECK, "info", reason)
    if largest > _TOO_MUCH * middle or (len(counted) < 5 and largest > 0.9 * counted.total()):
        reason = f"`{most}` has {largest:,} of {counted.total():,} rows: the others may be unlearnt"
        yield Finding(0, CHECK, "warning", reason)
    rare = sorted(label for label, count in counted.items() if count < _RARE)
    if rare:
        names = ", ".join(f"`{label}`" for label in rare[:5])
        more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
        reason = f"labels with fewer than {_RARE} rows, or misspelt ones: {names}{more}"
        yield Finding(0, CHECK, "warning", reason)
