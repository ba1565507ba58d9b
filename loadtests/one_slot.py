"""Measures one-slot mode with the real vLLM: adapter, promotion, swap, while users go on asking.

    python -m loadtests.one_slot [--model FOLDER] [--users 6] [--work FOLDER]

It makes an adapter of small random weights and its merged model, serves the base by `driftgate
serve` with one slot, loads the candidate, shares traffic with it, promotes it, and lets it take the
engine's place. Every request is kept. Writes `loadtests/results/one_slot.md`.
"""

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.hub import Pulled, installed
from gateway.store.database import Database
from gateway.store.engines import Engines
from gateway.store.keys import SCOPES, Keys
from gateway.store.releases import Release, Releases, Target, release_id

_RESULTS = Path(__file__).parent / "results" / "one_slot.md"
_MODEL = Path(".driftgate/models/smollm2-135m-instruct")
_START_S = 900.0


@dataclass(frozen=True)
class Answer:
    """What a user got: when it was asked, how long it took, whether it was whole, from whom."""

    at: float
    seconds: float
    status: int
    release: str


def make_candidate(base: Path, out: Path) -> dict[str, dict[str, str]]:
    """Write an adapter of small random weights and the merged model; returns both's digests."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=2e-3)
    adapted.save_pretrained(out / "adapter")
    adapted.merge_and_unload().save_pretrained(out / "merged")
    for file in base.iterdir():
        if not (out / "merged" / file.name).exists() and file.name != "driftgate.json":
            shutil.copy(file, out / "merged")
    made = {"adapter": _digests(out / "adapter"), "files": _digests(out / "merged")}
    (out / "merged" / "release.json").write_text(json.dumps(made))
    return made


class Measured:
    """The machine under load: a store, users and what they got."""

    def __init__(self, work: Path, base: Pulled, users: int) -> None:
        home = work / "home"
        home.mkdir()
        self.made = make_candidate(base.path, work)
        self.database = Database(f"sqlite:///{home / 'driftgate.db'}")
        self.database.migrate()
        self.releases, self.engines = Releases(self.database), Engines(self.database)
        self.old = release_id(base.name, base.digests)
        self.new = release_id(f"{base.name}-tuned", self.made["files"])
        path, adapter = str(base.path.absolute()), str(work / "adapter")
        values: dict[str, Any] = {"model": base.name, "revision": base.revision, "created_at": 1.0}
        self.releases.register(Release(self.old, path=path, digests=base.digests, **values))
        values |= {"base_release": self.old, "adapter_path": adapter}
        merged = str(work / "merged")
        self.releases.register(Release(self.new, path=merged, digests=self.made["files"], **values))
        self.releases.point("production", [Target(self.old, 1.0, "live")])
        self._key = Keys(self.database).create("users", SCOPES)[1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = str(probe.getsockname()[1])
        self._home, self._users = home, users
        self.answers: list[Answer] = []
        self._stop = asyncio.Event()

    def serve(self) -> subprocess.Popen[bytes]:
        """Start `driftgate serve` with one slot."""
        settings = {
            "home": str(self._home), "port": self._port, "slots": "1", "embedder": "",
            "training_worker": "false", "monitor": "false", "max_model_len": "1024",
            "swap_wait_s": str(_START_S), "engine_start_timeout_s": str(_START_S),
        }  # fmt: skip
        named = {f"DRIFTGATE_{name.upper()}": value for name, value in settings.items()}
        with (self._home / "serve.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve"],
                env=os.environ | named, stdout=log, stderr=log,
            )  # fmt: skip

    def rows(self) -> dict[str, tuple[str, str]]:
        """Return release and state by slot."""
        return {row.slot: (row.release, row.state.value) for row in self.engines.all()}

    async def until(self, there: Callable[[], bool]) -> float:
        """Wait, and return for how many seconds."""
        began = time.monotonic()
        while not there():
            if time.monotonic() - began > _START_S:
                raise TimeoutError(f"not within {_START_S:g} s: {self.rows()}")
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def run(self) -> dict[str, float]:
        """Go through a rollout; returns seconds by what took them."""
        took = {"first engine ready": await self.until(lambda: self._ready("blue", self.old))}
        await self._until_served()
        users = [asyncio.create_task(self._ask(n)) for n in range(self._users)]
        await asyncio.sleep(8)
        self.releases.point("candidate", [Target(self.new, 1.0, "live")])
        took["candidate ready as an adapter"] = await self.until(
            lambda: (self.new, "ready") in self.rows().values()
        )
        both = [Target(self.old, 0.5, "live"), Target(self.new, 0.5, "live")]
        self.releases.point("production", both)
        await asyncio.sleep(10)
        self.releases.point("previous", [Target(self.old, 1.0, "live")])
        self.releases.point("production", [Target(self.new, 1.0, "live")])
        self.releases.drop("candidate")
        await asyncio.sleep(5)
        self.releases.drop("previous")
        self.swap_began = time.time()
        took["swap"] = await self.until(lambda: self._ready("blue", self.new))
        self.swapped = time.time()
        await asyncio.sleep(8)
        self._stop.set()
        await asyncio.gather(*users)
        return took

    def _ready(self, slot: str, release: str) -> bool:
        return self.rows().get(slot) == (release, "ready")

    async def _until_served(self) -> None:
        async with httpx.AsyncClient() as client:
            while True:
                try:
                    url = f"http://127.0.0.1:{self._port}/health/ready"
                    if (await client.get(url)).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.2)

    async def _ask(self, number: int) -> None:
        """Ask without end, every other user for streams; a stream must end as it should."""
        url, headers = f"http://127.0.0.1:{self._port}", {"authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_START_S) as client:
            turn, stream = 0, number % 2 == 0
            while not self._stop.is_set():
                turn += 1
                question = f"Name a city of country number {number}-{turn}."
                body = {
                    "model": "production", "max_tokens": 12, "temperature": 0, "stream": stream,
                    "messages": [{"role": "user", "content": question}],
                }  # fmt: skip
                asked, status, release = time.time(), 0, ""
                try:
                    answer = await client.post("/v1/chat/completions", json=body)
                    whole = not stream or answer.text.rstrip().endswith("data: [DONE]")
                    status = answer.status_code if whole else -1
                    release = answer.headers.get("x-driftgate-release", "")
                except httpx.TransportError as error:
                    print(f"{type(error).__name__}: {error}", flush=True)
                self.answers.append(Answer(asked, time.time() - asked, status, release))
                await asyncio.sleep(0.2)


def report(measured: Measured, took: dict[str, float]) -> str:
    """Return the page of figures."""
    answers, began, swapped = measured.answers, measured.swap_began, measured.swapped
    waited = [a for a in answers if a.at < swapped < a.at + a.seconds]
    served = [a for a in answers if a.at + a.seconds < began or a.at > swapped]
    lost = [a for a in answers if a.status != 200]
    wrong = [a for a in answers if a.at > began + 2 and a.release != measured.new]
    load = ", ".join(f"{n:.1f}" for n in os.getloadavg())
    lines = [
        "# One slot: from adapter to merged release", "",
        "SmolLM2-135M through vLLM on two cores; `python -m loadtests.one_slot`. Load average at",
        f"the end: {load}.", "", "| measure | value |", "| --- | --- |",
        *(f"| {name} | {seconds:.1f} s |" for name, seconds in took.items()),
        f"| requests | {len(answers)} |",
        f"| of which lost, refused or cut | {len(lost)} |",
        f"| answered by the old release after it was let go | {len(wrong)} |",
        f"| waited for the new engine | {len(waited)} |",
        f"| the longest of them | {max((a.seconds for a in waited), default=0):.1f} s |",
        f"| median of the others | {statistics.median(a.seconds for a in served):.2f} s |",
    ]  # fmt: skip
    by = Counter(a.release for a in answers)
    lines += [f"| answered by {release or 'nobody'} | {n} |" for release, n in by.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure and write; the status is 1 where a request was lost."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.one_slot", description=__doc__)
    parser.add_argument("--model", type=Path, default=_MODEL)
    parser.add_argument("--users", type=int, default=6)
    parser.add_argument("--work", type=Path, help="where models are written; else a folder of /tmp")
    options = parser.parse_args()
    base = installed(options.model)
    if base is None:
        parser.error(f"{options.model} holds no model: driftgate models pull {_MODEL.name}")
    with tempfile.TemporaryDirectory(prefix="one-slot-", dir=options.work) as folder:
        measured = Measured(Path(folder), base, options.users)
        process = measured.serve()
        try:
            took = asyncio.run(measured.run())
        finally:
            process.terminate()
            process.wait(120)
            log = (Path(folder) / "home" / "serve.log").read_text(errors="replace")
            print(log[-3000:], file=sys.stderr)
    text = report(measured, took)
    print(text)
    _RESULTS.write_text(text)
    return int(any(answer.status != 200 for answer in measured.answers))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    sys.exit(main())
