"""How fast a run trains, and so how long it takes and what it costs.

A weight costs two operations for each token forward, and four backward: two for the gradient of its
input, two for its own (arXiv:2001.08361, 2.1). A frozen weight has no gradient of its own, and
checkpointing makes the forward pass of the layers twice. Causal attention adds 2 · width · length
operations a token and layer.
"""

from dataclasses import dataclass

from training.planner.architecture import Architecture
from training.planner.devices import Assumptions, Device, assumptions
from training.planner.memory import Method, Run


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to train on: rows, their mean tokens, and how often they are gone through."""

    rows: int
    tokens: int
    epochs: float

    @property
    def total(self) -> float:
        """Tokens that are trained on in all."""
        return self.rows * self.tokens * self.epochs


@dataclass(frozen=True, slots=True)
class Price:
    """What a run takes: tokens a second, seconds, and dollars where the device has a price."""

    tokens_per_s: float
    seconds: float
    dollars: float | None


def price(
    shape: Architecture, run: Run, work: Work, device: Device, per_hour: float | None = None
) -> Price:
    """Return what a run on one device takes.

    Args:
        shape: The model.
        run: The run.
        work: What it trains on.
        device: What it runs on.
        per_hour: Dollars an hour, instead of the device's own.
    """
    speed = tokens_per_second(shape, run, device)
    seconds = work.total / speed
    rate = device.price if per_hour is None else per_hour
    return Price(speed, seconds, None if rate is None else rate * seconds / 3600)


def tokens_per_second(
    shape: Architecture, run: Run, device: Device, assumed: Assumptions | None = None
) -> float:
    """Return the tokens a second that a step trains on, padding included."""
    assumed = assumed or assumptions()
    computing = run.positions * operations(shape, run) / (device.flops * assumed.utilisation)
    if not device.cpu:
        computing = max(computing, shape.layers * assumed.layer_seconds)
    return run.positions / (computing + _dequantising(shape, run, device, assumed))


def operations(shape: Architecture, run: Run) -> float:
    """Return the floating-point operations of a token, forward and backward."""
    head = shape.embedding_parameters * run.head_share
    attention = shape.layers * 2 * shape.query_width * run.tokens
    layers = 2 * shape.linear_parameters + attention
    passes = 3 if run.method is Method.FULL else 2
    adapters = 0 if run.method is Method.FULL else 6 * shape.adapter_parameters(run.rank)
    return (passes + run.checkpointing) * layers + passes * 2 * head + adapters


def _dequantising(shape: Architecture, run: Run, device: Device, assumed: Assumptions) -> float:
    """Return the seconds of a step that go into 4-bit weights: read, written, and read again."""
    if run.method is not Method.QLORA:
        return 0.0
    width = 4 if run.cpu else 2
    moved = shape.linear_parameters * (0.5 + 2 * width) * (2 + run.checkpointing)
    return moved / (device.bandwidth * assumed.bandwidth_share)
