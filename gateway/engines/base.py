"""What an engine is to the launcher: a command, an address and a log file.

To add an engine, implement `EngineKind` in a file of its own beside `vllm.py` and `echo.py`.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the echo engine's process starts without a database library
    from gateway.store.releases import Release

SLOTS = ("blue", "green")

# Removed from an engine's environment: dev mode opens routes that pause the engine or replace its
# weights, and with a key of its own the engine would refuse the gateway.
_DROPPED = frozenset({"VLLM_SERVER_DEV_MODE", "VLLM_API_KEY"})
_DROPPED_PREFIX = "DRIFTGATE_"  # the database's password is among these settings


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine to run.

    Args:
        release: What it serves; its id is the engine's model name.
        slot: "blue" or "green".
        address: Where it listens: "unix:/path.sock" or "http://host:port".
        log: The file that its output is appended to.
    """

    release: "Release"
    slot: str
    address: str
    log: Path


class EngineKind(Protocol):
    """How one sort of engine is started; it must answer `GET /health` with 200 once ready."""

    def command(self, spec: EngineSpec) -> list[str]:
        """Return the program and its arguments; no shell sees them."""
        ...

    def environment(self, spec: EngineSpec) -> dict[str, str]:
        """Return the variables that the engine gets on top of the launcher's own."""
        ...


def child_environment(
    kind: EngineKind, spec: EngineSpec, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of an engine: the inherited one, less what it must not see."""
    kept = {
        name: value
        for name, value in inherited.items()
        if name not in _DROPPED and not name.startswith(_DROPPED_PREFIX)
    }
    return kept | {
        name: value for name, value in kind.environment(spec).items() if name not in _DROPPED
    }


def listen_arguments(address: str) -> list[str]:
    """Return `--uds PATH` or `--host HOST --port PORT`; raises ValueError for another address."""
    path = socket_path(address)
    if path is not None:
        return ["--uds", str(path)]
    host, port = host_and_port(address)
    return ["--host", host, "--port", str(port)]


def socket_path(address: str) -> Path | None:
    """Return the path of a "unix:…" address, None for any other."""
    return Path(address.removeprefix("unix:")) if address.startswith("unix:") else None


def host_and_port(address: str) -> tuple[str, int]:
    """Split "http://host:port"; an IPv6 host is written in brackets. Raises ValueError."""
    if not address.startswith("http://"):
        raise ValueError(f"an engine's address is unix:PATH or http://HOST:PORT, not {address!r}")
    host, colon, port = address.removeprefix("http://").rstrip("/").rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise ValueError(f"an engine's address needs a host and a port: {address!r}")
    return host.strip("[]"), int(port)


def engine_addresses(run_dir: Path, host: str, port: int) -> dict[str, str]:
    """Return the address of each slot: private Unix sockets, or ports of `host` where it is set."""
    if not host:
        return {slot: f"unix:{run_dir / f'engine-{slot}.sock'}" for slot in SLOTS}
    shown = f"[{host}]" if ":" in host else host
    return {slot: f"http://{shown}:{port + number}" for number, slot in enumerate(SLOTS)}


def private_folder(path: Path) -> None:
    """Create `path` for this user alone (mode 0700), or make it so.

    Raises:
        PermissionError: Someone else owns it, or it is a link: in a shared folder such as /tmp
            that is how another user would get hold of the engine's socket.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is not a folder of this user; remove it")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
