"""What is asked now and was hardly asked in the reference, told apart from noise.

Half of the recent prompts look for crowds: prompts that have nearer neighbours among themselves
than in as many prompts of the reference. Near ones make a cluster. The other half, which had no
say in where the clusters lie, is counted: how many of it, and how many of the reference, lie within
the cluster's radius? That takes in nine tenths of its members, and reaches on while hardly any
prompt of the reference is inside. Both counts decide in a binomial test (given their sum, the
recent count is binomial with the recent share of all rows), at 1 % over all clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.topics.clusters import Numbers, Vectors, groups, unit
from monitoring.topics.naming import Topic, Vocabulary, examples

ALPHA = 0.01
_SEED = 11
_NEIGHBOURS = 3
_LEAST_ROWS = 40
_LEAST_MEMBERS = 3
_CROWDED = 0.9  # quantile of the reference's own crowdedness
_MEMBERS = 0.9  # share of a cluster's rows that its radius takes in
_ALONE = 0.997  # share of the reference outside a radius that reaches beyond the members
_SAME = 0.3  # of a cluster's rows in another: the two are one


@dataclass(frozen=True, slots=True)
class Emerging:
    """A topic that is new, or has grown.

    Attributes:
        topic: As people see it; its share is that of the recent prompts.
        rows: Which of the recent prompts belong to it.
        p: How likely so many, or more, would be by chance; corrected for the number of topics.
    """

    topic: Topic
    rows: tuple[int, ...]
    p: float

    def sentence(self) -> str:
        """Return it in words, such as `new: apple pay, watch: 14 % of traffic (0.1 % before)`."""
        kind = "new" if self.topic.id.startswith("new-") else "more often"
        before = f"{self.topic.reference_share:.1%} before"
        return f"{kind}: {self.topic.label}: {self.topic.share:.0%} of traffic ({before})"


def crowds(
    reference: Vectors, distance: float, vocabulary: Vocabulary, recent: Vectors,
    texts: Sequence[str],
) -> list[Emerging]:  # fmt: skip
    """Return the new topics of recent prompts, the largest first.

    Args:
        reference: Unit vectors of the reference, shape (m, d).
        distance: Mean cosine distance of two prompts of one topic.
        vocabulary: Terms of the reference, to name by contrast.
        recent: Unit vectors of recent prompts, shape (n, d), all finite.
        texts: The prompts.
    """
    if len(recent) < _LEAST_ROWS or len(reference) < _LEAST_ROWS:
        return []
    rng = np.random.default_rng(_SEED)
    order = rng.permutation(len(recent))
    seeking, counting = recent[order[::2]], recent[order[1::2]]
    found = _found(reference, seeking, distance, rng)
    taken = np.zeros(len(recent), bool)
    new: list[Emerging] = []
    tested = []
    for members in found:
        middle = unit(members.mean(axis=0, keepdims=True))[0]
        usual = reference @ middle
        radius = min(np.quantile(members @ middle, 1 - _MEMBERS), np.quantile(usual, _ALONE))
        now = int((counting @ middle >= radius).sum())
        before = int((usual >= radius).sum())
        p = min(1.0, risen(now, len(counting), before, len(reference)) * len(found))
        tested.append((p, -now, before, radius, middle))
    for p, _, before, radius, middle in sorted(tested, key=lambda each: each[:3]):
        nearness = recent @ middle
        inside = nearness >= radius
        if p > ALPHA or (inside & taken).sum() > _SAME * inside.sum():
            continue
        rows = np.flatnonzero(inside & ~taken)
        share = float((inside & ~taken)[order[1::2]].mean())
        taken |= inside
        own = [texts[row] for row in rows]
        topic = Topic(
            id=f"new-{len(new) + 1}",
            label=vocabulary.label(own),
            share=share,
            reference_share=before / len(reference),
            loss=None,
            examples=examples(own, nearness[rows]),
        )
        new.append(Emerging(topic, tuple(map(int, rows)), p))
    return sorted(new, key=lambda each: -each.topic.share)


def risen(now: int, of_now: int, before: int, of_before: int) -> float:
    """Return how likely `now` or more of `of_now` would be, were the share as before."""
    from scipy.stats import binom

    if not of_now or not of_before:
        return 1.0
    return float(binom.sf(now - 1, now + before, of_now / (of_now + of_before)))


def _found(
    reference: Vectors, seeking: Vectors, distance: float, rng: np.random.Generator
) -> list[Vectors]:
    """Return the clusters of crowded rows."""
    count = min(len(seeking), len(reference) // 2)
    drawn = reference[rng.permutation(len(reference))[: 2 * count]]
    mirror, compared = drawn[:count], drawn[count:]
    usual = _inside(mirror) - _nearest(mirror @ compared.T)
    crowded = _inside(seeking) - _nearest(seeking @ compared.T)
    rows = seeking[crowded > np.quantile(usual, _CROWDED)]
    ids: Numbers = groups(rows, distance)
    clusters = [rows[ids == each] for each in np.unique(ids)]
    return [cluster for cluster in clusters if len(cluster) >= _LEAST_MEMBERS]


def _inside(vectors: Vectors) -> npt.NDArray[np.float32]:
    """Return how near each row's nearest others are."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -1.0)
    return _nearest(similar)


def _nearest(similar: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    count = min(_NEIGHBOURS, similar.shape[1])
    return np.partition(similar, -count, axis=1)[:, -count:].mean(axis=1)  # type: ignore[no-any-return]
