"""Whether a merged model is whole: what was trained, in numbers, with the tokens of its base.

Weights are read from the files as they lie there, a part at a time: no model is loaded. The format
is safetensors' (https://huggingface.co/docs/safetensors, "Format"): eight bytes with the length of
a JSON header, the header, the numbers.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from training.candidate import copied
from training.evaluation.gates import Gate, Verdict
from training.run_folder import sha256

NAME = "integrity"
_TITLE = "Is what was trained, whole and in numbers"
_CHUNK = 2**22
# The bits of an exponent: all of them set is an infinity or no number (IEEE 754). E4M3 has no
# infinity, and one pattern but for the sign that is no number.
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0000000000000),
    "F32": ("<u4", 0x7F800000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("<u1", 0x7C),
    "F8_E4M3": ("<u1", 0x7F),
}
_HEADER_BYTES = 100 * 2**20
# What an engine needs of the configuration to end an answer where training ended it.
_ENDS = ("eos_token_id", "bos_token_id", "vocab_size", "model_type")


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a model: what was looked at, whether it is right, and what was seen."""

    name: str
    right: bool
    seen: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


class _Tensor(NamedTuple):
    """A tensor in a file: its type, and where its numbers begin and end behind the header."""

    kind: str
    first: int
    last: int


class BadWeights(ValueError):
    """A file is no safetensors file, or not a whole one; the message names it."""


def inspect(
    model: Path,
    base: Path,
    digests: Mapping[str, str],
    kl: float,
    kl_limit: float,
    *,
    evaluated_itself: bool = False,
) -> list[Check]:
    """Check a merged model.

    Args:
        model: Its folder.
        base: Folder of the model that it was trained from.
        digests: SHA-256 of its files as they were merged.
        kl: How far it is from the adapter as trained, in nats a token.
        kl_limit: How far it may be.
        evaluated_itself: Whether the merge was chosen by an evaluation of itself: then it is what
            was evaluated, however far from the adapter.
    """
    return [
        _fidelity(kl, kl_limit, evaluated_itself),
        _tokens(model, base),
        _ends(model, base),
        unchanged(model, digests),
        _numbers(model),
    ]


def gate(checks: Sequence[Check | Mapping[str, Any]]) -> Gate:
    """Return the gate of some checks, which may have been stored as JSON."""
    found = [each if isinstance(each, Check) else Check(**each) for each in checks]
    wrong = [check for check in found if not check.right]
    verdict = Verdict.FAIL if wrong else Verdict.PASS if found else Verdict.INCONCLUSIVE
    told = "; ".join(f"{check.name}: {check.seen}" for check in wrong or found)
    return Gate(NAME, _TITLE, verdict, told or "nothing was checked")


def unchanged(model: Path, digests: Mapping[str, str]) -> Check:
    """Check that a model's weights are the ones that were merged."""
    weights = sorted(name for name in digests if name.endswith(".safetensors"))
    there = sorted(str(path.relative_to(model)) for path in model.rglob("*.safetensors"))
    if weights != there or not weights:
        return Check("weights", False, f"there are {there}, not {weights}")
    changed = [name for name in weights if sha256(model / name) != digests[name]]
    if changed:
        return Check("weights", False, f"{changed[0]} is not what was merged")
    return Check("weights", True, f"{len(weights)} files with the digests of the merge")


def _fidelity(kl: float, limit: float, evaluated_itself: bool) -> Check:
    seen = f"KL {kl:.2g} nats a token to the adapter, at most {limit:g}"
    if evaluated_itself and math.isfinite(kl):
        return Check("fidelity", True, f"{seen}; the merge itself was evaluated and chosen")
    return Check("fidelity", bool(kl <= limit), seen)


def _tokens(model: Path, base: Path) -> Check:
    """Check that tokenizer, chat template and generation settings are the base's."""
    names = copied(base)
    differ = [
        name
        for name in names
        if not (model / name).is_file() or (model / name).read_bytes() != (base / name).read_bytes()
    ]
    if differ:
        return Check("tokens", False, f"{differ[0]} is not the one that was trained with")
    more = sorted(set(copied(model)) - set(names))
    if more:
        return Check("tokens", False, f"{more[0]} was not there when it was trained")
    return Check("tokens", True, f"{len(names)} files as they were trained with")


def _ends(model: Path, base: Path) -> Check:
    ours, theirs = (_config(folder) for folder in (model, base))
    for name in _ENDS:
        if ours.get(name) != theirs.get(name):
            told = f"{name} is {ours.get(name)}, and was {theirs.get(name)} in training"
            return Check("ends", False, told)
    return Check("ends", True, f"eos_token_id {ours.get('eos_token_id')}, as in training")


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _numbers(model: Path) -> Check:
    tensors = 0
    for path in sorted(model.rglob("*.safetensors")):
        try:
            for name, finite in finite_tensors(path):
                tensors += 1
                if not finite:
                    told = f"{path.name}: {name} holds what is no number"
                    return Check("numbers", False, told)
        except (BadWeights, OSError) as error:
            return Check("numbers", False, str(error))
    if not tensors:
        return Check("numbers", False, "there are no tensors")
    return Check("numbers", True, f"{tensors:,} tensors, every number finite")


def finite_tensors(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each tensor of a file, and whether all of its numbers are finite.

    Raises:
        BadWeights: It is no whole safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_HEADER_BYTES, size - 8):
            raise BadWeights(f"{path.name} is no whole safetensors file")
        try:
            header = json.loads(file.read(length))
            tensors = {
                name: _Tensor(str(entry["dtype"]), *map(int, entry["data_offsets"]))
                for name, entry in header.items()
                if name != "__metadata__"
            }
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
            raise BadWeights(f"{path.name}: its header cannot be read") from error
        for name, tensor in tensors.items():
            kind, first, last = tensor
            if not 0 <= first <= last <= size - 8 - length:
                raise BadWeights(f"{path.name}: {name} lies outside the file")
            file.seek(8 + length + first)
            yield name, _is_finite(file, kind, last - first)


def _is_finite(file: Any, kind: str, left: int) -> bool:
    if kind not in _EXPONENTS:
        return True  # whole numbers
    unsigned, mask = _EXPONENTS[kind]
    while left > 0:
        part = file.read(min(left, _CHUNK))
        if not part:
            return False
        left -= len(part)
        bits = np.frombuffer(part, dtype=unsigned)
        if bool(((bits & bits.dtype.type(mask)) == mask).any()):
            return False
    return True
