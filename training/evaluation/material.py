"""Everything that an evaluation reads, checked before anything is asked."""

from dataclasses import dataclass

from training.evaluation import lm_harness
from training.evaluation.answerers.base import Question
from training.evaluation.cases import ALL, Case, CaseError, TruthCase, read_cases, read_truth
from training.evaluation.config import EvaluationConfig
from training.evaluation.judge import Labels, read_labels
from training.evaluation.metrics.exact import is_document
from training.evaluation.metrics.json_format import JsonFormat, read_schema
from training.evaluation.metrics.truth import judge_by_rule
from training.evaluation.suites import Suite, read_suites


@dataclass(frozen=True, slots=True)
class Material:
    """Cases, truth set, suites (own and the harness's), form of answers, people's labels."""

    cases: list[Case]
    truth: list[TruthCase]
    suites: list[Suite]
    harness: list[str]
    form: JsonFormat | None
    labels: Labels

    def questions(self, max_tokens: int) -> list[Question]:
        """Return what every system is asked."""
        return [
            *[case.question(max_tokens) for case in self.cases],
            *[case.question(max_tokens) for case in self.truth],
            *[item.question() for suite in self.suites for item in suite.items],
        ]


def read(config: EvaluationConfig) -> Material:
    """Read and check every file of an evaluation.

    Answers must be JSON where a schema is given, or where every expected answer is JSON.

    Raises:
        CaseError, SchemaError: One cannot be used; file, line and field are named.
    """
    cases = read_cases(config.data)
    config.check_slices({case.slice for case in cases} | {ALL})
    truth = read_truth(config.truth) if config.truth else []
    by_context = [case for case in truth if judge_by_rule(case, "x") is None]
    if by_context and config.judge is None:
        raise CaseError(
            f"{config.truth}: {by_context[0].id} has nothing but `context`, which needs a judge"
        )
    form = None
    if config.schema is not None:
        form = JsonFormat(read_schema(config.schema))
    elif all(is_document(case.reference) for case in cases):
        form = JsonFormat()
    harness = [name for name in config.suites if name.startswith(lm_harness.PREFIX)]
    if harness:
        lm_harness.check()
    own = [name for name in config.suites if name not in harness]
    return Material(
        cases,
        truth,
        read_suites(own, config.suite_items),
        harness,
        form,
        read_labels(config.labels) if config.labels else {},
    )
