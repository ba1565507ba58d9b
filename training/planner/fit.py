"""Which method fits a memory, with what margin, and which device is the cheapest that does."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from training.planner.architecture import Architecture
from training.planner.devices import Device, assumptions
from training.planner.memory import Memory, Method, Run, estimate

# Where several fit: adapters learn less than all weights do, and forget less (arXiv:2405.09673);
# 4 bits only cost where there is room for 16.
_PREFERENCE = (Method.LORA, Method.QLORA, Method.FULL)
# Below this share of free memory a run is called tight: estimates are good to 15 %, not to a byte.
TIGHT = 0.1


@dataclass(frozen=True, slots=True)
class Option:
    """A method with the settings that make it fit best, and what it then needs.

    Args:
        run: The run; batches are made smaller and activations computed again only where needed.
        memory: What it needs.
        available: Bytes that it has.
        accumulate: Steps of gradients that are added up to keep the batch that was wished for.
    """

    run: Run
    memory: Memory
    available: float
    accumulate: int

    @property
    def margin(self) -> float:
        """Share of the memory that stays free; negative where it is too little."""
        return 1 - self.memory.total / self.available

    @property
    def verdict(self) -> str:
        """`fits`, `tight` or `too large`."""
        if self.margin < 0:
            return "too large"
        return "fits" if self.margin >= TIGHT else "tight"


def options(
    shape: Architecture,
    wish: Run,
    available: float,
    methods: Iterable[Method] = Method,
    keep: bool = False,
) -> list[Option]:
    """Return the best option of each method, in the order of the methods.

    Args:
        shape: The model.
        wish: The run as wished for.
        available: Bytes of memory.
        methods: The methods to try.
        keep: Whether the wish's batch and checkpointing stay as they are.
    """
    return [_best(shape, replace(wish, method=method), available, keep) for method in methods]


def choose(found: Iterable[Option]) -> Option | None:
    """Return the option to take, or None: LoRA before QLoRA before full, with room before tight."""
    able = [option for option in found if option.margin >= 0]
    able.sort(key=lambda o: (o.verdict == "tight", _PREFERENCE.index(o.run.method)))
    return able[0] if able else None


def cards(shape: Architecture, run: Run, device: Device) -> int | None:
    """Return on how many cards a run fits when all but activations is shared out (FSDP, ZeRO-3).

    None where the activations of one row are too many for one card.
    """
    need = estimate(shape, run, runtime=context_bytes(device))
    own = need.activations + need.logits + need.fragmentation + need.runtime
    shared = need.total - own
    room = device.memory_bytes * (1 - TIGHT) - own
    return None if room <= 0 else max(1, math.ceil(shared / room))


def context_bytes(device: Device) -> float | None:
    """Return what a device needs beside tensors; None for a CPU, whose runtime `memory` knows."""
    return None if device.cpu else assumptions().context_gib * 2**30


def _best(shape: Architecture, wish: Run, available: float, keep: bool) -> Option:
    context = None if wish.cpu else assumptions().context_gib * 2**30
    tried: list[Option] = []
    batch = wish.batch
    while True:
        for checkpointing in (wish.checkpointing,) if keep or wish.checkpointing else (False, True):
            run = replace(wish, batch=batch, checkpointing=checkpointing)
            need = estimate(shape, run, context)
            tried.append(Option(run, need, available, math.ceil(wish.batch / batch)))
            if tried[-1].verdict == "fits":
                return tried[-1]
        if keep or batch == 1:
            return max(tried, key=lambda option: option.margin)
        batch = max(1, batch // 2)
