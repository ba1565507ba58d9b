import json
from pathlib import Path
from typing import Any

import pytest

from training.planner.architecture import ConfigError, from_config, read_config

_LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
    "max_position_embeddings": 512,
}


def test_every_matrix_is_counted_once() -> None:
    shape = from_config(_LLAMA, "here")
    layer = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128
    assert shape.linear_parameters == 2 * layer
    assert shape.parameters == 2 * (layer + 2 * 64) + 64 + 2 * 100 * 64
    adapters = (64 + 64) + 2 * (64 + 32) + (64 + 64) + 3 * (64 + 128)
    assert shape.adapter_parameters(8) == 2 * 8 * adapters


def test_a_tied_head_is_counted_once_but_multiplied_with() -> None:
    tied = from_config({**_LLAMA, "tie_word_embeddings": True}, "here")
    untied = from_config(_LLAMA, "here")
    assert untied.parameters - tied.parameters == 100 * 64
    assert untied.multiplied_parameters == tied.multiplied_parameters


def test_families_differ_in_biases_and_norms() -> None:
    plain = from_config(_LLAMA, "here").parameters
    qwen2 = from_config({**_LLAMA, "model_type": "qwen2"}, "here")
    assert qwen2.parameters - plain == 2 * (64 + 2 * 32)
    qwen3 = from_config({**_LLAMA, "model_type": "qwen3", "head_dim": 16}, "here")
    assert qwen3.parameters - plain == 2 * 2 * 16
    biased = from_config({**_LLAMA, "attention_bias": True}, "here")
    assert biased.parameters - plain == 2 * (64 + 2 * 32 + 64)


def test_the_text_part_of_a_model_that_sees_is_read() -> None:
    wrapped = {"model_type": "mistral3", "text_config": {**_LLAMA, "model_type": "mistral"}}
    assert from_config(wrapped, "here").parameters == from_config(_LLAMA, "here").parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bert"}, "`model_type` 'bert' is not planned for"),
        ({"model_type": None}, "`model_type` None"),
        ({"hidden_size": None}, "`hidden_size` is missing"),
        ({"hidden_size": "64"}, "`hidden_size` must be a whole number"),
        ({"vocab_size": 0}, "`vocab_size` must be a whole number from 1: 0"),
        ({"num_hidden_layers": True}, "`num_hidden_layers` must be"),
        ({"num_key_value_heads": 3}, "no multiple of `num_key_value_heads` 3"),
        ({"tie_word_embeddings": "yes"}, "`tie_word_embeddings` must be true or false"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"here: .*{message}"):
        from_config({**_LLAMA, **change}, "here")


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        read_config(tmp_path)
    file = tmp_path / "config.json"
    file.write_text("{")
    with pytest.raises(ConfigError, match="is not JSON"):
        read_config(file)
    file.write_text("[]")
    with pytest.raises(ConfigError, match="one JSON object"):
        read_config(tmp_path)
    file.write_text(json.dumps({**_LLAMA, "note": "x" * 2**21}))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_config(tmp_path)
