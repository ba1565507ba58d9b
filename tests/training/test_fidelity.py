from pathlib import Path

import pytest

from training import fidelity


def _probe(logits: list[list[float]], answers: list[list[int]]) -> dict[str, object]:
    import torch

    return {"logprobs": torch.log_softmax(torch.tensor(logits), -1), "answers": answers}


def test_a_model_is_itself() -> None:
    probe = _probe([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], [[1, 2], []])
    found = fidelity.compare(probe, probe)
    assert (found.kl, found.worst_kl, found.agreement) == (0.0, 0.0, 1.0)
    assert (found.positions, found.prompts) == (2, 2)


def test_the_divergence_is_that_of_the_reference_from_the_other() -> None:
    import torch

    true = _probe([[2.0, 0.0], [0.0, 0.0]], [[1], [1]])
    other = _probe([[0.0, 0.0], [0.0, 0.0]], [[1], [0]])
    found = fidelity.compare(true, other)
    p = torch.softmax(torch.tensor([2.0, 0.0], dtype=torch.float64), -1)
    expected = float((p * (p / 0.5).log()).sum())
    assert found.worst_kl == pytest.approx(expected, rel=1e-6)
    assert found.kl == pytest.approx(expected / 2, rel=1e-6)
    assert found.agreement == 0.5


def test_numbers_that_are_none_do_not_look_close() -> None:
    import torch

    true = _probe([[2.0, 0.0]], [[1]])
    broken = {"logprobs": torch.tensor([[float("nan"), 0.0]]), "answers": [[1]]}
    assert not fidelity.compare(true, broken).kl <= 1e-3


def test_a_probe_reads_back_what_was_written(tmp_path: Path) -> None:
    probe = _probe([[1.0, 2.0, 3.0]], [[1, 2], [], [3]])
    fidelity.save(probe, tmp_path / "probe")
    again = fidelity.read(tmp_path / "probe")
    assert again["answers"] == probe["answers"]
    assert fidelity.compare(probe, again).kl == 0.0
    fidelity.save(_probe([[1.0]], [[]]), tmp_path / "empty")
    assert fidelity.read(tmp_path / "empty")["answers"] == [[]]
