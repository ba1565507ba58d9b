"""Whole evaluations against small servers: verdicts, files, what failed, what is asked again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import training.evaluation
from tests.training.evaluation.serving import Reply, question, serve
from training.evaluation.answerers.base import System
from training.evaluation.cases import CaseError
from training.evaluation.config import ConfigError, EvaluationConfig
from training.evaluation.gates import Verdict
from training.evaluation.result import Evaluation
from training.evaluation.run import evaluate

pytestmark = pytest.mark.slow

SCHEMA = Path(training.evaluation.__file__).parent / "evaluation.schema.json"


def rows(path: Path, count: int) -> Path:
    """Questions `q0`… whose answers are documents; every fourth is of the slice `new`."""
    lines = [
        {
            "prompt": f"q{n}",
            "completion": json.dumps({"n": n}),
            "slice": "new" if n % 4 == 0 else "old",
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def right(body: dict[str, Any]) -> str:
    return json.dumps({"n": int(question(body)[1:])})


def wrong_where(wrong: Callable[[int], bool]) -> Reply:
    """Answers rightly, except where `wrong` holds of the number of the question."""
    return lambda body: "no idea" if wrong(int(question(body)[1:])) else right(body)


def run(folder: Path, candidate: Reply, baseline: Reply, count: int, **fields: Any) -> Evaluation:
    data = rows(folder / "test.jsonl", count)
    with serve(candidate) as new, serve(baseline) as old:
        config = EvaluationConfig(
            data=data,
            out=folder / "out",
            candidate=System("candidate", new.spec),
            baseline=System("baseline", old.spec),
            **{"suites": (), **fields},
        )
        return evaluate(config)


def test_a_better_candidate_passes_and_everything_is_written(tmp_path: Path) -> None:
    found = run(
        tmp_path, right, wrong_where(lambda n: n % 4 == 0), 480, superior_on=("new",), sla_p95_s=5.0
    )
    assert found.verdict is Verdict.PASS
    assert [gate.name for gate in found.gates] == ["paired", "latency"]
    assert set(found.not_run) == {"hallucination", "capability"}
    scores = {(s.slice, s.metric, s.system): s.interval for s in found.scores}
    assert scores["new", "right", "baseline"].value == 0
    assert scores["new", "right", "candidate"].value == 1
    assert scores["all", "valid", "baseline"].value == 0.75
    change = {(d.slice, d.metric): d.interval for d in found.differences}
    assert change["all", "right"].value == 0.25
    assert change["all", "bleu"].low > 0
    written = json.loads((found.folder / "evaluation.json").read_text())
    jsonschema.validate(written, json.loads(SCHEMA.read_text()))
    assert written["verdict"] == "PASS"
    assert len(written["cases"]) == 480
    systems = json.loads((found.folder / "systems.json").read_text())["systems"]
    assert [row["system"] for row in systems] == ["baseline", "candidate"]
    assert systems[1]["score"] == 1.0
    page = (found.folder / "report.html").read_text()
    assert "Lost: only" not in page
    assert "Gained: only the candidate is right" in page
    assert "<svg" in page
    assert "<script" not in page


def test_too_few_cases_never_pass(tmp_path: Path) -> None:
    found = run(tmp_path, right, right, 40)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.gates[0].missing


def test_a_worse_candidate_fails(tmp_path: Path) -> None:
    found = run(tmp_path, wrong_where(lambda n: n % 3 == 0), right, 120)
    assert found.verdict is Verdict.FAIL


def test_failed_requests_are_named_counted_and_asked_again(tmp_path: Path) -> None:
    def broken(body: dict[str, Any]) -> str | tuple[int, str]:
        return (400, "no thanks") if question(body) == "q5" else right(body)

    data = rows(tmp_path / "test.jsonl", 20)
    repaired = [False]

    def candidate(body: dict[str, Any]) -> str | tuple[int, str]:
        return right(body) if repaired[0] else broken(body)

    with serve(candidate) as new, serve(right) as old:
        config = EvaluationConfig(
            data=data,
            out=tmp_path / "out",
            candidate=System("candidate", new.spec),
            baseline=System("baseline", old.spec),
            suites=(),
        )
        first = evaluate(config)
        failures = {s.name: s.failures for s in first.systems}
        assert [f.id for f in failures["candidate"]] == ["test:6"]
        assert "no thanks" in failures["candidate"][0].reason
        assert failures["baseline"] == ()
        score = next(s for s in first.scores if s.system == "candidate" and s.slice == "all")
        assert (score.interval.value, score.interval.n) == (1.0, 19)  # not scored as wrong
        assert "no thanks" in (config.out / "report.html").read_text()
        repaired[0] = True
        second = evaluate(config)
        assert second.systems[1].failures == ()
        assert new.asked == {f"q{n}": 2 if n == 5 else 1 for n in range(20)}
        assert max(old.asked.values()) == 1


def test_hallucinations_by_rule_and_suites(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text(
        "".join(json.dumps({"question": f"t{n}", "accepted": [str(n)]}) + "\n" for n in range(50))
    )

    def honest(body: dict[str, Any]) -> str:
        text = question(body)
        return right(body) if text[0] == "q" and text[1:].isdigit() else f"It is {text[1:]}."

    def liar(body: dict[str, Any]) -> str:
        return "It is 1000." if question(body)[0] == "t" else honest(body)

    found = run(tmp_path, liar, honest, 12, truth=truth, suites=("facts",), suite_items=5)
    gates = {gate.name: gate for gate in found.gates}
    assert gates["hallucination"].verdict is Verdict.FAIL
    assert gates["capability"].verdict is Verdict.INCONCLUSIVE
    rate = next(s for s in found.scores if (s.metric, s.system) == ("hallucinated", "candidate"))
    assert rate.interval.value == 1
    assert [item.verdict for item in found.checklist][1] is Verdict.FAIL


def test_a_judge_and_labels(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    truth.write_text(
        "".join(json.dumps({"question": f"t{n}", "context": "c"}) + "\n" for n in range(400))
    )
    labels = tmp_path / "labels.jsonl"
    labels.write_text(
        "".join(
            json.dumps({"id": f"truth:{n}", "answer": "made up", "hallucinated": False}) + "\n"
            for n in range(1, 401)
        )
    )

    def any_answer(body: dict[str, Any]) -> str:
        return right(body) if question(body)[0] == "q" else "made up"

    with serve(lambda _: '{"hallucinated": true}') as judge:
        system = System("judge", judge.spec)
        found = run(tmp_path, any_answer, any_answer, 4, truth=truth, judge=system, labels=labels)
    assert len(judge.bodies) == 800
    gates = {gate.name: gate for gate in found.gates}
    assert gates["hallucination"].verdict is Verdict.PASS  # people say so, against the judge
    assert (found.folder / "to_label.jsonl").exists()


def test_systems_beside_each_other_have_no_verdict(tmp_path: Path) -> None:
    data = rows(tmp_path / "test.jsonl", 8)
    with serve(right) as one, serve(wrong_where(lambda n: n > 3)) as other:
        systems = (
            System("fine-tuned", one.spec),
            System("base+retrieval", other.spec, extra_body={"retrieval": "on"}),
        )
        config = EvaluationConfig(data=data, out=tmp_path / "out", systems=systems, suites=())
        found = evaluate(config)
        assert other.bodies[0]["retrieval"] == "on"
    assert found.verdict is None
    assert [(row["system"], row["score"]) for row in found.measured()] == [
        ("fine-tuned", 1.0),
        ("base+retrieval", 0.5),
    ]


def test_wrong_settings_are_named_before_anything_is_asked(tmp_path: Path) -> None:
    data = rows(tmp_path / "test.jsonl", 8)
    pair = {"candidate": System("candidate", "c"), "baseline": System("baseline", "b")}

    def check(error: type[Exception], named: str, **fields: Any) -> None:
        with pytest.raises(error, match=named):
            evaluate(EvaluationConfig(data=data, out=tmp_path / "out", **fields))

    check(ConfigError, "needs a baseline", candidate=System("candidate", "c"))
    check(ConfigError, "either a candidate and a baseline, or systems")
    check(ConfigError, "margin must be between 0 and 1", margin=3.0, **pair)
    check(ConfigError, "there is none", labels=data, **pair)
    check(CaseError, r"no slice 'nwe'; it has: all, new, old", superior_on=("nwe",), **pair)
    assert not (tmp_path / "out").exists()
