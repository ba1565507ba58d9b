"""Merges an adapter into its base, and proves that the merge says what the adapter said.

An adapter that was trained on a 4-bit base fits that base: into the original one it changes what
was learnt (measured: KL 0.54 against 1.6e-4 nats), yet may keep more of what the base knew. So both
merges are built, each in a process of its own, and measured against the adapter as it was trained.
"""

import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from training import lineage
from training.candidate import Kind, Order, copied, write_order
from training.recipe import Recipe
from training.run import environment, result
from training.run_folder import RunError, RunFolder, digests, exclusive, read_json, write_json

# The most a merge may differ from the adapter that was evaluated, in nats a token.
KL_LIMIT = 1e-3
_KINDS: dict[str, tuple[Kind, ...]] = {
    "qlora": ("dequantised", "original"),
    "lora": ("original",),
    "full": ("trained",),
}
_LOG_TAIL = 1500


class MergeError(Exception):
    """A merge that cannot be built, or that is refused; the message says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A merge that was built.

    Args:
        kind: Into which base.
        precision: Type of its weights.
        path: Its folder.
        kl: Mean KL divergence from the adapter as trained, nats a token.
        worst_kl: The highest at one token.
        positions: How many tokens.
        agreement: Share of prompts with the same greedy answer.
        prompts: How many prompts.
        computed: Type of the arithmetic that it was measured with, as an engine would use.
        score: What `prefer` gave it.
    """

    kind: Kind
    precision: str
    path: Path
    kl: float
    worst_kl: float
    positions: int
    agreement: float
    prompts: int
    computed: str
    score: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return its figures, without its folder."""
        return {key: value for key, value in asdict(self).items() if key != "path"}


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The merge that was kept, and all that were built. `digests` are SHA-256 by file."""

    model: Path
    kind: Kind
    precision: str
    kl: float
    agreement: float
    candidates: tuple[Candidate, ...]
    digests: dict[str, str]


def merge(
    run: Path,
    out: Path,
    *,
    rows: Path | None = None,
    prompts: int = 50,
    kl_limit: float = KL_LIMIT,
    prefer: Callable[[Path], float] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> MergeResult:
    """Build the merges of a run, keep one, and write it with its lineage; path → path.

    A merge that is there already is returned. One that was cut off goes on with what is missing.

    Args:
        run: Folder of a complete run.
        out: Folder of the merged model; it appears whole.
        rows: Held-out rows to measure with; the run's validation rows, else its training rows.
        prompts: How many of them.
        kl_limit: A merge that differs more from the adapter is refused.
        prefer: Scores the folder of a merge, higher is better. Given, it decides instead of the
            KL, and the limit does not apply: what is kept is itself what was evaluated.
        on_progress: Told what is being done, for people.

    Raises:
        RunError: The run is not complete, or its base has changed since.
        MergeError: A merge cannot be built, or none is close enough.
    """
    trained = result(run)
    folder = RunFolder(trained.run)
    adapter = digests(folder.adapter)
    out = out.absolute()
    tell = on_progress or (lambda text: None)
    if out.exists():
        return _existing(out, adapter)
    base, rows = _inputs(folder, rows, tell)
    work = out.with_name(f".{out.name}.partial")
    with exclusive(work, f"another process merges into {out}"):
        if out.exists():  # made by the one that was waited for
            shutil.rmtree(work)
            return _existing(out, adapter)
        _begin(work, {"adapter": adapter, "rows": str(rows), "prompts": prompts})
        recipe = Recipe.model_validate(yaml.safe_load(folder.recipe.read_text("utf-8")))
        builder = _Builder(folder, recipe, work, rows, prompts, tell)
        built = builder.all(kl_limit, judged=prefer is not None)
        chosen = _choose(built, kl_limit, prefer, tell)
        tell("computing digests")
        files = digests(chosen.path)
        _check_files(files, base)
        lineage.write(
            chosen.path,
            lineage.describe(
                name=out.name,
                run=trained,
                recipe=recipe,
                manifest=read_json(folder.manifest),
                versions=read_json(folder.versions),
                adapter=adapter,
                kept=chosen.as_dict(),
                candidates=[candidate.as_dict() for candidate in built],
                kl_limit=kl_limit,
                judged_by="evaluation" if prefer else "kl",
                files=files,
            ),
        )
        chosen.path.replace(out)
        shutil.rmtree(work)
    return _existing(out, adapter)


class _Builder:
    """Builds merges in processes of their own, and leaves out those that are there already."""

    def __init__(
        self,
        run: RunFolder,
        recipe: Recipe,
        work: Path,
        rows: Path,
        prompts: int,
        tell: Callable[[str], None],
    ) -> None:
        self._recipe = recipe
        self._environment = environment(recipe)
        self._run = run
        self._work = work
        self._rows = rows
        self._prompts = prompts
        self._tell = tell

    def all(self, kl_limit: float, *, judged: bool) -> list[Candidate]:
        """Return every merge of a run: bfloat16, and float32 where that is too coarse.

        It is too coarse above the KL limit. Where engines compute in float32 anyway, one greedy
        answer that differs from the adapter's is enough: float32 weights then cost only room. In
        bfloat16 arithmetic a near tie turns whatever the weights are.
        """
        kinds = _KINDS[self._recipe.method]
        if not self._reference.exists():
            self._tell("asking the adapter as it was trained")
            self._process("reference", self._order(kinds[0], "float32"))
        built = [self._one(kind, "bfloat16") for kind in kinds]
        closest = min(built, key=lambda c: c.kl if math.isfinite(c.kl) else math.inf)
        differs = closest.computed == "float32" and closest.agreement < 1
        if not judged and (differs or not closest.kl <= kl_limit):
            built.append(self._one(closest.kind, "float32"))
        return built

    def _one(self, kind: Kind, precision: str) -> Candidate:
        order = self._order(kind, precision)
        found = Path(f"{order.folder}.json")
        if not found.exists():
            self._tell(f"building and measuring the merge into the {kind} base, {precision}")
            self._process("merge", order)
        return Candidate(kind, precision, Path(order.folder), **read_json(found))

    @property
    def _reference(self) -> Path:
        return self._work / "reference.safetensors"

    def _order(self, kind: Kind, precision: str) -> Order:
        return Order(
            run=str(self._run.path),
            folder=str(self._work / f"{kind}-{precision}"),
            kind=kind,
            precision=precision,
            rows=str(self._rows),
            prompts=self._prompts,
            reference=str(self._reference),
        )

    def _process(self, task: str, order: Order) -> None:
        path = self._work / f"{task}.order.json"
        write_order(order, path)
        log = self._work / "merge.log"
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - a fixed program, no shell
                [sys.executable, "-m", "training.candidate", task, str(path)],
                stdin=subprocess.PIPE,  # it closes when this process ends, and then that one does
                stdout=output,
                stderr=output,
                env=self._environment,
            )
            try:
                status = process.wait()
            finally:
                process.kill()
                if process.stdin is not None:
                    process.stdin.close()
        if status:
            tail = log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip()
            last = tail.rpartition("\n")[2]
            shown = last.removeprefix("error: ") if last.startswith("error: ") else tail
            raise MergeError(f"the merge into the {order.kind} base failed: {shown}")


def _choose(
    built: Sequence[Candidate],
    kl_limit: float,
    prefer: Callable[[Path], float] | None,
    tell: Callable[[str], None],
) -> Candidate:
    """Return the merge to keep; MergeError where none may be."""
    numbers = [candidate for candidate in built if math.isfinite(candidate.kl)]
    if not numbers:
        raise MergeError("every merge answers with numbers that are none (NaN)")
    if prefer is not None:
        scored = []
        for candidate in numbers:
            tell(f"evaluating the merge into the {candidate.kind} base")
            figures = asdict(candidate) | {"score": prefer(candidate.path)}
            scored.append(Candidate(**figures))
        return max(scored, key=lambda c: (c.score if c.score is not None else -math.inf, -c.kl))
    best = min(numbers, key=lambda candidate: candidate.kl)
    if best.kl > kl_limit:
        told = ", ".join(f"{c.kind} {c.precision} {c.kl:.2g}" for c in built)
        raise MergeError(
            f"no merge is close enough to the adapter that was trained: KL {told}; "
            f"the limit is {kl_limit:g} nats a token"
        )
    return best


def _inputs(folder: RunFolder, rows: Path | None, tell: Callable[[str], None]) -> tuple[Path, Path]:
    """Return the base, unchanged since the training, and the rows to measure with."""
    call = read_json(folder.config)
    base = Path(call["base"])
    tell("checking the digests of the base")
    before: dict[str, str] = read_json(folder.manifest)["base"]["digests"]
    now = digests(base)
    changed = sorted(
        name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
    )
    if changed:
        raise RunError(f"{base} has changed since the adapter was trained on it: {changed[0]}")
    rows = (rows or Path(call["eval"] or call["data"])).absolute()
    if not rows.is_file():
        raise MergeError(f"{rows}: there are no rows to measure the merge with")
    return base, rows


def _check_files(files: dict[str, str], base: Path) -> None:
    """Check that a merge is a whole model: weights, and all that the base says of its tokens."""
    weights = [name for name in files if name.endswith(".safetensors")]
    wanted = {"config.json", *copied(base)}
    missing = sorted(wanted - files.keys()) + ([] if weights else ["*.safetensors"])
    if missing:
        raise MergeError(f"the merge is incomplete: {', '.join(missing)} is missing")


def _begin(work: Path, key: dict[str, Any]) -> None:
    """Keep what an earlier process built of the same, and nothing else."""
    mark = work / "key.json"
    if mark.exists() and read_json(mark) == key:
        return
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()
    write_json(mark, key)


def _existing(out: Path, adapter: dict[str, str]) -> MergeResult:
    """Return the merge in a folder; MergeError where it is of something else or incomplete."""
    if not (out / lineage.RELEASE).is_file():
        raise MergeError(f"{out} is there and holds no merge: choose another folder")
    release = read_json(out / lineage.RELEASE)
    if release["adapter"] != adapter:
        raise MergeError(f"{out} holds the merge of another run: choose another folder")
    kept = release["merge"]["kept"]
    return MergeResult(
        model=out,
        kind=kept["kind"],
        precision=kept["precision"],
        kl=kept["kl"],
        agreement=kept["agreement"],
        candidates=tuple(Candidate(path=out, **c) for c in release["merge"]["candidates"]),
        digests=release["files"],
    )
