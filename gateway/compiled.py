"""The compiled hot path: the same modules as machine code, where `make compile` has built them.

mypyc turns typed Python into C extensions (https://mypyc.readthedocs.io): a request then costs half
the time in the gateway. A build belongs to the exact sources that it came from, so a changed file
makes this fall back to the interpreter at once instead of running old code.
"""

import hashlib
import os
import sys
from pathlib import Path

# What a request goes through. The msgspec Structs on the way are in `bodies` and `served`.
MODULES = (
    "admission", "auth", "breaker", "call", "connection", "conversations", "faults", "flow",
    "front", "gate", "heads", "http", "limits/block", "limits/quota", "metrics", "outbox",
    "pipeline", "relay", "routing", "spool", "sse", "task", "upstream", "wire",
)  # fmt: skip
_PACKAGE = Path(__file__).parent


def build_folder() -> Path:
    """Return where the build of the present sources is, or would be."""
    digest = hashlib.sha256(sys.version.encode())
    for name in MODULES:
        digest.update((_PACKAGE / f"{name}.py").read_bytes())
    return Path(sys.prefix) / "driftgate-compiled" / digest.hexdigest()[:16]


def is_used() -> bool:
    """Return whether the compiled modules are the ones that run."""
    return str(build_folder()) in sys.path


def use(package_path: list[str], name: str = "gateway") -> None:
    """Put the build of the present sources before them, unless `DRIFTGATE_COMPILED` is 0.

    Args:
        package_path: The `__path__` of the package.
        name: The package.
    """
    if os.environ.get("DRIFTGATE_COMPILED") == "0":
        return
    folder = build_folder()
    if (folder / "complete").exists():
        package_path.insert(0, str(folder.joinpath(*name.split("."))))
        if not is_used():
            sys.path.append(str(folder))  # the modules share one library, which lies beside them
