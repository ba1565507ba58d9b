"""The real trainer on a model of random weights: resuming, the loss, 4-bit bases, both merges."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training import tiny_model
from training.events import read
from training.merge import merge
from training.run import TrainConfig, TrainResult, train
from training.run_folder import RunError, RunFolder, digests, read_json

pytestmark = pytest.mark.train

_SETTINGS: dict[str, object] = {
    "max_steps": 24,
    "eval_every": 6,
    "log_every": 1,
    "learning_rate": 0.01,
    "lora.dropout": 0.1,  # so that a resumed run must also restore the random state
    "threads": 1,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("tiny")
    return TrainConfig(
        base=tiny_model.save(folder / "base"),
        data=tiny_model.rows(folder / "train.jsonl", 60, 1),
        eval=tiny_model.rows(folder / "valid.jsonl", 20, 2),
        out=folder / "whole",
        recipe="tiny-cpu-smoke",
        overrides=_SETTINGS,
    )


@pytest.fixture(scope="module")
def whole(config: TrainConfig) -> TrainResult:
    """A run that nothing interrupted."""
    return train(config)


def test_a_run_learns_and_leaves_what_it_should(whole: TrainResult) -> None:
    assert whole.steps == whole.total == 24
    assert whole.eval_loss is not None
    assert whole.first_eval_loss is not None
    assert whole.eval_loss < whole.first_eval_loss
    names = {path.name for path in whole.run.iterdir()}
    assert {
        "recipe.yaml",
        "versions.json",
        "manifest.json",
        "metrics.jsonl",
        "train.log",
        "checkpoints",
        "adapter",
        "loss.png",
        "report.html",
        "result.json",
    } <= names
    assert {p.name for p in whole.adapter.iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    manifest = read_json(whole.run / "manifest.json")
    assert (manifest["train"]["rows"], manifest["eval"]["rows"]) == (60, 20)
    # One colour and one end a row.
    assert manifest["train"]["trained_tokens"] == 120
    page = (whole.run / "report.html").read_text()
    assert "<svg" in page
    assert "<script" not in page


def test_a_run_that_is_ended_goes_on_as_if_nothing_was(
    config: TrainConfig, whole: TrainResult, tmp_path: Path
) -> None:
    out = whole.run.with_name("ended")
    data = tiny_model.rows(tmp_path / "train.jsonl", 60, 1)
    config = replace(config, data=data, out=out, resume=True)
    _end(config, signal.SIGTERM, at=9)
    first = _steps(out)
    tiny_model.rows(data, 60, 3)
    with pytest.raises(RunError, match="train changed since the run began"):
        train(config)
    tiny_model.rows(data, 60, 1)
    _end(config, signal.SIGKILL, at=15)
    second = _steps(out)
    assert not (out / "result.json").exists()
    result = train(config)
    third = _steps(out)
    # Finished steps are not made again: SIGTERM makes a checkpoint, SIGKILL goes back to one.
    assert second == list(range(first[-1] + 1, second[-1] + 1))
    assert third == list(range(max(first[-1], second[-1] // 6 * 6) + 1, 25))
    wanted = {e.step: e.loss for e in read(whole.run / "metrics.jsonl") if e.kind == "step"}
    assert {e.step: e.loss for e in read(out / "metrics.jsonl") if e.kind == "step"} == wanted
    assert result.eval_loss == whole.eval_loss
    assert digests(result.adapter) == digests(whole.adapter)


def test_a_complete_run_starts_no_process(config: TrainConfig, whole: TrainResult) -> None:
    began = time.monotonic()
    assert train(replace(config, resume=True)) == whole
    assert time.monotonic() - began < 1


def test_the_loss_is_that_of_trl(config: TrainConfig) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from training import qlora
    from training.rows import tokenise

    tokenizer = tiny_model.tokenizer()
    rows = tokenise(config.data, tokenizer, config.base, max_length=64).rows[:8]
    model = AutoModelForCausalLM.from_pretrained(config.base, dtype=torch.float32)
    whole = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row.labels) for row in rows], batch_first=True, padding_value=-100
    )
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row.ids) for row in rows], batch_first=True, padding_value=0
    )
    mask = torch.nn.utils.rnn.pad_sequence(
        [torch.ones(len(row.ids), dtype=torch.long) for row in rows], batch_first=True
    )
    wanted = model(input_ids=ids, attention_mask=mask, labels=whole).loss.item()

    # Only what `compute_loss` reads of a trainer.
    class Bare:
        args = type("A", (), {"device": torch.device("cpu"), "average_tokens_across_devices": 0})

    bare: Any = Bare()
    bare.model = model.eval()
    found = qlora.Trainer.compute_loss(
        bare, model, {"input_ids": ids, "attention_mask": mask, "labels": whole}
    )
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_the_order_of_rows_is_fair_grouped_and_its_own_by_epoch() -> None:
    from training.qlora import LengthGrouped

    lengths = [(n * 7919) % 100 for n in range(1003)]
    order = LengthGrouped(lengths, 8, seed=1)
    first = list(order)
    assert sorted(first) == list(range(1003))
    assert list(LengthGrouped(lengths, 8, seed=1)) == first
    order.set_epoch(1)
    assert list(order) != first
    spans = [
        max(lengths[n] for n in first[i : i + 8]) - min(lengths[n] for n in first[i : i + 8])
        for i in range(0, 1000, 8)
    ]
    assert sum(spans) / len(spans) < 10


def test_a_4_bit_run_merges_into_both_bases_although_it_is_killed(
    config: TrainConfig, tmp_path: Path
) -> None:
    settings = {**_SETTINGS, "method": "qlora", "max_steps": 12}
    trained = train(replace(config, out=tmp_path / "four-bit", overrides=settings))
    work = tmp_path / ".model.partial"
    first = work / "dequantised-bfloat16.json"
    call = "import sys; from pathlib import Path; from training.merge import merge; "
    call += "merge(Path(sys.argv[1]), Path(sys.argv[2]), prompts=20)"
    arguments = [sys.executable, "-c", call, str(trained.run), str(tmp_path / "model")]
    with subprocess.Popen(arguments) as process:
        while not first.exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    weights = (work / "dequantised-bfloat16" / "model.safetensors").stat()
    told: list[str] = []
    merged = merge(trained.run, tmp_path / "model", prompts=20, on_progress=told.append)
    # It goes on with what is missing.
    assert not work.exists()
    assert [text for text in told if text.startswith("building")] == [
        "building and measuring the merge into the original base, bfloat16"
    ]
    assert "asking the adapter as it was trained" not in told
    assert (merged.model / "model.safetensors").stat().st_mtime_ns == weights.st_mtime_ns
    kl = {(c.kind, c.precision): c.kl for c in merged.candidates}
    print("KL of merges:", kl)
    assert len(kl) == 2
    assert merged.kind == "dequantised"
    assert merged.kl <= 1e-3
    assert kl["original", "bfloat16"] > kl["dequantised", "bfloat16"]
    assert merged.agreement == 1.0
    # Tokenizer, template and generation config are the base's, byte by byte.
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (merged.model / name).read_bytes() == (config.base / name).read_bytes()
    assert "quantization_config" not in read_json(merged.model / "config.json")


def test_all_weights_train_and_merge(config: TrainConfig, tmp_path: Path) -> None:
    full = replace(
        config, out=tmp_path / "run", overrides={**_SETTINGS, "method": "full", "max_steps": 8}
    )
    merged = merge(train(full).run, tmp_path / "model", prompts=20)
    assert merged.kind == "trained"
    assert merged.kl <= 1e-3


def _steps(out: Path) -> list[int]:
    """Return the steps since a trainer last began."""
    events = read(out / "metrics.jsonl")
    begun = max(n for n, event in enumerate(events) if event.kind == "started")
    return [event.step for event in events[begun:] if event.kind == "step"]


def _end(config: TrainConfig, how: signal.Signals, at: int) -> None:
    """Start a training as another process would, and end its trainer at a step."""
    from training import recipe as recipes
    from training import run

    folder = RunFolder(config.out)
    recipe = recipes.load(config.recipe, config.overrides)
    run._prepare(config, recipe, folder)
    with folder.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "training.run", str(config.out)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=run.environment(recipe),
        )
    try:
        while not any(e.step >= at for e in read(folder.metrics)):
            assert process.poll() is None, folder.log.read_text()[-2000:]
            time.sleep(0.01)
        process.send_signal(how)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
