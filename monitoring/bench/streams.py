"""Streams of questions in which something changes at a window that is known.

Nothing is drawn twice within a stream, and no question of the reference comes again in it: a
detector that learns would recognise repeated rows, and alarm although nothing has changed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.bench.material import Material, Places

REFERENCE = 5000
BEFORE, AFTER = 2000, 4000
"""Requests before and after the change; the onset is the first window after it."""
_HELD_INTENTS = 8
_GROUP_INTENTS = 5
_GROUP_USUAL = 0.5


@dataclass(frozen=True, slots=True)
class Scenario:
    """What changes, and in which share of the requests after the onset.

    Attributes:
        name: Names it in the results.
        kind: null, topic, shares, language, or a kind of altered questions.
        share: Of the requests; for shares: how many times as often the group is asked for.
        title: Names it in the report.
    """

    name: str
    kind: str
    share: float
    title: str


NULL = Scenario("null", "null", 0.0, "nothing changes")
SCENARIOS = (
    NULL,
    Scenario("topic-2", "topic", 0.02, "new topic, 2 % of requests"),
    Scenario("topic-5", "topic", 0.05, "new topic, 5 %"),
    Scenario("topic-10", "topic", 0.10, "new topic, 10 %"),
    Scenario("topic-20", "topic", 0.20, "new topic, 20 %"),
    Scenario("shares", "shares", 3.0, "5 known intents, three times as often"),
    Scenario("language", "language", 0.10, "German, Spanish, French, 10 %"),
    Scenario("typos", "typos", 0.20, "typos, 20 %"),
    Scenario("paraphrase", "paraphrase", 0.20, "politer words, 20 % (benign)"),
    Scenario("length", "length", 0.20, "three times as long, 20 % (benign)"),
)


@dataclass(frozen=True)
class Stream:
    """One run: places in the material.

    Attributes:
        reference: Of what is usual.
        live: The requests, shape (windows, size).
        changed: Which of them are there because of the change, of the same shape.
        onset: The first window after the change; the null has one too, where nothing happens.
    """

    reference: Places
    live: Places
    changed: npt.NDArray[np.bool_]
    onset: int


def stream(
    material: Material, scenario: Scenario, size: int, seed: int, *, before: int = BEFORE,
    after: int = AFTER, reference: int = REFERENCE,
) -> Stream:  # fmt: skip
    """Return a stream; the same for the same seed.

    Args:
        material: What there is.
        scenario: What changes.
        size: Requests in a window.
        seed: Numbers the run. Null and changed streams of a seed hold other questions.
        before: Requests before the change.
        after: Requests after it.
        reference: Rows of the reference.

    Raises:
        ValueError: There are too few questions for that.
    """
    rng = np.random.default_rng((seed, *scenario.name.encode()))
    places = rng.permutation(material.plain)
    onset, total = before // size, (before + after) // size * size
    changed = np.arange(total) >= onset * size
    usual, unusual = places, places[:0]
    if scenario.kind == "topic":
        changed &= rng.random(total) < scenario.share
        held = _intents(material, rng, _HELD_INTENTS, int(changed.sum()))
        usual, unusual = _apart(material, places, held)
    elif scenario.kind == "shares":
        group = _intents(material, rng, _GROUP_INTENTS, 1)
        others, members = _apart(material, places, group)
        share = _GROUP_USUAL * len(members) / material.plain
        chosen = rng.random(reference) < share
        risen = np.where(changed, scenario.share, 1.0) * share
        changed = rng.random(total) < risen
        _enough(len(members), int(chosen.sum() + changed.sum()))
        _enough(len(others), int((~chosen).sum() + (~changed).sum()))
        kept = np.empty(reference, np.int64)
        kept[chosen], members = np.split(members, [int(chosen.sum())])[0], members[chosen.sum() :]
        kept[~chosen], others = others[: (~chosen).sum()], others[(~chosen).sum() :]
        return _made(kept, others, members, changed, size, onset)
    elif scenario.kind == "language":
        changed &= rng.random(total) < scenario.share
        unusual = rng.permutation(material.foreign)
        # Chance may draw a few more than there are.
        surplus = int(changed.sum()) - len(unusual)
        if surplus > 0:
            changed[rng.choice(np.flatnonzero(changed), surplus, replace=False)] = False
    elif scenario.kind != "null":
        forms = material.altered[scenario.kind]
        changed &= rng.random(total) < scenario.share
        unusual = rng.permutation(forms[forms >= 0])
        _enough(len(unusual), int(changed.sum()))
        # The question of an altered form is neither in the reference nor asked as it was.
        usual = places[~np.isin(forms[places], unusual[: int(changed.sum())])]
    else:
        changed &= False
    return _made(usual[:reference], usual[reference:], unusual, changed, size, onset)


def _made(
    reference: Places, usual: Places, unusual: Places, changed: npt.NDArray[np.bool_],
    size: int, onset: int,
) -> Stream:  # fmt: skip
    new = int(changed.sum())
    _enough(len(usual), changed.size - new)
    _enough(len(unusual), new)
    live = np.empty(changed.size, np.int64)
    live[changed], live[~changed] = unusual[:new], usual[: changed.size - new]
    return Stream(reference, live.reshape(-1, size), changed.reshape(-1, size), onset)


def _intents(
    material: Material, rng: np.random.Generator, count: int, least: int
) -> npt.NDArray[np.str_]:
    """Draw intents that have so many questions together."""
    names = np.unique(material.intents[: material.plain])
    if len(names) <= count:
        raise ValueError(f"{len(names)} intents are too few: more than {count} are needed")
    for _ in range(100):
        chosen = rng.choice(names, count, replace=False)
        if np.isin(material.intents[: material.plain], chosen).sum() >= least:
            return np.asarray(chosen)
    raise ValueError(f"no {count} intents have {least} questions together")


def _apart(
    material: Material, places: Places, intents: npt.NDArray[np.str_]
) -> tuple[Places, Places]:
    """Return the places of the other intents, and those of these."""
    chosen = np.isin(material.intents[places], intents)
    return places[~chosen], places[chosen]


def _enough(there: int, needed: int) -> None:
    if there < needed:
        raise ValueError(f"a stream needs {needed} questions of a kind, and there are {there}")
