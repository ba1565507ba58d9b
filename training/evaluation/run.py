"""One evaluation from the top to the bottom: read, ask, measure, decide, write."""

import importlib.metadata
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product

from training.evaluation import lm_harness
from training.evaluation.answerers.base import Answer, Answerer, Question, System
from training.evaluation.asking import AnswerLog, ask
from training.evaluation.cases import ALL
from training.evaluation.checklist import checklist
from training.evaluation.comparing import compare, summary
from training.evaluation.config import EvaluationConfig
from training.evaluation.deciding import Outcomes, decide
from training.evaluation.gates import by_slice
from training.evaluation.judge import questions, rate, to_label, verdict
from training.evaluation.material import Material, read
from training.evaluation.metrics.truth import judge_by_rule
from training.evaluation.result import Evaluation, Score
from training.evaluation.scoring import Scored, differences, measure, rates, scores
from training.evaluation.systems import key_of, open_answerer

_PACKAGES = ("driftgate", "sacrebleu", "rouge_score", "scipy", "transformers", "torch")

Progress = Callable[[str, int, int], None]
Answers = Mapping[str, Mapping[str, Answer]]


def evaluate(config: EvaluationConfig, on_progress: Progress = lambda *_: None) -> Evaluation:
    """Evaluate, and write `evaluation.json` and `report.html` into `config.out`.

    A second run with the same folder asks only what has no answer there yet.

    Args:
        config: What to do.
        on_progress: Told of a stage, how much of it is done, and how much there is.

    Raises:
        ConfigError: Settings contradict each other.
        CaseError, SchemaError: A file cannot be used; file, line and field are named.
        AnswererError: A system cannot be asked at all.
    """
    config.check()
    material = read(config)
    asked = material.questions(config.max_tokens)
    # All are opened first: a folder that is missing is known before the other is asked for hours.
    answerers = {system.name: _open(config, system) for system in config.asked}
    answers = {
        name: _ask(config, name, answerer, asked, on_progress)
        for name, answerer in answerers.items()
    }
    outcomes = _judge(config, material, answers, on_progress)
    on_progress("scores", 0, 1)
    scored = _measure(config, material, answers)
    rows = _scores(config, material, answers, outcomes, scored)
    evaluation = Evaluation(
        folder=config.out,
        created_at=time.time(),
        settings=config.as_dict(),
        versions=_versions(),
        systems=tuple(
            summary(system, asked, answers[system.name], answerers[system.name].served)
            for system in config.asked
        ),
        scores=tuple(rows),
        cases=tuple(compare(material, answers, outcomes, scored)),
        latencies_s={
            system: tuple(
                found[case.id].latency_s or 0.0
                for case in material.cases
                if case.id in found and not found[case.id].error
            )
            for system, found in answers.items()
        },
    )
    if config.paired:
        evaluation = _decided(config, material, answers, outcomes, scored, evaluation)
    on_progress("scores", 1, 1)
    write(evaluation)
    return evaluation


def write(evaluation: Evaluation) -> None:
    """Write `evaluation.json`, `systems.json` and `report.html`, each whole or not at all.

    `systems.json` is what `driftgate advise --measured` reads.
    """
    from training.evaluation.report import render

    text = json.dumps(evaluation.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
    systems = json.dumps({"systems": evaluation.measured()}, indent=1, allow_nan=False)
    files = {
        "evaluation.json": text + "\n",
        "systems.json": systems + "\n",
        "report.html": render(evaluation),
    }
    for name, content in files.items():
        partial = evaluation.folder / f".{name}.partial"
        # A model may write half a surrogate pair, which UTF-8 has no form for.
        partial.write_bytes(content.encode("utf-8", "replace"))
        partial.replace(evaluation.folder / name)


def _open(config: EvaluationConfig, system: System) -> Answerer:
    return open_answerer(
        system,
        config.sampling,
        concurrency=config.concurrency,
        timeout_s=config.timeout_s,
        batch=config.batch,
    )


def _ask(
    config: EvaluationConfig,
    name: str,
    answerer: Answerer,
    questions: list[Question],
    on_progress: Progress,
) -> Mapping[str, Answer]:
    log = AnswerLog(config.out / "answers" / f"{name}.jsonl")
    return ask(name, answerer, questions, config.sampling, log, on_progress)


def _judge(
    config: EvaluationConfig, material: Material, answers: Answers, on_progress: Progress
) -> Outcomes:
    """Return by system which truth answers are made up and which suite items were passed."""
    replies: Mapping[str, Answer] = {}
    if config.judge is not None:
        asked = [
            question
            for system, found in answers.items()
            for question in questions(system, material.truth, found)
        ]
        judge = _open(config, config.judge)
        replies = _ask(config, "judge", judge, asked, on_progress)
        to_label(config.out / "to_label.jsonl", material.truth, answers)
    hallucinated, declined, passed = {}, {}, {}
    for system, found in answers.items():
        said = {id: answer.text for id, answer in found.items() if not answer.error}
        by_rule = {c.id: judge_by_rule(c, said[c.id]) for c in material.truth if c.id in said}
        declined[system] = {id: rule == "declined" for id, rule in by_rule.items()}
        if config.judge is None:
            hallucinated[system] = {id: rule == "hallucinated" for id, rule in by_rule.items()}
        else:
            judged = {id: replies.get(f"{system}:{id}") for id in by_rule}
            verdicts = {id: verdict(r.text) for id, r in judged.items() if r and not r.error}
            hallucinated[system] = {id: v for id, v in verdicts.items() if v is not None}
        passed[system] = {
            item.id: item.right(said[item.id])
            for suite in material.suites
            for item in suite.items
            if item.id in said
        }
    suites = {item.id: suite.name for suite in material.suites for item in suite.items}
    for name, asked_of in product(material.harness, config.asked):
        on_progress(f"{name}, {asked_of.name}", 0, 1)
        kept = config.out / "answers" / f"{name.replace(':', '-')}-{asked_of.name}.json"
        key, most = key_of(asked_of), config.suite_items
        items = lm_harness.passed(asked_of, key, name, most, config.sampling.seed, kept)
        passed[asked_of.name] |= items
        suites |= dict.fromkeys(items, name)
        on_progress(f"{name}, {asked_of.name}", 1, 1)
    return Outcomes(hallucinated, declined, passed, suites)


def _measure(config: EvaluationConfig, material: Material, answers: Answers) -> dict[str, Scored]:
    bertscore = None
    if config.encoder is not None:
        from training.evaluation.metrics.bertscore import BertScore

        bertscore = BertScore(config.encoder).f1
    return {
        system: measure(material.cases, found, config.right_by, material.form, bertscore)
        for system, found in answers.items()
    }


def _scores(
    config: EvaluationConfig,
    material: Material,
    answers: Answers,
    outcomes: Outcomes,
    scored: dict[str, Scored],
) -> list[Score]:
    seed = config.sampling.seed
    truth = {case.id: case.slice for case in material.truth}
    rows = []
    for system, measured in scored.items():
        rows += scores(system, material.cases, measured, seed)
        made_up = outcomes.hallucinated[system]
        if config.judge is None:
            rows += rates("truth", "hallucinated", truth, system, made_up)
        else:
            rows += rates("truth", "judged", truth, system, made_up)
            found = rate(material.truth, answers[system], made_up, material.labels)
            rows += [Score("truth", ALL, "hallucinated", system, found)] if found else []
        rows += rates("truth", "declined", truth, system, outcomes.declined[system])
        rows += rates("suite", "passed", outcomes.suites, system, outcomes.passed[system])
    return rows


def _decided(
    config: EvaluationConfig,
    material: Material,
    answers: Answers,
    outcomes: Outcomes,
    scored: dict[str, Scored],
    evaluation: Evaluation,
) -> Evaluation:
    new, old = scored["candidate"], scored["baseline"]
    slices = {case.id: case.slice for case in material.cases}
    right = (new.outcomes["right"], old.outcomes["right"])
    whole = by_slice(dict.fromkeys(slices, ALL), *right)[0]
    compared = by_slice(slices, *right)
    if ALL in config.superior_on and ALL not in slices.values():
        compared.insert(0, whole)
    gates, not_run = decide(config, material, compared, answers, outcomes, evaluation.systems)
    return replace(
        evaluation,
        differences=tuple(differences(material.cases, new, old, config.sampling.seed)),
        gates=gates,
        not_run=not_run,
        checklist=checklist(config.run, whole, gates, not_run, config.margin),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
