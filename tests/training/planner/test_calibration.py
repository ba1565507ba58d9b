import json
from pathlib import Path
from typing import Any

import pytest

from training.catalog import entries
from training.planner.architecture import Architecture, read_config
from training.planner.calibration import Comparison, DryRunError, compare, markdown
from training.planner.devices import device
from training.planner.dry_run import Measured
from training.planner.memory import Method, Run, estimate
from training.planner.throughput import Work

_SHAPE = entries()["smollm2-135m"].shape
# SmolLM2-135M's, for made-up weights.
_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 30,
    "hidden_size": 576,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
}


def _comparison(run: Run, peak: int, speed: float) -> Comparison:
    measured = Measured(peak, 0, 0, 0, 134_515_008, 1, 1.0, speed, 9.0, "CPU, 2 threads")
    return Comparison(run, estimate(_SHAPE, run), 100.0, measured)


def test_the_table_holds_what_was_measured_beside_the_estimate() -> None:
    full = _comparison(Run(Method.FULL, 4, 64, cpu=True), 4 * 2**30, 50.0)
    lora = _comparison(Run(Method.LORA, 4, 64, cpu=True), 1 * 2**30, 200.0)
    other = _comparison(Run(Method.LORA, 4, 256, cpu=True), 2 * 2**30, 200.0)
    shown = markdown(
        "small", [full, lora, other], device("cpu"), Work(1000, 64, 3), 0.5, "driftgate plan x"
    )
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in shown.splitlines()
        if line.startswith("| ")
    ][2:]
    assert "    driftgate plan x" in shown
    assert [row[0] for row in rows] == ["full", "lora", "lora"]
    assert rows[1][4] == "1.00 GiB"
    assert rows[1][5] == f"{lora.memory.total / 2**30:.2f}"
    assert rows[1][6] == "25%"
    assert rows[2][6] == ""
    # 192,000 tokens at 200 a second are 960 s.
    assert rows[1][9] == "0.3 h, $0.13"


def test_a_process_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'ValueError: no room' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    with pytest.raises(DryRunError, match="lora: ValueError: no room"):
        next(compare(tmp_path, _SHAPE, [Run(Method.LORA, cpu=True)], device("cpu")))
    script.write_text("#!/bin/sh\nkill -9 $$\n")
    with pytest.raises(DryRunError, match="killed, most likely for its memory"):
        next(compare(tmp_path, _SHAPE, [Run(Method.LORA, cpu=True)], device("cpu")))


def test_another_model_than_the_configuration_says_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    measured = {"peak_bytes": 1, "runtime_bytes": 1, "load_peak_bytes": 1, "loaded_bytes": 1,
                "parameters": 7, "trained": 1, "step_s": 1.0, "tokens_per_s": 1.0, "loss": 1.0,
                "device": "x"}  # fmt: skip
    script.write_text(f"#!/bin/sh\necho '{json.dumps(measured)}'\n")
    script.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(script))
    with pytest.raises(DryRunError, match="has 7 parameters, its configuration"):
        next(compare(tmp_path, _SHAPE, [Run(Method.LORA, cpu=True)], device("cpu")))


@pytest.mark.train
@pytest.mark.parametrize(
    ("method", "checkpointing"),
    [(Method.FULL, True), (Method.LORA, False), (Method.LORA, True), (Method.QLORA, False)],
)
def test_two_real_steps_need_what_was_estimated(
    method: Method, checkpointing: bool, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(_CONFIG))
    shape: Architecture = read_config(tmp_path)
    run = Run(method, 2, 96, cpu=True, checkpointing=checkpointing)
    found = next(compare(tmp_path, shape, [run], device("cpu"), random_weights=True))
    assert found.measured.parameters == shape.parameters
    assert found.measured.trained == (
        shape.parameters if method is Method.FULL else shape.adapter_parameters(16)
    )
    assert 9 < found.measured.loss < 13  # log(49,152) is 10.8: it computed something
    assert found.ratio == pytest.approx(1, abs=0.15)
