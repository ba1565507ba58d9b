import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from training.commands import merge
from training.merge import Candidate, MergeError, MergeResult
from training.run_folder import RunError

_FIGURES: dict[str, Any] = {
    "worst_kl": 0.01,
    "positions": 99,
    "agreement": 0.98,
    "prompts": 50,
    "computed": "float32",
}


def _merged(run: Path, out: Path, **options: object) -> MergeResult:
    built = (
        Candidate("dequantised", "bfloat16", out, kl=1.6e-4, **_FIGURES),
        Candidate("original", "bfloat16", out, kl=0.54, **_FIGURES),
    )
    return MergeResult(out, "dequantised", "bfloat16", 1.6e-4, 0.98, built, {"a": "b"})


def test_both_merges_are_shown_and_which_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "run_merge", _merged)
    call = [str(tmp_path / "run"), "--out", str(tmp_path / "model")]
    done = CliRunner().invoke(merge.app, call)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    (kept,) = [line for line in lines if "dequantised" in line]
    assert "1.60e-04" in kept
    assert "98% of 50" in kept
    assert "kept" in kept
    assert "kept" not in next(line for line in lines if "original" in line)
    as_json = CliRunner().invoke(merge.app, [*call, "--json"])
    assert [c["kl"] for c in json.loads(as_json.stdout)["candidates"]] == [1.6e-4, 0.54]


@pytest.mark.parametrize(("error", "status"), [(RunError("no run"), 2), (MergeError("far"), 1)])
def test_a_refusal_is_1_and_a_wrong_folder_is_2(
    error: Exception, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: Path, out: Path, **options: object) -> MergeResult:
        raise error

    monkeypatch.setattr(merge, "run_merge", refuse)
    done = CliRunner().invoke(merge.app, [str(tmp_path), "--out", str(tmp_path / "model")])
    assert done.exit_code == status
    assert str(error) in done.stderr


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(merge.app, [str(tmp_path), "--out", str(tmp_path / "model")])
    assert done.exit_code == 2
    assert "holds no complete run" in done.stderr
