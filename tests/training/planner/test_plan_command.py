import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from training.commands import plan as command
from training.commands.plan import app
from training.planner.calibration import Comparison
from training.planner.dry_run import Measured
from training.planner.memory import Run, estimate


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def _json(*arguments: str, status: int = 0) -> Any:
    result = _run(*arguments, "--json")
    assert result.exit_code == status, result.output
    return json.loads(result.stdout)


def test_a_plan_names_the_method_and_its_price() -> None:
    shown = _json("llama-3.1-8b", "--rows", "1000", "--tokens", "256", "--epochs", "3")
    assert shown["chosen"] == "lora"
    by = {option["method"]: option for option in shown["options"]}
    assert by["full"]["verdict"] == "too large"
    assert by["qlora"]["bytes"] < by["lora"]["bytes"] < shown["device"]["memory_bytes"]
    qlora = by["qlora"]
    assert sum(qlora["parts"].values()) == pytest.approx(qlora["bytes"])
    assert qlora["dollars"] == pytest.approx(768_000 / qlora["tokens_per_s"] / 3600 * 1.006)


def test_own_memory_price_and_method() -> None:
    shown = _json("llama-3.1-8b", "--memory", "12", "--price", "2", "--method", "qlora")
    (option,) = shown["options"]
    assert shown["chosen"] == "qlora"
    assert option["dollars"] == pytest.approx(option["seconds"] / 1800)


def test_the_table_shows_a_picture() -> None:
    result = _run("llama-3.1-8b", "--gpu", "a10g")
    assert result.exit_code == 0
    assert "Take lora" in result.stdout
    assert "»" in result.stdout
    assert "┃ memory there is" in result.stdout


def test_where_nothing_fits_the_status_is_1_and_a_card_is_named() -> None:
    result = _run("qwen3-8b", "--memory", "6")
    assert result.exit_code == 1
    assert "Nothing fits. With qlora it would on: RTX 3090" in result.stdout
    result = _run("mistral-large-2", "--gpu", "h100", "--method", "full")
    assert result.exit_code == 1
    assert "Shared out (FSDP)" in result.stdout
    assert _json("qwen3-8b", "--memory", "6", status=1)["chosen"] is None


def test_a_task_chooses_the_model() -> None:
    assert _json("--task", "code")["model"] == "qwen2.5-7b"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a MODEL, or --task"),
        (("x", "--task", "code"), "give a MODEL, or --task"),
        (("smollm2-135m", "--tokens", "9000"), "--tokens 9,000 is longer than smollm2-135m's"),
        (("smollm2-135m", "--gpu", "abacus"), "no GPU 'abacus'"),
        (("smollm2-135m", "--dry-run"), "--dry-run needs a folder"),
        (("nothing-such",), "no model 'nothing-such'"),
    ],
)
def test_wrong_use_is_named(arguments: tuple[str, ...], message: str) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(("factor", "status"), [(1.0, 0), (0.9, 0), (1.2, 1), (0.8, 1)])
def test_a_dry_run_that_is_far_off_says_so_by_its_status(
    factor: float, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100,
        "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 512,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))

    def compare(_: Path, shape: Any, runs: list[Run], *__: Any, **___: Any) -> list[Comparison]:
        memory = estimate(shape, runs[0])
        peak = round(memory.total / factor)
        measured = Measured(peak, 0, 0, 0, shape.parameters, 1, 1.0, 90.0, 4.6, "a device")
        return [Comparison(runs[0], memory, 100.0, measured)]

    monkeypatch.setattr(command, "compare", compare)
    arguments = (str(tmp_path), "--gpu", "cpu", "--method", "lora", "--dry-run")
    (row,) = _json(*arguments, status=status)
    assert row["ratio"] == pytest.approx(factor, rel=1e-6)
    shown = _run(*arguments)
    assert f"{factor:.2f}" in shown.stdout
    assert f"| {factor:.2f} |" in _run(*arguments, "--markdown").stdout
