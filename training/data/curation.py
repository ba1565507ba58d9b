"""Turns what people said of answers into training rows.

A correction becomes an example once two sources agree on it, a well-scored answer at once. Caps per
key keep one application from deciding what the model learns. What does not become one although
somebody proposed it is set aside with the reason.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from gateway.store.examples import Example
from gateway.store.feedback import Feedback
from training.data.texts import canonical_json, context, normalised

ANONYMOUS = "anonymous"  # callers of a gateway without keys: all of them are one source


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes an example.

    Args:
        least_score: Mean score, from 0 to 1, from which an answer is good.
        cap: Most examples of one key.
        sources: Different keys that must agree on a changed answer.
        uncontested: How many must where nobody says or likes another answer; None: as many.
        trusted: Keys that are enough alone, and have no cap: those of the operator.
    """

    least_score: float = 0.8
    cap: int = 500
    sources: int = 2
    uncontested: int | None = None
    trusted: tuple[str, ...] = ()

    def enough(self, sources: Collection[str], *, contested: bool = True) -> bool:
        """Return whether an answer that these keys give may be learnt."""
        needed = self.sources
        if not contested and self.uncontested is not None:
            needed = self.uncontested
        return len(sources) >= needed or not set(self.trusted).isdisjoint(sources)


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer that was given, as an example, and what was said of it.

    Args:
        example: The conversation with the answer; its `source` is the completion's id.
        feedback: All feedback on it.
        complete: Whether the answer ended by itself.
        grounded: Whether it was given from documents.
    """

    example: Example
    feedback: tuple[Feedback, ...]
    complete: bool = True
    grounded: bool = False


@dataclass(frozen=True, slots=True)
class Curated:
    """What curation found.

    Args:
        examples: What may be learnt, oldest first.
        filters: What became of everything else, by filter.
        sources: The keys that stand behind each example, by its `source`.
        set_aside: What was proposed and may not be learnt, with the reason.
        grounded: The `source` of examples whose answer was given from documents.
    """

    examples: tuple[Example, ...]
    filters: dict[str, int]
    sources: dict[str, frozenset[str]] = field(default_factory=dict)
    set_aside: tuple[tuple[Example, str], ...] = ()
    grounded: frozenset[str] = frozenset()


def curate(judged: Iterable[Judged], rules: Rules) -> Curated:
    """Choose examples among answers by the feedback on them."""
    filters: Counter[str] = Counter()
    groups: dict[str, list[Judged]] = defaultdict(list)
    grounded: set[str] = set()
    for answer in judged:
        filters["answers"] += 1
        if answer.grounded:
            grounded.add(answer.example.source)
        if any(f.correction is not None or f.score is not None for f in answer.feedback):
            groups[context(answer.example)].append(answer)
        else:
            filters["without_score_or_correction"] += 1
    aside: list[tuple[Example, str]] = []
    chosen = [each for group in groups.values() for each in _choose(group, rules, filters, aside)]
    capped = _cap([example for example, _ in chosen], rules)
    filters["over_cap"] += len(chosen) - len(capped)
    for example in capped:
        filters[f"kept_{example.source.split(':')[0]}s"] += 1
    sources = {example.source: keys for example, keys in chosen}
    return Curated(
        tuple(capped),
        dict(sorted(filters.items())),
        sources,
        tuple(aside),
        frozenset(e.source for e in capped if e.source.split(":")[-1] in grounded),
    )


def _choose(
    group: Sequence[Judged],
    rules: Rules,
    filters: Counter[str],
    aside: list[tuple[Example, str]],
) -> list[tuple[Example, frozenset[str]]]:
    """Choose the example of one question, with the keys behind it, or none."""
    good = [answer for answer in group if _is_good(answer, rules, filters)]
    proposed = _proposals(group)
    for answer in good:  # who likes an answer that somebody else proposes is a source for it
        key = _key(answer.example.answer)
        if key in proposed:
            proposed[key].sources.update(_likers(answer, rules))
    contested = len(proposed) > 1 or any(_key(a.example.answer) not in proposed for a in good)
    agreed = {key: p for key, p in proposed.items() if rules.enough(p.sources, contested=contested)}
    if len(agreed) > 1:
        filters["conflicting_corrections"] += sum(len(p.sources) for p in agreed.values())
        why = f"{len(agreed)} corrections contradict each other, and each has its sources"
        aside += [(p.example, why) for p in proposed.values()]
        return []
    filters["too_few_sources"] += len(proposed) - len(agreed)
    for key, proposal in proposed.items():
        if key not in agreed:
            aside.append((proposal.example, _too_few(proposal.sources, contested)))
    if agreed:
        filters["overruled_answers"] += sum(_key(a.example.answer) not in agreed for a in good)
        chosen = next(iter(agreed.values()))
        return [(chosen.example, frozenset(chosen.sources))]
    if proposed and good:
        filters["disputed_answers"] += len(good)
        return []
    distinct = {_key(answer.example.answer): answer.example for answer in reversed(good)}
    filters["duplicates"] += len(good) - len(distinct)
    likers: dict[str, set[str]] = defaultdict(set)
    for answer in good:
        likers[_key(answer.example.answer)] |= _likers(answer, rules)
    return [
        (replace(example, source=f"good_answer:{example.source}"), frozenset(likers[key]))
        for key, example in distinct.items()
    ]


def _too_few(sources: Collection[str], contested: bool) -> str:
    said = "1 key says so" if len(sources) == 1 else f"{len(sources)} keys say so"
    return f"only {said}, and " + (
        "another answer is given to the same question" if contested else "more must agree"
    )


@dataclass(slots=True)
class _Proposal:
    example: Example
    sources: set[str]


def _proposals(group: Sequence[Judged]) -> dict[str, _Proposal]:
    """Return the corrections to one question by their answer, each with who proposed it."""
    found: dict[str, _Proposal] = {}
    said = [(f, answer.example) for answer in group for f in answer.feedback]
    for feedback, example in sorted(said, key=lambda pair: (pair[0].created_at, pair[0].id)):
        if feedback.correction is None or not feedback.correction.strip():
            continue
        source = feedback.key_prefix or ANONYMOUS
        last = replace(example.messages[-1], content=feedback.correction, extra={})
        corrected = replace(
            example,
            messages=(*example.prompt, last),
            contributor=source,
            source=f"correction:{example.source}",
        )
        known = found.setdefault(_key(feedback.correction), _Proposal(corrected, set()))
        known.sources.add(source)
    return found


def _is_good(answer: Judged, rules: Rules, filters: Counter[str]) -> bool:
    scores = [f.score for f in answer.feedback if f.score is not None]
    corrected = any(
        f.correction and _key(f.correction) != _key(answer.example.answer) for f in answer.feedback
    )
    if corrected or not scores:
        return False
    if fmean(scores) < rules.least_score:
        filters["low_score"] += 1
        return False
    if not answer.complete:
        filters["incomplete_answers"] += 1
        return False
    return True


def _likers(answer: Judged, rules: Rules) -> set[str]:
    return {
        f.key_prefix or ANONYMOUS
        for f in answer.feedback
        if f.score is not None and f.score >= rules.least_score
    }


def _cap(examples: Sequence[Example], rules: Rules) -> list[Example]:
    """Keep the newest rows of each key, and return them oldest first."""
    given: Counter[str] = Counter()
    kept = []
    for example in sorted(examples, key=lambda e: (-(e.created_at or 0.0), e.source)):
        given[example.contributor] += 1
        if given[example.contributor] <= rules.cap or example.contributor in rules.trusted:
            kept.append(example)
    return kept[::-1]


def _key(answer: str) -> str:
    """Return what two answers share that are the same."""
    return canonical_json(answer) or normalised(answer)
