"""What the formula says is kept for the backward pass is what autograd keeps, tensor by tensor."""

from typing import Any

import pytest

from training.planner.architecture import from_config
from training.planner.memory import Method, Run, layer_bytes

pytestmark = pytest.mark.train

_CONFIG: dict[str, Any] = {
    "hidden_size": 192,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 512,
    "vocab_size": 500,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
# Their product is no width of a matrix, which tells activations from weights.
_BATCH, _TOKENS = 4, 100


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
@pytest.mark.parametrize(
    ("method", "dropout"), [(Method.FULL, 0.0), (Method.LORA, 0.0), (Method.LORA, 0.1)]
)
@pytest.mark.parametrize("cpu", [True, False])
def test_the_bytes_of_a_layer(
    method: Method, dropout: float, family: str, padded: bool, cpu: bool
) -> None:
    # A GPU's mix of bfloat16 and float32 is autograd's on any device.
    run = Run(method, _BATCH, _TOKENS, cpu=cpu, dropout=dropout, padded=padded, rank=8)
    one, two = (_saved(run, family, layers) for layers in (1, 2))
    shape = from_config({**_CONFIG, "model_type": family, "num_hidden_layers": 1}, "test")
    kept = (two - one) / run.positions
    assert layer_bytes(shape, run) == pytest.approx(kept, rel=0.03)


def _saved(run: Run, family: str, layers: int) -> int:
    """Return the bytes of all tensors that a forward pass saves, parameters and casts left out."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(family, num_hidden_layers=layers, **_CONFIG)
    dtype = torch.float32 if run.cpu or run.method is Method.FULL else torch.bfloat16
    model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    if run.method is Method.LORA:
        options = LoraConfig(
            r=run.rank, lora_dropout=run.dropout, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = get_peft_model(model, options)
    model.train()
    model.config.use_cache = False
    found: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.randint(0, 500, (run.batch, run.tokens))
    mask = torch.ones_like(tokens)
    if run.padded:
        mask[0, -1] = 0
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=not run.cpu):
            model(input_ids=tokens, attention_mask=mask, labels=tokens)
    sizes = (t.untyped_storage().nbytes() for t in found.values() if not _is_weight(t, model))
    return sum(sizes)


def _is_weight(tensor: Any, model: Any) -> bool:
    """Whether a saved tensor is a parameter or autocast's copy of one: its size has no tokens."""
    if tensor.dim() > 2:
        return False
    shapes = {tuple(p.shape) for p in model.parameters()}
    return tuple(tensor.shape) in shapes or tuple(reversed(tensor.shape)) in shapes
