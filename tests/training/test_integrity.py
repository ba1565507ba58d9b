"""A merged model that is whole, and every way in which it is not."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import integrity
from training.evaluation.gates import Verdict
from training.run_folder import digests


def tensors(path: Path, **arrays: "tuple[str, np.ndarray[Any, Any]]") -> None:
    """Write a safetensors file, as its format says."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, (kind, array) in arrays.items():
        raw = array.tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def bfloat(*values: float) -> "tuple[str, np.ndarray[Any, Any]]":
    wide = np.array(values, dtype=np.float32).view(np.uint32)
    return "BF16", (wide >> 16).astype(np.uint16)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    config = {"eos_token_id": 1, "vocab_size": 30, "model_type": "llama", "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"a": 1}')
    (folder / "chat_template.jinja").write_text("<{{ m }}>")
    (folder / "generation_config.json").write_text('{"eos_token_id": 1}')
    tensors(folder / "model.safetensors", w=bfloat(1.0, -2.5))
    return folder


@pytest.fixture
def model(base: Path, tmp_path: Path) -> Path:
    shutil.copytree(base, tmp_path / "merged")
    tensors(
        tmp_path / "merged" / "model.safetensors",
        w=bfloat(1.5, -3.0e38, 0.0),
        n=("I64", np.array([-1, 2**62])),
        f=("F32", np.array([1.0, 3.4e38], dtype=np.float32)),
    )
    (tmp_path / "merged" / "README.md").write_text("a card")
    return tmp_path / "merged"


def inspected(model: Path, base: Path, kl: float = 1e-4, **more: Any) -> list[integrity.Check]:
    known = more.pop("digests", None) or digests(model)
    return integrity.inspect(model, base, known, kl, 1e-3, **more)


def test_a_whole_model_passes(model: Path, base: Path) -> None:
    checks = inspected(model, base)
    assert [check.name for check in checks] == ["fidelity", "tokens", "ends", "weights", "numbers"]
    assert all(check.right for check in checks), checks
    gate = integrity.gate([check.as_dict() for check in checks])
    assert (gate.name, gate.verdict) == ("integrity", Verdict.PASS)
    assert "3 tensors" in gate.reason
    assert integrity.gate([]).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("kl", [2e-3, float("nan"), float("inf")])
def test_a_merge_that_is_far_from_its_adapter_fails(model: Path, base: Path, kl: float) -> None:
    gate = integrity.gate(inspected(model, base, kl))
    assert gate.verdict is Verdict.FAIL
    assert gate.reason.startswith("fidelity: KL")


def test_a_merge_that_was_evaluated_itself_may_be_far(model: Path, base: Path) -> None:
    assert integrity.gate(inspected(model, base, 0.5, evaluated_itself=True)).verdict == "PASS"
    nan = inspected(model, base, float("nan"), evaluated_itself=True)
    assert integrity.gate(nan).verdict == "FAIL"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("tokenizer.json", '{"a": 2}', "tokens: tokenizer.json is not"),
        ("chat_template.jinja", None, "tokens: chat_template.jinja is not"),
        ("added_tokens.json", "{}", "tokens: added_tokens.json was not there"),
        ("config.json", '{"eos_token_id": 2}', "ends: eos_token_id is 2, and was 1"),
        ("config.json", "no json", "ends: eos_token_id is None"),
    ],
)
def test_tokens_must_be_those_of_training(
    model: Path, base: Path, name: str, text: str | None, told: str
) -> None:
    if text is None:
        (model / name).unlink()
    else:
        (model / name).write_text(text)
    gate = integrity.gate(inspected(model, base))
    assert gate.verdict is Verdict.FAIL
    assert told in gate.reason


def test_weights_must_be_those_that_were_merged(model: Path, base: Path) -> None:
    merged = digests(model)
    tensors(model / "model.safetensors", w=bfloat(9.0))
    assert "is not what was merged" in integrity.gate(inspected(model, base, digests=merged)).reason
    shutil.copy(model / "model.safetensors", model / "more.safetensors")
    told = integrity.gate(inspected(model, base, digests=merged)).reason
    assert "more.safetensors" in told


@pytest.mark.parametrize(
    "bad",
    [
        bfloat(1.0, float("nan")),
        bfloat(float("-inf")),
        ("F32", np.array([1.0, np.nan], dtype=np.float32)),
        ("F16", np.array([np.inf], dtype=np.float16)),
        ("F64", np.array([np.nan])),
        ("F8_E4M3", np.array([0xFF], dtype=np.uint8)),
        ("F8_E5M2", np.array([0x7C], dtype=np.uint8)),
    ],
)
def test_a_number_that_is_none_is_found(
    model: Path, base: Path, bad: "tuple[str, np.ndarray[Any, Any]]"
) -> None:
    tensors(model / "model.safetensors", good=bfloat(1.0), bad=bad)
    gate = integrity.gate(inspected(model, base))
    assert "numbers: model.safetensors: bad holds what is no number" in gate.reason


def test_one_nan_in_a_large_tensor_is_found(model: Path, base: Path) -> None:
    large = np.ones(3_000_000, dtype=np.float32)
    large[-1] = np.nan
    tensors(model / "model.safetensors", large=("F32", large))
    assert integrity.gate(inspected(model, base)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "content",
    [b"", b"\x02", b"\xff" * 16, (50).to_bytes(8, "little") + b"{}", b"\x02\0\0\0\0\0\0\0[]"],
)
def test_what_is_no_safetensors_file_is_told(model: Path, base: Path, content: bytes) -> None:
    (model / "model.safetensors").write_bytes(content)
    gate = integrity.gate(inspected(model, base))
    assert "numbers: model.safetensors" in gate.reason


def test_a_tensor_outside_its_file_is_told(model: Path, base: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert "lies outside the file" in integrity.gate(inspected(model, base)).reason
