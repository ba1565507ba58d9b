import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from training.catalog import CatalogError, entries, find, smallest, tasks, unplanned
from training.commands.catalog import app
from training.planner.architecture import ConfigError

# Sums over the shapes in the index of each model's safetensors.
_EXACT = {
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "smollm3-3b": 3_075_098_624,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.3-70b": 70_553_706_496,
    "mistral-7b": 7_248_023_552,
    "mistral-small-3.2-24b": 23_572_403_200,
    "mistral-large-2": 122_610_069_504,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
}


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize("name", entries())
def test_parameters_follow_from_the_configuration(name: str) -> None:
    entry = entries()[name]
    assert entry.shape.parameters == pytest.approx(entry.published * 1e9, rel=0.005)


@pytest.mark.parametrize(("name", "count"), _EXACT.items())
def test_the_count_is_exact(name: str, count: int) -> None:
    assert entries()[name].shape.parameters == count


def test_every_entry_says_where_it_is_from_and_is_good_at_known_tasks() -> None:
    for entry in entries().values():
        assert entry.source.startswith("https://")
        assert set(entry.strengths) <= set(tasks())
        assert entry.hub.count("/") == 1


def test_the_smallest_model_grows_with_the_task() -> None:
    assert smallest("extraction").name == "smollm2-135m"
    assert smallest("code").name == "qwen2.5-7b"  # mistral-7b is smaller, and not known for code
    assert smallest("reasoning").shape.parameters > 14e9
    for task in tasks().values():
        found = smallest(task.name)
        assert found.shape.parameters >= task.minimum * 1e9
        assert task.name in found.strengths
    with pytest.raises(CatalogError, match="no task 'dance'; known: extraction"):
        smallest("dance")


def test_a_model_is_found_by_name_hub_and_folder(tmp_path: Path) -> None:
    assert find("Llama-3.1-8B").name == "llama-3.1-8b"
    assert find("qwen/qwen3-8b").entry is not None
    folder = tmp_path / "mine"
    folder.mkdir()
    config = {
        "model_type": "llama",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "vocab_size": 100,
        "max_position_embeddings": 64,
    }
    (folder / "config.json").write_text(json.dumps(config))
    found = find(str(folder))
    assert (found.name, found.path) == ("mine", folder)
    assert find(str(folder / "config.json")).shape == found.shape


def test_what_is_nowhere_is_told_with_close_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CatalogError, match="did you mean llama-3"):
        find("llama-3.1-9b")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CatalogError, match="HF_HUB_OFFLINE is set"):
        find("some/model")


def test_a_model_that_is_not_planned_for_says_why() -> None:
    for other in unplanned():
        with pytest.raises(ConfigError, match=other.why[:20]):
            find(other.name)


def test_the_command_lists_all_as_json() -> None:
    result = _run("--json")
    assert result.exit_code == 0, result.output
    shown: list[dict[str, Any]] = json.loads(result.stdout)
    assert [row["name"] for row in shown] == list(entries())
    large = next(row for row in shown if row["name"] == "llama-3.3-70b")
    # 141 GB of weights want two cards of 80 GB at least.
    assert large["serving"]["count"] > 1
    assert large["cache_bytes_per_token"] == 2 * 80 * 8 * 128 * 2


def test_the_command_shows_one_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = _run("smollm2-135m")
    assert "134,515,008" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_the_command_names_what_it_cannot_find(tmp_path: Path) -> None:
    result = _run(str(tmp_path))
    assert result.exit_code == 2
    assert f"{tmp_path / 'config.json'} cannot be read" in result.stderr
    shutil.rmtree(tmp_path)
