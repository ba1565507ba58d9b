"""Which gates an evaluation can run, and what the others need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.evaluation.answerers.base import Answer
from training.evaluation.config import EvaluationConfig
from training.evaluation.gates import (
    Compared,
    Gate,
    Verdict,
    by_slice,
    capability_gate,
    hallucination_gate,
    latency_gate,
    paired_gate,
)
from training.evaluation.judge import gate as judged_gate
from training.evaluation.material import Material
from training.evaluation.result import SystemSummary

ByCase = Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Yes or no a case, by system: truth answers made up, or declined; suite items passed.

    `suites` is the suite of each item, by its id.
    """

    hallucinated: Mapping[str, ByCase]
    declined: Mapping[str, ByCase]
    passed: Mapping[str, ByCase]
    suites: Mapping[str, str]


def decide(
    config: EvaluationConfig,
    material: Material,
    compared: Sequence[Compared],
    answers: Mapping[str, Mapping[str, Answer]],
    outcomes: Outcomes,
    systems: Sequence[SystemSummary],
) -> tuple[tuple[Gate, ...], dict[str, str]]:
    """Return the gates that ran, and for each other one what it needs.

    Args:
        config: Margins, and what was asked for.
        material: What was read.
        compared: Candidate and baseline on each slice of the test cases.
        answers: By system and case.
        outcomes: On truth set and suites.
        systems: Summaries.
    """
    gates = [paired_gate(compared, config.superior_on, config.margin, margins=config.margins)]
    not_run = {}
    if not config.superior_on:
        not_run["superiority"] = "no slice was named to be better on (`--superior-on`, or `all`)"
    if material.truth:
        gates.append(_hallucination(config, material, answers, outcomes))
    else:
        not_run["hallucination"] = "no truth set was given (`--truth`)"
    if outcomes.suites:
        gates.append(_capability(config, outcomes))
    else:
        not_run["capability"] = "no suite was given (`--suite all`)"
    if config.sla_p95_s is None:
        not_run["latency"] = "no limit was given (`--sla-p95-s`)"
    else:
        gates.append(_latency(config.sla_p95_s, material, answers["candidate"], systems))
    return tuple(gates), not_run


def _hallucination(
    config: EvaluationConfig,
    material: Material,
    answers: Mapping[str, Mapping[str, Answer]],
    outcomes: Outcomes,
) -> Gate:
    new, old = outcomes.hallucinated["candidate"], outcomes.hallucinated["baseline"]
    if config.judge is not None:
        sides = (answers["candidate"], answers["baseline"])
        return judged_gate(material.truth, sides, (new, old), material.labels, config.truth_margin)
    sound = ({id: not made_up for id, made_up in side.items()} for side in (new, old))
    slices = {case.id: "truth set" for case in material.truth}
    return hallucination_gate(by_slice(slices, *sound)[0], config.truth_margin)


def _capability(config: EvaluationConfig, outcomes: Outcomes) -> Gate:
    passed, slices = outcomes.passed, outcomes.suites
    return capability_gate(
        by_slice(slices, passed["candidate"], passed["baseline"]), config.suite_margin
    )


def _latency(
    limit_s: float,
    material: Material,
    answers: Mapping[str, Answer],
    systems: Sequence[SystemSummary],
) -> Gate:
    if not next(system.served for system in systems if system.name == "candidate"):
        why = "the candidate answered in batches in this process; give an endpoint to measure it"
        return Gate("latency", f"95 % of answers within {limit_s:g} s", Verdict.INCONCLUSIVE, why)
    found = [answers[case.id] for case in material.cases if case.id in answers]
    seconds = [a.latency_s for a in found if not a.error and a.latency_s is not None]
    return latency_gate(seconds, limit_s, len(material.cases) - len(seconds))
