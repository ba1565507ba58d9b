"""Tasks of lm-evaluation-harness, with a stand-in of its shapes (0.4.13)."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from training.evaluation import lm_harness
from training.evaluation.answerers.base import AnswererError, System
from training.evaluation.cases import CaseError

ENDPOINT = System("candidate", "http://h:1/v1#m")


class Harness:
    """Answers `simple_evaluate` with the samples that it is given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, samples: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self.samples = samples
        module = ModuleType("lm_eval")
        module.simple_evaluate = self._evaluate  # type: ignore[attr-defined]
        module.__spec__ = SimpleNamespace(name="lm_eval")  # type: ignore[assignment]
        monkeypatch.setitem(sys.modules, "lm_eval", module)

    def _evaluate(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(arguments)
        if isinstance(self.samples, Exception):
            raise self.samples
        return {"samples": self.samples}


def rows(*values: float) -> list[dict[str, Any]]:
    return [
        {"doc_id": n, "filter": filter, "metrics": ["exact_match"], "exact_match": value}
        for n, value in enumerate(values)
        for filter in ("strict-match", "flexible-extract")
    ]


def test_items_are_paired_by_id_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness(monkeypatch, {"gsm8k": rows(1.0, 0.0)})
    kept = tmp_path / "answers" / "lm.json"
    lm_harness.check()
    for _ in range(2):
        found = lm_harness.passed(ENDPOINT, "k", "lm:gsm8k", 2, 5, kept)
        assert found == {"lm:gsm8k:gsm8k:0": True, "lm:gsm8k:gsm8k:1": False}
    (call,) = harness.calls  # the second came from the file
    assert (call["model"], call["tasks"], call["limit"]) == ("local-chat-completions", ["gsm8k"], 2)
    assert call["model_args"]["base_url"] == "http://h:1/v1/chat/completions"
    assert call["model_args"]["auth_token"] == "k"
    lm_harness.passed(ENDPOINT, "k", "lm:gsm8k", 1, 5, kept)
    assert len(harness.calls) == 2


def test_a_folder_with_an_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, mark in (("base", "config.json"), ("adapter", "adapter_config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / mark).write_text("{}")
    harness = Harness(monkeypatch, {"t": [{"doc_id": 0, "acc": 1}]})
    system = System("s", f"{tmp_path / 'base'}+{tmp_path / 'adapter'}")
    lm_harness.passed(system, "", "lm:t", None, 0, tmp_path / "k.json")
    assert harness.calls[0]["model"] == "hf"
    assert harness.calls[0]["model_args"]["peft"] == str(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("samples", "named"),
    [
        (KeyError("no task"), "cannot run 't': KeyError"),
        ({"t": [{"doc_id": 0, "perplexity": 3.2}]}, "no measure of right and wrong"),
        ({"t": [{"doc_id": 0, "acc": 0.4}]}, "no measure of right and wrong"),
    ],
)
def test_what_cannot_be_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: Any, named: str
) -> None:
    Harness(monkeypatch, samples)
    with pytest.raises(AnswererError, match=named):
        lm_harness.passed(ENDPOINT, "", "lm:t", None, 0, tmp_path / "k.json")
    assert not (tmp_path / "k.json").exists()


def test_it_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CaseError, match="lm-eval"):
        lm_harness.check()
