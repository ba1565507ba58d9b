"""How far raters agree: Krippendorff's alpha for names without an order.

Source: Klaus Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011),
https://repository.upenn.edu/handle/20.500.14332/2089, section C: any number of raters, of whom
each may have left items out.
"""

from collections import Counter
from collections.abc import Iterable, Sequence


def alpha(items: Iterable[Sequence[str]]) -> float | None:
    """Return Krippendorff's alpha: 1 is perfect agreement, 0 is that of chance, below 0 is worse.

    Args:
        items: What raters said of each item, in any order; an item that fewer than two rated
            tells nothing of agreement and is left out.

    Returns:
        None where no item has two ratings, or where everybody said the same of every item: then
        there is nothing that chance could have got wrong.
    """
    said: Counter[str] = Counter()
    disagreed = 0.0
    for ratings in items:
        if len(ratings) < 2:
            continue
        counts = Counter(ratings)
        said += counts
        pairs = len(ratings) ** 2 - sum(n * n for n in counts.values())
        disagreed += pairs / (len(ratings) - 1)
    total = sum(said.values())
    by_chance = total * total - sum(n * n for n in said.values())
    if not by_chance:
        return None
    return 1 - (total - 1) * disagreed / by_chance
