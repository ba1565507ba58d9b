"""Staging: real questions to the candidate behind its own alias, and to production in between.

Every answer must come, from the right release, and say something. What is asked is what people
asked of the alias lately, unless the plan names questions; the two releases are asked one after the
other, in turns, so that whatever else the machine does meanwhile slows both.
"""

import math
from contextlib import ExitStack
from typing import Any

from gateway.store.rollouts import RUNNING, Rollout
from gateway.store.traffic import Traffic
from monitoring.requests import of_record
from training.asking import Asked
from training.rollout.comparing import ratio
from training.rollout.ground import CANDIDATE
from training.rollout.rolling import FAILED, PASSED, Asker, Course, Outcome

_ASKED_TIMEOUT_S = 120.0
# Where the log holds no texts and the plan no questions.
_NEUTRAL = (
    "Say hello in one sentence.",
    "What is the capital of France?",
    "Count from one to five.",
    "What do people use an umbrella for?",
    "Name three colours.",
)

Messages = list[dict[str, Any]]


class Staging:
    """Asks a question of both releases with each look."""

    status = RUNNING

    def __init__(self, course: Course) -> None:
        self._course = course
        self.timeout_s = course.plan.stage_timeout_s
        self.busy = True
        self._stack = ExitStack()
        self._asker: Asker | None = None
        self._questions: list[Messages] = []
        self._latencies: tuple[list[float], list[float]] = [], []
        self._told: dict[str, Any] = {}

    def begin(self) -> None:
        self._questions = self._chosen()
        self._told = {"questions": len(self._questions)}
        if self._asker is None:
            self._asker = self._stack.enter_context(self._course.tools.asker())

    def look(self, row: Rollout) -> Outcome | None:
        self.busy = row.wish != "pause"
        if not self.busy:
            return None
        asked = len(self._latencies[0])
        if asked == len(self._questions):
            return self._compared()
        messages = self._questions[asked]
        order = [(CANDIDATE, row.candidate), (row.previous, row.previous)]
        found: dict[str, Asked] = {}
        for model, release in order if asked % 2 else order[::-1]:
            found[release] = self._ask(model, messages)
        problem = _problem(found[row.candidate], row.candidate)
        if problem is not None:
            return Outcome(FAILED, f"Question {asked + 1} of {len(self._questions)}: {problem}")
        self._latencies[0].append(found[row.candidate].latency_s)
        # The old release is not on trial; without an answer of it there is nothing to compare.
        control = found[row.previous]
        self._latencies[1].append(control.latency_s if control.error is None else math.nan)
        self._told["answered"] = asked + 1
        return None

    def told(self) -> dict[str, Any]:
        return self._told

    def close(self) -> None:
        self._stack.close()

    def _ask(self, model: str, messages: Messages) -> Asked:
        assert self._asker is not None  # noqa: S101 - begun
        most = self._course.plan.max_tokens
        return self._asker.ask(
            model, messages, retrieval="off", max_tokens=most, timeout_s=_ASKED_TIMEOUT_S
        )

    def _compared(self) -> Outcome:
        both = [(c, o) for c, o in zip(*self._latencies, strict=True) if not math.isnan(o)]
        found = ratio([c for c, _ in both], [o for _, o in both], 0.5)
        self._told["latency_ratio"] = None
        if both:
            shown = {"value": found.value, "low": found.low, "high": found.high}
            self._told["latency_ratio"] = {name: round(v, 3) for name, v in shown.items()}
        limit = self._course.plan.latency_ratio
        if both and found.low > limit:
            return Outcome(
                FAILED,
                f"The candidate is too slow: its median answer takes {found.value:.2f} times as "
                f"long (at least {found.low:.2f}, {limit:g} may be).",
            )
        times = f"{found.value:.2f} times the old release's time" if both else "no comparison"
        return Outcome(
            PASSED, f"{len(self._questions)} of {len(self._questions)} answered; {times}."
        )

    def _chosen(self) -> list[Messages]:
        plan = self._course.plan
        if plan.questions:
            return [_asking(text) for text in plan.questions[: plan.staging_questions]]
        alias, most = self._course.rollout.alias, plan.staging_questions
        page, _ = Traffic(self._course.tools.database).page(
            model=alias, ascending=False, limit=5 * most
        )
        found: dict[str, Messages] = {}
        for record in page:
            request = of_record(record)
            if record.outcome == "done" and request.prompt and (request.answer or "").strip():
                # The last question alone: what was said before it was said by the old release.
                found.setdefault(request.prompt, _asking(request.prompt))
        return list(found.values())[:most] or [_asking(text) for text in _NEUTRAL]


def _asking(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def _problem(asked: Asked, release: str) -> str | None:
    if asked.error is not None:
        return f"no answer ({asked.error})."
    if asked.release != release:
        return f"answered by {asked.release}, not by {release}."
    if not asked.text.strip():
        return "the answer is empty."
    return None
