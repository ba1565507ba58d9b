"""A model as judge of groundedness, and people's labels that take its bias away.

A judge's rate alone decides nothing: `prediction_powered.mean` corrects it by the labelled part,
which must be a random sample of the answers. `to_label` draws one. A label is a JSON object a line:

    {"id": "truth:12", "answer": "We close at 10 pm.", "hallucinated": false}
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation.answerers.base import Answer, Question
from training.evaluation.cases import CaseError, TruthCase, read_objects
from training.evaluation.gates import (
    Compared,
    Gate,
    Verdict,
    estimated_gate,
    hallucination_gate,
)
from training.evaluation.intervals import Interval
from training.evaluation.paired import Pairs
from training.evaluation.prediction_powered import LEAST_EVENTS, LEAST_LABELS, mean

Labels = Mapping[tuple[str, str], bool]

_WANTED = 100
_MAX_TOKENS = 128
_INSTRUCTION = (
    "You check whether an answer is grounded. You get a question, what is known to be true about "
    "it, and an answer. The answer is hallucinated if it states anything that contradicts what is "
    "known or that cannot be derived from it. An answer that says it does not know is not "
    "hallucinated. "
    'Reply with a JSON object and nothing else: {"hallucinated": true} or {"hallucinated": false}.'
)
_REPLY = re.compile(r'"hallucinated"\s*:\s*(true|false)', re.IGNORECASE)


def questions(
    system: str, cases: Sequence[TruthCase], answers: Mapping[str, Answer]
) -> list[Question]:
    """Return what the judge is asked about the answers of a system; failed ones are left out."""
    return [
        Question(f"{system}:{case.id}", _messages(case, answers[case.id].text), _MAX_TOKENS)
        for case in cases
        if case.id in answers and not answers[case.id].error
    ]


def verdict(reply: str) -> bool | None:
    """Return whether the judge calls an answer hallucinated, or None where it says neither."""
    found = {match.lower() for match in _REPLY.findall(reply)}
    return found == {"true"} if len(found) == 1 else None


def read_labels(path: Path) -> Labels:
    """Read people's labels, by case id and answer.

    Raises:
        CaseError: A row lacks a field, or two people's labels of one answer differ.
    """
    labels: dict[tuple[str, str], bool] = {}
    for line, row in read_objects(path):
        id, answer, label = row.get("id"), row.get("answer"), row.get("hallucinated")
        if not isinstance(id, str) or not isinstance(answer, str) or not isinstance(label, bool):
            raise CaseError(
                f"{path}, line {line}: a label needs `id` and `answer` (text) and "
                "`hallucinated` (true or false)"
            )
        if labels.setdefault((id, answer), label) is not label:
            raise CaseError(f"{path}, line {line}: this answer has the other label further up")
    return labels


def to_label(
    path: Path, cases: Sequence[TruthCase], systems: Mapping[str, Mapping[str, Answer]]
) -> int:
    """Write a random sample of answers for people to label, and return how many rows.

    The sample is drawn by the digest of the case's id, so it is the same for all systems and runs.
    """
    drawn = sorted(cases, key=lambda case: hashlib.sha256(case.id.encode()).digest())[:_WANTED]
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for case in drawn:
        for answers in systems.values():
            answer = answers.get(case.id)
            if answer is not None and not answer.error:
                rows[case.id, answer.text] = {
                    "id": case.id,
                    "question": case.text,
                    "known": _known(case),
                    "answer": answer.text,
                    "hallucinated": None,
                }
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values())
    path.write_bytes(lines.encode("utf-8", "replace"))
    return len(rows)


def gate(
    cases: Sequence[TruthCase],
    answers: tuple[Mapping[str, Answer], Mapping[str, Answer]],
    judged: tuple[Mapping[str, bool], Mapping[str, bool]],
    labels: Labels,
    margin: float,
) -> Gate:
    """Decide the hallucination gate from the judge's verdicts and people's labels.

    Args:
        cases: The truth set.
        answers: Of candidate and baseline, by case id.
        judged: Whether the judge calls them hallucinated, by case id.
        labels: People's, by case id and answer.
        margin: How much more the candidate may hallucinate, as a share.
    """
    human, same, rest, unjudged = [], [], [], 0
    for case in cases:
        if case.id not in judged[0] or case.id not in judged[1]:
            unjudged += 1
            continue
        by_judge = float(judged[0][case.id]) - float(judged[1][case.id])
        said = [labels.get((case.id, side[case.id].text)) for side in answers]
        if said[0] is None or said[1] is None:
            rest.append(by_judge)
        else:
            human.append(float(said[0]) - float(said[1]))
            same.append(by_judge)
    title = "Makes up no more than before"
    if len(human) < LEAST_LABELS:
        why = (
            f"a judge alone decides nothing: {len(human)} cases have people's labels for both "
            f"answers, at least {LEAST_LABELS} are needed (fill in to_label.jsonl)"
        )
        missing = LEAST_LABELS - len(human)
        return Gate("hallucination", title, Verdict.INCONCLUSIVE, why, missing)
    if unjudged > 0.01 * len(cases):
        why = f"{unjudged} of {len(cases)} cases have no verdict: a request or the judge failed"
        return Gate("hallucination", title, Verdict.INCONCLUSIVE, why)
    if sum(value != 0 for value in human) < LEAST_EVENTS:
        # Where hardly anything was made up no limit theorem holds: people's labels alone decide.
        seen = Pairs(len(human), sum(d < 0 for d in human), sum(d > 0 for d in human))
        return hallucination_gate(Compared("labelled by people", seen), margin)
    return estimated_gate(mean(human, same, rest, 0.9), margin)


def rate(
    cases: Sequence[TruthCase],
    answers: Mapping[str, Answer],
    judged: Mapping[str, bool],
    labels: Labels,
) -> Interval | None:
    """Return a system's rate of hallucination, corrected by people; None with too few labels."""
    human, same, rest = [], [], []
    for case in cases:
        if case.id in judged:
            label = labels.get((case.id, answers[case.id].text))
            if label is None:
                rest.append(float(judged[case.id]))
            else:
                human.append(float(label))
                same.append(float(judged[case.id]))
    return mean(human, same, rest) if len(human) >= LEAST_LABELS else None


def _messages(case: TruthCase, answer: str) -> tuple[dict[str, str], ...]:
    text = f"Question:\n{case.text}\n\nKnown:\n{_known(case)}\n\nAnswer:\n{answer}"
    return ({"role": "system", "content": _INSTRUCTION}, {"role": "user", "content": text})


def _known(case: TruthCase) -> str:
    if case.unanswerable:
        return "The question cannot be answered from what is known."
    parts = [
        case.context,
        f"Accepted answers: {'; '.join(case.accepted)}" if case.accepted else "",
        f"Must be said: {'; '.join(case.facts)}" if case.facts else "",
        f"Wrong: {'; '.join(case.forbidden)}" if case.forbidden else "",
    ]
    return "\n".join(part for part in parts if part)
