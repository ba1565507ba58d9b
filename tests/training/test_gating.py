"""Gates of a job: read strictly; what is required and has no result blocks."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.store.examples import Example, Message, write_jsonl
from training.evaluating import balanced, evaluate, gating_of
from training.evaluation.answerers.base import Answer
from training.evaluation.gates import Compared, Gate, Verdict, overall, paired_gate
from training.evaluation.paired import Pairs
from training.gating import OVERRIDE, Gating, GatingInvalid, missing
from training.order import Order
from training.step_process import StepFailed, Teller


def test_gates_go_through_a_jobs_overrides() -> None:
    gating = Gating(
        baseline="m-1", superior_on=("new",), margins={"old": 0.05}, required=("latency",), cases=9
    )
    stored = json.loads(json.dumps({OVERRIDE: gating.as_dict(), "epochs": 2}))
    assert Gating.of(stored) == gating
    assert Gating.of({"epochs": 2}) is None
    for wrong in ({"margin": "x"}, {"superior_on": "new"}, "all", {"required": [1]}):
        with pytest.raises(GatingInvalid, match="`evaluation`"):
            Gating.of({OVERRIDE: wrong})


def test_a_required_gate_without_a_result_is_inconclusive() -> None:
    ran = [Gate("paired", "", Verdict.PASS, "")]
    found = missing(("paired", "latency", "capability"), ran, {"capability": "no suite was given"})
    assert [(gate.name, gate.verdict) for gate in found] == [
        ("latency", Verdict.INCONCLUSIVE), ("capability", Verdict.INCONCLUSIVE),
    ]  # fmt: skip
    assert found[1].reason == "no suite was given"
    assert overall([gate.verdict for gate in (*ran, *found)]) is Verdict.INCONCLUSIVE


def test_slices_may_have_margins_of_their_own() -> None:
    slices = [Compared("old", Pairs(100, 2, 2)), Compared("golden", Pairs(100, 2, 2))]
    gate = paired_gate(slices, (), 0.03, margins={"old": 0.10})
    assert {test.slice: test.verdict for test in gate.tests} == {
        "old": Verdict.PASS, "golden": Verdict.INCONCLUSIVE,
    }  # fmt: skip


def row(n: int, slice: str) -> Example:
    turns = (Message("user", f"{slice} {n}"), Message("assistant", f"right {slice} {n}"))
    return Example(turns, slice=slice)


def test_each_slice_has_as_many_cases_as_there_are() -> None:
    rows = [*(row(n, "new") for n in range(5)), *(row(n, "old") for n in range(50))]
    chosen = balanced(rows, 12)
    assert [each.slice for each in chosen] == ["new"] * 5 + ["old"] * 7
    assert balanced(rows, 100) == rows


class Stub:
    """A model that is right where `knows` says so."""

    served = False
    fingerprint = "stub"

    def __init__(self, knows: Any) -> None:
        self._knows = knows

    def answer(self, questions: Any) -> Any:
        for question in questions:
            asked = question.messages[-1]["content"]
            yield Answer(question.id, f"right {asked}" if self._knows(asked) else "no idea")


def evaluated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, candidate: Any, **gating: Any
) -> dict[str, Any]:
    """Run the step on 60 new and 300 old cases against a release that knows the old ones."""
    models = {name: folder / name for name in ("base", "serving", "merged")}
    for path in models.values():
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"weights")
    valid = folder / "valid.jsonl"
    write_jsonl(valid, [*(row(n, "new") for n in range(60)), *(row(n, "old") for n in range(300))])
    wanted = Gating(baseline="m-1", superior_on=("new",), cases=400, **gating)
    order = Order(
        job="j", folder=folder / "job", base=models["base"], base_release="m-0", base_model="m",
        base_revision="r", training_file=valid, training_sha256="", validation_file=None,
        recipe=None, overrides={OVERRIDE: wanted.as_dict()}, hyperparameters={}, seed=1,
        suffix=None, alias=None, owner=None, models_dir=folder, baseline=models["serving"],
        baseline_release="m-1", request="rtr-1",
    )  # fmt: skip
    from training.run_folder import digests

    whole = {"name": "numbers", "right": True, "seen": "finite"}
    order.finish("prepare", {"valid": str(valid)})
    order.finish("train", {"run": str(folder)})
    merged = {"model": str(models["merged"]), "digests": digests(models["merged"])}
    order.finish("merge", merged | {"integrity": [whole]})
    asked: list[str] = []

    def opened(system: Any, *_: Any, **__: Any) -> Stub:
        asked.append(system.spec)
        return Stub(candidate if system.name == "candidate" else lambda q: q.startswith("old"))

    monkeypatch.setattr("training.evaluation.run.open_answerer", opened)
    monkeypatch.setattr("training.evaluation.run.checklist", lambda *_: ())
    with (folder / "told").open("w") as out:
        found = evaluate(order, Teller(out))
    assert asked == [str(models["serving"]), str(models["merged"])]
    stored = json.loads((order.folder / "evaluation" / "evaluation.json").read_text())
    assert stored["verdict"] == found["summary"]["verdict"]
    return dict(found["summary"])


def verdicts(summary: dict[str, Any]) -> dict[str, str]:
    return {gate["name"]: gate["verdict"] for gate in summary["gates"]}


def test_better_on_what_drifted_and_no_worse_elsewhere_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = evaluated(tmp_path, monkeypatch, lambda q: True, required=("integrity",))
    assert summary["verdict"] == "PASS", summary["gates"]
    assert verdicts(summary) == {"integrity": "PASS", "paired": "PASS"}
    assert (summary["baseline"], summary["cases"]) == ("m-1", 360)


def test_worse_on_what_was_known_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(asked: str) -> bool:
        return asked.startswith("new") or int(asked.split()[1]) % 5 > 0

    summary = evaluated(tmp_path, monkeypatch, forgets)
    assert summary["verdict"] == "FAIL"
    assert "old" in next(g["reason"] for g in summary["gates"] if g["name"] == "paired")


def test_a_required_gate_that_did_not_run_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    required = ("integrity", "hallucination")
    summary = evaluated(tmp_path, monkeypatch, lambda q: True, required=required)
    assert summary["verdict"] == "INCONCLUSIVE"
    assert verdicts(summary)["hallucination"] == "INCONCLUSIVE"


def test_gates_that_cannot_be_read_fail_the_job() -> None:
    bad = {OVERRIDE: {"margin": "wide"}}
    with pytest.raises(StepFailed, match="margin"):
        gating_of(SimpleNamespace(overrides=bad))  # type: ignore[arg-type]
