"""A model's shape, read from its `config.json`, and how many parameters follow from it.

Dense decoders of the Llama family are known: RMSNorm, rotary positions, grouped-query attention and
a gated MLP. Their layers differ only in biases and in norms of queries and keys, so one formula
counts them all (transformers, `models/llama/modeling_llama.py` and its siblings).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a family's configuration class assumes where `config.json` is silent (transformers 5.19).
_FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"num_key_value_heads": 8},
    "ministral3": {"num_key_value_heads": 8},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"head_dim": 128, "qk_norm": True},
    "smollm3": {"num_key_value_heads": 4, "tie_word_embeddings": True},
}
_MAX_CONFIG_BYTES = 2**20


class ConfigError(ValueError):
    """A configuration that cannot be planned for; the message names the file and the field."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """The numbers of a dense decoder that decide about memory and time.

    Args:
        family: The `model_type` of its configuration.
        layers: Number of decoder layers.
        hidden: Width of the residual stream.
        heads: Query heads.
        kv_heads: Key and value heads (grouped-query attention, arXiv:2305.13245).
        head_dim: Width of one head.
        intermediate: Width of the gated MLP.
        vocab: Rows of the embedding.
        context: Longest sequence that its positions allow, in tokens.
        tied: Whether the head is the embedding.
        qkv_bias: Whether query, key and value have biases.
        output_bias: Whether the attention's output has one.
        mlp_bias: Whether the MLP has them.
        qk_norm: Whether queries and keys are normalised per head.
    """

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    context: int
    tied: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False

    @property
    def query_width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of all key heads together; that of the value heads is the same."""
        return self.kv_heads * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Weights of the layers' matrices: what is quantised, and what adapters sit on."""
        return self.layers * sum(rows * columns for rows, columns in self._matrices())

    @property
    def embedding_parameters(self) -> int:
        """Weights of the token embedding."""
        return self.vocab * self.hidden

    @property
    def head_parameters(self) -> int:
        """Weights of a head of its own; 0 where it is the embedding."""
        return 0 if self.tied else self.vocab * self.hidden

    @property
    def small_parameters(self) -> int:
        """Norms and biases."""
        bias = (
            self.qkv_bias * (self.query_width + 2 * self.kv_width)
            + self.output_bias * self.hidden
            + self.mlp_bias * (2 * self.intermediate + self.hidden)
        )
        norms = 2 * self.hidden + self.qk_norm * 2 * self.head_dim
        return self.layers * (bias + norms) + self.hidden

    @property
    def parameters(self) -> int:
        """All parameters."""
        return (
            self.linear_parameters
            + self.embedding_parameters
            + self.head_parameters
            + self.small_parameters
        )

    @property
    def multiplied_parameters(self) -> int:
        """Weights that a token is multiplied with: the matrices and the head."""
        return self.linear_parameters + self.embedding_parameters

    @property
    def largest_matrix(self) -> int:
        """Weights of the largest matrix of a layer."""
        return max(rows * columns for rows, columns in self._matrices())

    def adapter_parameters(self, rank: int) -> int:
        """Return the weights of LoRA adapters on all matrices (arXiv:2106.09685)."""
        return self.layers * sum(rank * (rows + columns) for rows, columns in self._matrices())

    def _matrices(self) -> tuple[tuple[int, int], ...]:
        """Input and output width of the seven matrices of a layer."""
        query = (self.hidden, self.query_width)
        key = (self.hidden, self.kv_width)
        up = (self.hidden, self.intermediate)
        output = (self.query_width, self.hidden)
        return query, key, key, output, up, up, (self.intermediate, self.hidden)


def read_config(path: Path) -> Architecture:
    """Read the `config.json` at a path, or in a folder.

    Raises:
        ConfigError: It is missing, is not JSON, or describes no dense decoder that is known.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        if file.stat().st_size > _MAX_CONFIG_BYTES:
            raise ConfigError(f"{file} is no configuration: it is larger than 1 MiB")
        config = json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror})") from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{file} is not JSON ({error})") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file} must hold one JSON object")
    return from_config(config, str(file))


def from_config(config: Mapping[str, Any], origin: str) -> Architecture:
    """Read a configuration of transformers; of a model that also sees, its text part.

    Args:
        config: The object of `config.json`.
        origin: What errors call it.

    Raises:
        ConfigError: A field is missing or senseless, or the family is not known.
    """
    nested = config.get("text_config")
    if isinstance(nested, dict):
        tied = config.get("tie_word_embeddings")
        config = nested if tied is None else {"tie_word_embeddings": tied, **nested}
    family = config.get("model_type")
    if family not in _FAMILIES:
        raise ConfigError(
            f"{origin}: `model_type` {family!r} is not planned for; "
            f"known are dense decoders: {', '.join(_FAMILIES)}"
        )
    fields = _Fields({**_FAMILIES[family], **_given(config)}, origin)
    hidden, heads = fields.count("hidden_size"), fields.count("num_attention_heads")
    kv_heads = fields.count("num_key_value_heads", heads)
    if heads % kv_heads:
        raise ConfigError(
            f"{origin}: `num_attention_heads` {heads} is no multiple of "
            f"`num_key_value_heads` {kv_heads}"
        )
    bias = fields.flag("attention_bias")
    return Architecture(
        family=family,
        layers=fields.count("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=fields.count("head_dim", hidden // heads),
        intermediate=fields.count("intermediate_size"),
        vocab=fields.count("vocab_size"),
        context=fields.count("max_position_embeddings"),
        tied=fields.flag("tie_word_embeddings"),
        qkv_bias=bias or fields.flag("qkv_bias"),
        output_bias=bias,
        mlp_bias=fields.flag("mlp_bias"),
        qk_norm=fields.flag("qk_norm"),
    )


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if value is not None}


class _Fields:
    """The fields of a configuration, read with errors that name them."""

    def __init__(self, config: Mapping[str, Any], origin: str) -> None:
        self._config = config
        self._origin = origin

    def count(self, name: str, default: int | None = None) -> int:
        value = self._config.get(name, default)
        if value is None:
            raise ConfigError(f"{self._origin}: `{name}` is missing")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{self._origin}: `{name}` must be a whole number from 1: {value!r}")
        return value

    def flag(self, name: str) -> bool:
        value = self._config.get(name, False)
        if not isinstance(value, bool):
            raise ConfigError(f"{self._origin}: `{name}` must be true or false, not {value!r}")
        return value
