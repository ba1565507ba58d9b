"""How much memory a training run needs at its highest moment, part by part.

Weights, adapters, gradients and optimizer are counted as ZeRO does (arXiv:1910.02054, 3.1), 4-bit
weights as QLoRA does (arXiv:2305.14314, 3). Activations are counted tensor by tensor, the way of
"Reducing Activation Recomputation" (arXiv:2205.05198, 4), for what transformers 5, SDPA and PEFT
0.21 really keep: `tests/training/planner/test_saved_tensors.py` counts autograd's saved tensors.

Two moments can be the highest: the begin of the backward pass, when all activations are alive and
three arrays of tokens x vocabulary in float32 (the log-softmax and two gradients), or its end, when
all gradients are. A GPU's allocator gives room that is freed to whoever asks next. The C library's
does so less well, which counts on a CPU: see `_holes`.
"""

from dataclasses import dataclass, fields
from enum import StrEnum

from training.planner.architecture import Architecture

_ADAM = 8  # two float32 moments of a trained weight
# Two 8-bit moments, and a float32 scale of each for every 256 (arXiv:2110.02861).
_ADAM_8BIT = 2 * (1 + 4 / 256)
# NF4 in blocks of 64 whose scales have 8 bits and, for every 256, one of 32 (arXiv:2305.14314, 3).
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
_INT8 = 1.0
# Python with torch, transformers and PEFT before a model is loaded; bitsandbytes comes on top.
_RUNTIME_CPU = {"full": 700 * 2**20, "lora": 700 * 2**20, "qlora": 760 * 2**20}
# Share of a forward pass's temporaries whose room is not found again (see `_holes`); measured.
_LOST = 0.4


class Method(StrEnum):
    """What is trained: all weights, or adapters on a base in 16 (on a CPU 32) or 4 bits."""

    FULL = "full"
    LORA = "lora"
    QLORA = "qlora"


@dataclass(frozen=True, slots=True)
class Run:
    """The choices of a training run that decide about its memory.

    Args:
        method: What is trained.
        batch: Rows of a step on one device.
        tokens: Tokens of the longest row in it, to which the others are padded.
        cpu: Whether it runs on a CPU: all in float32. A GPU computes in bfloat16, and full
            fine-tuning keeps its weights in float32 there, adapters too.
        checkpointing: Whether activations are computed again instead of kept.
        rank: Rank of the adapters, which sit on all matrices of the layers.
        dropout: Dropout in front of the adapters; above 0 each keeps a copy of its input.
        padded: Whether rows differ in length, so that attention takes a mask.
        paged_8bit: Whether the optimizer is bitsandbytes' paged 8-bit AdamW.
        head_share: Share of positions for which the head is computed.
    """

    method: Method
    batch: int = 4
    tokens: int = 256
    cpu: bool = False
    checkpointing: bool = True
    rank: int = 16
    dropout: float = 0.0
    padded: bool = True
    paged_8bit: bool = False
    head_share: float = 1.0

    @property
    def positions(self) -> int:
        """Tokens of a step, padding included."""
        return self.batch * self.tokens


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of each part at the highest moment of a step."""

    weights: float
    adapters: float
    optimizer: float
    gradients: float
    activations: float
    logits: float
    fragmentation: float
    runtime: float

    @property
    def total(self) -> float:
        """All parts together."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        """Return the bytes by the name of the part."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def estimate(shape: Architecture, run: Run, runtime: float | None = None) -> Memory:
    """Return what a step of a run needs at its highest moment.

    Args:
        shape: The model.
        run: The run.
        runtime: Bytes of the process itself. By default those of Python and its libraries on a
            CPU, and nothing on a GPU, whose context a margin covers (see `fit`).
    """
    full = run.method is Method.FULL
    trained = shape.parameters if full else shape.adapter_parameters(run.rank)
    if runtime is None:
        runtime = float(_RUNTIME_CPU[run.method]) if run.cpu else 0.0
    kept = {
        "weights": weight_bytes(shape, run),
        "adapters": 0.0 if full else 4.0 * trained,
        "optimizer": trained * (_ADAM_8BIT if run.paged_8bit else _ADAM),
        "runtime": runtime,
    }
    activations, holes = activation_bytes(shape, run), _holes(shape, run)
    # The head's own gradient is there when the activations still are.
    scores = 4.0 * run.positions * run.head_share * shape.vocab
    head_gradient = 4.0 * shape.embedding_parameters if full else 0.0
    begin = Memory(
        **kept,
        gradients=0.0,
        activations=activations,
        logits=max(3 * scores, scores + head_gradient),
        fragmentation=holes,
    )
    # A tied embedding gets its gradient twice, from the head and from the lookup.
    twice = 4.0 * shape.embedding_parameters if full and shape.tied else 0.0
    end = Memory(
        **kept,
        gradients=4.0 * trained + twice,
        activations=0.0,
        logits=0.0,
        fragmentation=activations + holes if run.cpu else 0.0,
    )
    return max(begin, end, key=lambda memory: memory.total)


def weight_bytes(shape: Architecture, run: Run) -> float:
    """Return the bytes of the weights as a run keeps them; adapters are left out."""
    if run.method is Method.FULL:
        # On a GPU autocast also holds a bfloat16 copy of each until the step's end.
        return shape.parameters * (4.0 if run.cpu else 6.0)
    if run.method is Method.LORA:
        return shape.parameters * (4.0 if run.cpu else 2.0)
    # `prepare_model_for_kbit_training` casts all that is not quantised to float32.
    rest = shape.parameters - shape.linear_parameters
    return _NF4 * shape.linear_parameters + 4.0 * rest


def stored_bytes(shape: Architecture, bits: int) -> float:
    """Return the bytes of the weights for serving in 16, 8 or 4 bits; only matrices have fewer."""
    per_weight = {16: 2.0, 8: _INT8, 4: _NF4}[bits]
    rest = shape.parameters - shape.linear_parameters
    return per_weight * shape.linear_parameters + 2.0 * rest


def activation_bytes(shape: Architecture, run: Run) -> float:
    """Return the bytes of activations when the backward pass begins (or is in its first layer)."""
    layer = run.positions * layer_bytes(shape, run)
    end = run.positions * shape.hidden * 3 * 4  # the last norm's
    if not run.checkpointing:
        return shape.layers * layer + end
    # Only the input of each layer is kept; one layer at a time is computed again, by when the
    # logits are gone: what of it does not fit into their place comes on top.
    width = 2 if run.method is Method.LORA and not run.cpu else 4
    again = max(0.0, layer - 12 * run.positions * run.head_share * shape.vocab)
    return shape.layers * run.positions * shape.hidden * width + again + end


def layer_bytes(shape: Architecture, run: Run) -> float:
    """Return the bytes that one layer keeps of one token for its backward pass.

    Norms keep their input (and, trained, its normalised form); matrices their input where they or
    an adapter are trained; attention its queries, keys, values and output; the MLP its gate, the
    gate's activation, the other half and their product.
    """
    full = run.method is Method.FULL
    hidden, query, mlp = shape.hidden, shape.query_width, shape.intermediate
    # With a mask, SDPA has no grouped attention: keys and values are repeated for each head.
    kept_kv = 2 * (query if run.padded else shape.kv_width)
    mask = run.tokens if run.padded else 0
    head_norms = shape.qk_norm * (query + shape.kv_width)
    norms = 2 * hidden * (2 if full else 1) + head_norms
    normalised = head_norms if full else 0
    ranks = 0 if full else 7 * run.rank
    softmax = shape.heads
    drops = 5 * hidden + query + mlp if run.dropout and not full else 0
    if run.cpu:
        # One normalised input serves all matrices behind a norm, unless each drops its own part.
        inputs = 2 * hidden if not drops else 5 * hidden + query
        attention = 2 * query + kept_kv + mask + softmax
        return 4.0 * (norms + normalised + inputs + attention + 4 * mlp + ranks + drops)
    # Autocast makes a bfloat16 copy of its input for each matrix; norms and dropout keep float32.
    copies = 5 * hidden + (0 if full else query)
    half = copies + normalised + 2 * query + kept_kv + 4 * mlp + ranks + mask
    return 2.0 * half + 4.0 * (norms + softmax + drops)


def _holes(shape: Architecture, run: Run) -> float:
    """Return the bytes that a CPU's allocator loses between what is kept of a forward pass.

    glibc before 2.39 puts what is left around an aligned block where its neighbours cannot be
    merged with it (sourceware bug 30723), so room of temporaries stays resident between tensors
    that are kept, and that of activations when gradients are made. Measured with glibc 2.36: with
    MALLOC_MMAP_THRESHOLD_=262144, which takes large blocks from the kernel, all of it disappears,
    and small steps take a third longer. Checkpointing makes the same temporaries.
    """
    if not run.cpu:
        return 0.0
    adapted = run.method is not Method.FULL
    hidden, query, kv, mlp = shape.hidden, shape.query_width, shape.kv_width, shape.intermediate
    norms = (4 if adapted else 2) * hidden  # squares; normalised inputs where they are not kept
    rotary = 3.5 * (query + kv) + query + kv + kv * run.padded
    outputs = 2 * hidden
    # Beside an adapter: the base's product, the adapter's and its scaled form.
    adapters = adapted * 3 * (query + 2 * kv + 2 * hidden + 2 * mlp)
    temporaries = 4.0 * run.positions * (norms + rotary + outputs + adapters)
    return _LOST * temporaries * shape.layers
