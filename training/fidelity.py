"""How far one model is from another on the same rows: KL divergence and greedy answers.

A model is probed once, and two probes are compared, so that no two models are ever in memory.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.rows import IGNORED, TokenRow

# Distributions that are kept of a probe: with 128,000 words, float32, a quarter of a gigabyte.
MAX_POSITIONS = 512
# Prompts that are answered at once.
_BATCH = 25


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How a model differs from the one it was made of.

    Args:
        kl: Mean over positions of KL(reference ‖ model), in nats a token; the positions are those
            of the answers' tokens, with the true answer before them.
        worst_kl: The highest of them.
        positions: How many positions.
        agreement: Share of prompts whose greedy answers are the same, token by token.
        prompts: How many prompts.
    """

    kl: float
    worst_kl: float
    positions: int
    agreement: float
    prompts: int

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as they are written."""
        return asdict(self)


def probe(
    model: Any,
    rows: Sequence[TokenRow],
    *,
    ends: Sequence[int],
    pad: int,
    on_row: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Return what a model says of rows: log-probabilities at answers, and greedy answers.

    Args:
        model: A causal language model in evaluation mode; arithmetic in its own precision.
        rows: Whose answers' positions count, up to `MAX_POSITIONS`.
        ends: The ids that end an answer.
        pad: The id to pad with.
        on_row: Called with the number of prompts answered.

    Returns:
        `logprobs`, a float32 tensor (positions, vocabulary), and `answers`, the ids of each row.
    """
    import torch

    model.eval()
    answers: list[list[int]] = []
    with torch.inference_mode():
        kept = _logprobs(model, rows)
        for start in range(0, len(rows), _BATCH):
            answers += _answers(model, rows[start : start + _BATCH], ends, pad)
            if on_row is not None:
                on_row(len(answers))
    return {"logprobs": kept, "answers": answers}


def compare(reference: dict[str, Any], other: dict[str, Any]) -> Fidelity:
    """Return how far a probe is from the reference's, both of the same rows."""
    true, found = reference["logprobs"], other["logprobs"]
    # Summed in float64: the divergences looked for are smaller than float32's error of a sum.
    kl = (true.double().exp() * (true.double() - found.double())).sum(-1)
    pairs = list(zip(reference["answers"], other["answers"], strict=True))
    return Fidelity(
        kl=float(kl.mean()),
        worst_kl=float(kl.max()),
        positions=int(kl.numel()),
        agreement=sum(a == b for a, b in pairs) / len(pairs),
        prompts=len(pairs),
    )


def save(probed: dict[str, Any], path: Path) -> None:
    """Write a probe."""
    import torch
    from safetensors.torch import save_file

    flat = torch.tensor([token for answer in probed["answers"] for token in answer] or [0])
    lengths = torch.tensor([len(answer) for answer in probed["answers"]])
    save_file({"logprobs": probed["logprobs"], "flat": flat, "lengths": lengths}, path)


def read(path: Path) -> dict[str, Any]:
    """Read a probe."""
    from safetensors.torch import load_file

    raw = load_file(path)
    flat, answers = raw["flat"].tolist(), []
    for length in raw["lengths"].tolist():
        answers.append(flat[:length])
        flat = flat[length:]
    return {"logprobs": raw["logprobs"], "answers": answers}


def _logprobs(model: Any, rows: Sequence[TokenRow]) -> Any:
    import torch

    kept: list[Any] = []
    count = 0
    for row in rows:
        if count >= MAX_POSITIONS:
            break
        ids = torch.tensor([row.ids], device=model.device)
        wanted = [n - 1 for n, label in enumerate(row.labels) if label != IGNORED and n]
        wanted = wanted[: MAX_POSITIONS - count]
        logits = model(input_ids=ids, use_cache=False).logits[0, wanted]
        kept.append(torch.log_softmax(logits.float(), -1).cpu())
        count += len(wanted)
    return torch.cat(kept)


def _answers(
    model: Any, rows: Sequence[TokenRow], ends: Sequence[int], pad: int
) -> list[list[int]]:
    import torch

    longest = max(row.prompt for row in rows)
    ids = torch.full((len(rows), longest), pad, device=model.device)
    mask = torch.zeros_like(ids)
    for n, row in enumerate(rows):
        ids[n, longest - row.prompt :] = torch.tensor(row.ids[: row.prompt])
        mask[n, longest - row.prompt :] = 1
    room = max(len(row.ids) - row.prompt for row in rows) + 16
    made = model.generate(
        input_ids=ids,
        attention_mask=mask,
        max_new_tokens=room,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=list(ends),
        pad_token_id=pad,
        use_cache=True,
    )[:, longest:].tolist()
    return [_until(answer, ends) for answer in made]


def _until(answer: list[int], ends: Sequence[int]) -> list[int]:
    stop = next((n for n, token in enumerate(answer) if token in ends), len(answer))
    return answer[:stop]
