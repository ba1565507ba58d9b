"""Adapters in a running engine: a candidate is served without an engine of its own.

For machines with memory for one engine (`DRIFTGATE_SLOTS=1`). Each adapter is an engine to the
gateway: a row with the address of the engine that has it, and the candidate as its release.

starting ──loaded──► ready ──engine gone──► restarting ──loaded again──► ready
   └──refused──► failed (tried again)
no alias wants it: the row goes at once, the adapter when the workers have noticed
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from gateway.digests import FileDigests, differences
from gateway.engines.base import EngineSpec
from gateway.engines.probe import post
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release

_log = logging.getLogger(__name__)
_LOAD_TIMEOUT_S = 120.0
_RETRY_S = 5.0
_LOADED_ALREADY = "already been loaded"


def fits(release: Release, running: Release) -> bool:
    """Return whether a release can be served as an adapter in the engine of another.

    It must have been trained from exactly that one, and its adapter must still be there.
    """
    return (
        release.base_release == running.id
        and release.adapter_path is not None
        and (Path(release.adapter_path) / "adapter_config.json").is_file()
    )


class Adapters:
    """The adapters in one engine.

    Args:
        spec: The engine.
        host: The host's name in the rows.
        files: What computes digests.
        linger_s: How long an adapter that is no longer wanted stays loaded, in seconds.
        on_change: Called in the event loop with a row's slot and the row, or None: it is gone.
    """

    def __init__(
        self,
        spec: EngineSpec,
        *,
        host: str,
        files: FileDigests,
        linger_s: float,
        on_change: Callable[[str, Engine | None], None],
    ) -> None:
        self._spec = spec
        self._host = host
        self._files = files
        self._linger_s = linger_s
        self._on_change = on_change
        self._kept: dict[str, tuple[str, asyncio.Task[None]]] = {}  # by release: slot, task
        self._leaving: set[asyncio.Task[None]] = set()
        self._count = 0
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self._down.set()

    def engine_changed(self, state: EngineState) -> None:
        """Hear of the engine's state: what was loaded is gone when it ends."""
        if state is EngineState.READY:
            self._down.clear()
            self._up.set()
        else:
            self._up.clear()
            self._down.set()

    def want(self, releases: Iterable[Release]) -> None:
        """Have the adapters of these releases loaded, and no others."""
        wanted = {release.id: release for release in releases}
        for id in self._kept.keys() - wanted.keys():
            self._leave(id)
        for id, release in wanted.items():
            if id not in self._kept:
                self._count += 1
                slot = f"{self._spec.slot}+{self._count}"
                task = asyncio.create_task(self._keep(slot, release), name=f"adapter-{slot}")
                self._kept[id] = slot, task

    async def close(self) -> None:
        """Take the rows away; the engine ends, and the adapters with it."""
        tasks = [task for _, task in self._kept.values()] + list(self._leaving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for slot, _ in self._kept.values():
            self._on_change(slot, None)
        self._kept.clear()

    def _leave(self, id: str) -> None:
        slot, task = self._kept.pop(id)
        task.cancel()
        self._on_change(slot, None)
        leaving = asyncio.create_task(self._unload(id), name=f"adapter-{slot}-unload")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _keep(self, slot: str, release: Release) -> None:
        """Load it whenever the engine is up."""
        self._publish(slot, release, EngineState.STARTING)
        while True:
            await self._up.wait()
            started = time.monotonic()
            error = await self._load(release)
            if error is not None:
                _log.warning("the adapter of %s cannot be served: %s", release.id, error)
                self._publish(slot, release, EngineState.FAILED, error)
                await asyncio.sleep(_RETRY_S)
                continue
            _log.info("the adapter of %s: loaded in %.2f s", release.id, time.monotonic() - started)
            self._publish(slot, release, EngineState.READY)
            await self._down.wait()
            self._publish(slot, release, EngineState.RESTARTING)

    async def _load(self, release: Release) -> str | None:
        """Check the files and load the adapter; returns what is wrong."""
        changed = await asyncio.to_thread(_changed, release, self._files)
        if changed:
            return "its files are not what was registered:\n" + "\n".join(changed)
        return await self._ask("/v1/load_lora_adapter", _named(release))

    async def _unload(self, id: str) -> None:
        await asyncio.sleep(self._linger_s)
        if id in self._kept or not self._up.is_set():
            return
        error = await self._ask("/v1/unload_lora_adapter", {"lora_name": id})
        if error is None:
            _log.info("the adapter of %s was unloaded", id)
        else:
            _log.warning("the adapter of %s cannot be unloaded: %s", id, error)

    async def _ask(self, path: str, document: dict[str, str]) -> str | None:
        try:
            status, answer = await post(self._spec.address, path, document, _LOAD_TIMEOUT_S)
        except (OSError, TimeoutError, ValueError) as error:
            return f"the engine does not answer: {type(error).__name__}: {error}"
        text = answer.decode(errors="replace")
        if status == 200 or _LOADED_ALREADY in text:
            return None
        return f"the engine answers {status}: {text[:500]}"

    def _publish(
        self, slot: str, release: Release, state: EngineState, error: str | None = None
    ) -> None:
        row = Engine(
            slot=slot,
            host=self._host,
            release=release.id,
            address=self._spec.address,
            state=state,
            pid=None,
            restarts=0,
            error=error,
            updated_at=time.time(),
        )
        self._on_change(slot, row)


def _named(release: Release) -> dict[str, str]:
    path = Path(str(release.adapter_path)).absolute()  # the engine may work in another folder
    return {"lora_name": release.id, "lora_path": str(path)}


def _changed(release: Release, files: FileDigests) -> list[str]:
    """Compare both what is loaded now and what takes its place later with the digests."""
    changed = differences(Path(release.path), release.digests, files) if release.digests else []
    try:
        told = json.loads((Path(release.path) / "release.json").read_text("utf-8"))
        adapter = dict(told["adapter"])
    except FileNotFoundError:
        return changed  # a release that was not made here names no digests of its adapter
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [*changed, f"release.json: cannot be read ({error})"]
    folder = Path(str(release.adapter_path))
    return changed + [f"adapter, {line}" for line in differences(folder, adapter, files)]
