"""One request as numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from monitoring.descriptors.language import language
from monitoring.descriptors.refusals import is_refusal
from monitoring.descriptors.repetition import repetition
from monitoring.requests import Request

MOST_CHARACTERS = 20_000
"""What is read of a text; the rest counts for nothing."""
_MOST_JSON = 1_000_000
UNKNOWN = math.nan


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What is measured of a request; NaN where it cannot be known, 1 and 0 for yes and no.

    Attributes:
        prompt_characters: Length of the prompt, 20,000 at most; so are the others.
        prompt_words: Words between white space.
        answer_characters: As of the prompt.
        answer_words: As of the prompt.
        language: ISO 639-1 code of the prompt; "" where it cannot be told.
        answer_language_differs: The answer is in another language, where both can be told.
        format_failure: JSON was asked for and the answer is none. Unknown for a client that left.
        empty: The answer is white space.
        truncated: The answer reached its limit of tokens, or broke off.
        failed: It ended in an error or broke off. Unknown where the request was at fault, or the
            client left.
        refusal: The answer begins by declining what was asked.
        repetition: Share of word 4-grams that stood in the answer before.
        retrieved: The model was given passages.
        retrieval_score: Score of the best passage.
        ungrounded: Share of the checked sentences that no passage says.
        nll: Mean negative log-likelihood of the answer's tokens, in nats.
        nll_tail: The same of the worst tenth.
        feedback: Mean score that people gave, 0 to 1.
    """

    prompt_characters: float
    prompt_words: float
    answer_characters: float
    answer_words: float
    language: str
    answer_language_differs: float
    format_failure: float
    empty: float
    truncated: float
    failed: float
    refusal: float
    repetition: float
    retrieved: float
    retrieval_score: float
    ungrounded: float
    nll: float
    nll_tail: float
    feedback: float


def describe(request: Request) -> Descriptors:
    """Return the numbers of a request; whatever its texts hold, it does not fail."""
    prompt, answer = _capped(request.prompt), _capped(request.answer)
    code = "" if prompt is None else language(prompt)
    answer_code = language(answer) if code and answer is not None else ""
    return Descriptors(
        prompt_characters=UNKNOWN if prompt is None else float(len(prompt)),
        prompt_words=UNKNOWN if prompt is None else float(len(prompt.split())),
        answer_characters=UNKNOWN if answer is None else float(len(answer)),
        answer_words=UNKNOWN if answer is None else float(len(answer.split())),
        language=code,
        answer_language_differs=float(code != answer_code) if answer_code else UNKNOWN,
        format_failure=format_failed(request),
        empty=UNKNOWN if answer is None else float(not answer.strip()),
        truncated=float(request.finish_reason == "length" or request.outcome == "truncated"),
        failed=has_failed(request),
        refusal=refused(request),
        repetition=UNKNOWN if answer is None else repetition(answer),
        retrieved=float(bool(_passages(request.retrieval))),
        retrieval_score=_best(request.retrieval),
        ungrounded=ungrounded(request),
        nll=-_number(request.logprob_mean),
        nll_tail=-_number(request.logprob_tail),
        feedback=share(request.score),
    )


def format_failed(request: Request) -> float:
    """Return 1 where JSON was asked for and did not come, 0 where it came, NaN otherwise."""
    answer = request.answer
    if not request.wants_json or answer is None or request.outcome == "cancelled":
        return UNKNOWN
    if len(answer) > _MOST_JSON:
        return UNKNOWN
    try:
        msgspec.json.decode(answer)
    except (ValueError, RecursionError):  # nested so deeply that no client could read it
        return 1.0
    return 0.0


def has_failed(request: Request) -> float:
    """Return 1 for an error or a broken answer, 0 for a whole one, NaN where it cannot be known."""
    if request.outcome in ("error", "truncated"):
        return UNKNOWN if 400 <= request.status < 500 else 1.0
    return 0.0 if request.outcome == "done" else UNKNOWN


def refused(request: Request) -> float:
    """Return 1 where the answer declines, 0 where not, NaN without an answer."""
    answer = _capped(request.answer)
    return UNKNOWN if answer is None else float(is_refusal(answer))


def ungrounded(request: Request) -> float:
    """Return the share of an answer's sentences that no passage says; NaN without documents."""
    notes = request.retrieval or {}
    sentences, supported = _number(notes.get("sentences")), _number(notes.get("supported", 0))
    if notes.get("outcome") != "grounded" or not sentences > 0:
        return UNKNOWN
    return share(1 - supported / sentences)


def share(value: object) -> float:
    """Return a number between 0 and 1; NaN for anything else."""
    number = _number(value)
    return number if 0 <= number <= 1 else UNKNOWN


def _capped(text: str | None) -> str | None:
    return None if text is None else text[:MOST_CHARACTERS]


def _number(value: object) -> float:
    known = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if known else UNKNOWN  # type: ignore[arg-type]


def _passages(notes: Mapping[str, Any] | None) -> Sequence[Any]:
    passages = (notes or {}).get("passages")
    return passages if isinstance(passages, list | tuple) else ()


def _best(notes: Mapping[str, Any] | None) -> float:
    scores = [_number(each.get("score")) for each in _passages(notes) if isinstance(each, Mapping)]
    return max((score for score in scores if not math.isnan(score)), default=UNKNOWN)
