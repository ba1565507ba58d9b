"""Answers of a model folder in this process."""

from pathlib import Path

import pytest

from training.evaluation.answerers.base import AnswererError, Question, Sampling, System
from training.evaluation.answerers.local import LocalModel, folders
from training.evaluation.cases import CaseError
from training.evaluation.config import EvaluationConfig
from training.evaluation.metrics.bertscore import BertScore
from training.evaluation.run import evaluate


def test_a_spec_is_a_folder_or_two(tmp_path: Path) -> None:
    base, adapter = tmp_path / "a+b", tmp_path / "adapter"
    for folder, mark in ((base, "config.json"), (adapter, "adapter_config.json")):
        folder.mkdir()
        with pytest.raises(AnswererError, match=f"has no {mark}"):
            folders(f"{base}+{adapter}" if folder == adapter else str(folder))
        (folder / mark).write_text("{}")
    assert folders(str(base)) == (base, None)  # a plus in a name is no adapter
    assert folders(f"{base}+{adapter}") == (base, adapter)
    with pytest.raises(AnswererError, match="neither a folder nor an endpoint"):
        folders(str(tmp_path / "none"))


def test_a_local_model_is_greedy() -> None:
    with pytest.raises(AnswererError, match="temperature 0"):
        LocalModel(System("s", "x"), Sampling(0.7))


def test_a_changed_file_is_another_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    model = LocalModel(System("s", str(tmp_path)), Sampling())
    before = model.fingerprint
    assert LocalModel(System("t", str(tmp_path)), Sampling()).fingerprint == before
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert model.fingerprint != before


@pytest.mark.train
def test_answers_do_not_depend_on_the_batch(smollm: Path) -> None:
    system = System("base", str(smollm))
    asked = [
        Question(str(n), ({"role": "user", "content": text},), 12)
        for n, text in enumerate(
            ["What is the capital of France?", "Say hello.", "Name a colour that is not " * 9]
        )
    ]
    together = {a.id: a for a in LocalModel(system, Sampling(), batch=3).answer(asked)}
    alone = {a.id: a for a in LocalModel(system, Sampling(), batch=1).answer(asked)}
    assert {id: a.text for id, a in together.items()} == {id: a.text for id, a in alone.items()}
    assert "Paris" in together["0"].text
    assert together["0"].finish == "stop"
    assert (together["0"].completion_tokens or 0) < 12
    long = Question("long", ({"role": "user", "content": "word " * 9000},), 12)
    answers = list(LocalModel(system, Sampling()).answer([long]))
    assert "tokens, the model has" in answers[0].error


@pytest.mark.train
def test_a_suite_slice_for_real(smollm: Path, tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(
        '{"prompt": "What is the capital of France?", "completion": "Paris"}\n'
    )
    system = str(smollm)
    config = EvaluationConfig(
        data=tmp_path / "test.jsonl",
        out=tmp_path / "out",
        candidate=System("candidate", system),
        baseline=System("baseline", system),
        suites=("facts", "safety"),
        suite_items=6,
        right_by="contains",
        max_tokens=16,
    )
    found = evaluate(config)
    scores = {(s.slice, s.metric, s.system): s.interval for s in found.scores}
    assert scores["all", "right", "candidate"].value == 1
    assert scores["facts", "passed", "candidate"].value > 0
    # The same model twice: nothing is gained or lost, and 6 items show nothing.
    assert all(t.pairs.gains == t.pairs.losses == 0 for gate in found.gates for t in gate.tests)
    assert str(found.verdict) == "INCONCLUSIVE"


@pytest.mark.train
def test_bertscore(minilm: Path) -> None:
    encoder = BertScore(minilm)
    same, close, far, empty = encoder.f1(
        ["The cat sat.", "A cat was sitting.", "Interest rates rose in May.", ""],
        ["The cat sat.", "The cat sat.", "The cat sat.", "The cat sat."],
    )
    assert same == pytest.approx(1, abs=1e-5)
    assert 1 > close > far > empty == 0
    assert encoder.f1(["b", "a a a"], ["b", "a"]) == encoder.f1(["b", "a a a"], ["b", "a"])
    with pytest.raises(AnswererError, match=r"no config\.json"):
        BertScore(Path("nowhere"))


def test_truth_by_context_needs_a_judge(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"question": "q", "context": "c"}\n')
    (tmp_path / "d.jsonl").write_text('{"prompt": "p", "completion": "c"}\n')
    config = EvaluationConfig(
        data=tmp_path / "d.jsonl",
        out=tmp_path / "out",
        truth=tmp_path / "t.jsonl",
        systems=(System("s", "x"),),
    )
    with pytest.raises(CaseError, match="truth:1 has nothing but `context`, which needs a judge"):
        evaluate(config)
