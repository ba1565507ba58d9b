"""What it takes to serve a model: its memory, and what a million tokens cost on a card.

Decoding reads all weights and the cache of every sequence once for a token of each: it is bound by
bandwidth (arXiv:2211.05102, 2).
"""

import math
from dataclasses import dataclass

from training.planner.architecture import Architecture
from training.planner.devices import Device, assumptions, gpus
from training.planner.memory import stored_bytes

SEQUENCES = 16
LENGTH = 2048
# Kernels of a step take this long to start, however small the model is (an assumption).
_STEP_SECONDS = 0.005
_ROOM = 0.9  # vLLM's own default share of a card: gpu_memory_utilization


@dataclass(frozen=True, slots=True)
class Serving:
    """How a model is served cheapest.

    Args:
        device: The kind of card.
        count: How many of them (tensor parallel).
        weights: Bytes of the weights.
        cache: Bytes of the key-value cache of all sequences.
        tokens_per_s: Tokens a second of all sequences together.
        dollars_per_million: Price of a million of them while the card is busy.
    """

    device: Device
    count: int
    weights: float
    cache: float
    tokens_per_s: float
    dollars_per_million: float


def cache_bytes(shape: Architecture, tokens: int) -> float:
    """Return the bytes of 16-bit keys and values of a sequence of that many tokens."""
    return 2.0 * 2 * shape.layers * shape.kv_width * tokens


def cheapest(shape: Architecture, bits: int = 16) -> Serving:
    """Return the cheapest way an hour to serve 16 sequences of 2,048 tokens, on up to 8 cards."""
    ways = [way for gpu in gpus().values() if (way := _on(shape, gpu, bits)) is not None]
    return min(ways, key=lambda way: (way.device.price or 0) * way.count)


def _on(shape: Architecture, gpu: Device, bits: int) -> Serving | None:
    weights = stored_bytes(shape, bits)
    cache = SEQUENCES * cache_bytes(shape, LENGTH)
    room = _ROOM * gpu.memory_bytes - assumptions().context_gib * 2**30
    count = 2 ** math.ceil(math.log2(max(1.0, (weights + cache) / room)))
    if count > 8 or gpu.price is None:
        return None
    moved = (weights + cache / 2) / (count * gpu.bandwidth * assumptions().bandwidth_share)
    speed = SEQUENCES / max(moved, _STEP_SECONDS)
    dollars = gpu.price * count / 3600 / speed * 1e6
    return Serving(gpu, count, weights, cache, speed, dollars)
