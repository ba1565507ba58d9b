"""Calibrates a release: what it was trained for, and how sure it usually is.

The training prompts become a reference collection of the retrieval service. A part of them is set
aside first: how near those come to the rest, and how sure the release's answers to them are, gives
the limits, as split conformal prediction does (Vovk et al. 2005; Angelopoulos and Bates 2023). So
of prompts like the training data a share `1 - quantile` is out of either limit.
"""

import asyncio
import hashlib
import math
import random
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from gateway.grounding.probe import JUDGED_TOKENS, values_of
from gateway.settings import Settings
from gateway.store.calibrations import Calibrations, StoredCalibration
from gateway.store.database import Database
from gateway.store.engines import Engines, EngineState
from gateway.store.examples import Example, RowError, parse_row
from gateway.store.releases import Releases
from retrieval.client import RetrievalClient, RetrievalFailed, RetrievalUnavailable
from retrieval.questions import question_of
from retrieval.records import Document, Entry, Passage, Search

_BATCH = 64
_DEADLINE_S = 120.0
_LEAST = 10
_MOST_ASIDE = 500
_ANSWER_TOKENS = JUDGED_TOKENS


class CalibrationFailed(Exception):
    """The release could not be calibrated; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """See the options of `driftgate grounding calibrate`."""

    cutoff: str | None = None
    quantile: float = 0.95
    answers: int = 100
    prompts: int = 5000


def run(
    database: Database, settings: Settings, release: str, data: Path, options: Options
) -> StoredCalibration:
    """Calibrate and store.

    Raises:
        CalibrationFailed: Data, the service or the engine is missing or fails.
    """
    return asyncio.run(_run(database, settings, release, data, options))


async def _run(
    database: Database, settings: Settings, release: str, data: Path, options: Options
) -> StoredCalibration:
    release = _release(database, release)
    examples = _examples(data)
    cutoff = _cutoff(options.cutoff, examples)
    known: dict[str, Example] = {}
    for example in examples:
        known.setdefault(question_of([m.as_dict() for m in example.prompt]), example)
    known.pop("", None)
    if len(known) < 2 * _LEAST:
        raise CalibrationFailed(f"{len(known)} different prompts are too few; 20 are needed.")
    questions = sorted(known)
    random.Random(0).shuffle(questions)  # noqa: S311 - the same parts each time
    questions = questions[: options.prompts]
    aside = max(_LEAST, min(_MOST_ASIDE, len(questions) // 5))
    reference = reference_name(release)
    client = RetrievalClient(settings.run_dir() / "retrieval.sock")
    try:
        similar = await _similarities(client, reference, questions[:aside], questions[aside:])
        await _add(client, reference, questions[:aside])
    except (RetrievalUnavailable, RetrievalFailed) as error:
        raise CalibrationFailed(f"The retrieval service: {error}.") from error
    finally:
        await client.close()
    unsure: list[float] = []
    if options.answers:
        asked = [known[question] for question in questions[: min(aside, options.answers)]]
        unsure = await _unsureness(_engine(database, release), release, asked)
    calibration = StoredCalibration(
        release=release,
        data_cutoff=cutoff,
        reference=reference,
        similarity_floor=lower(similar, 1 - options.quantile),
        nll_ceiling=upper(unsure, options.quantile),
        sufficient=None,
        prompts=len(similar),
        answers=len(unsure),
        updated_at=time.time(),
    )
    Calibrations(database).put(calibration)
    return calibration


def upper(values: list[float], quantile: float) -> float | None:
    """Return the conformal limit: the ceil((n + 1) q)-th smallest; None where n is too small."""
    place = math.ceil((len(values) + 1) * quantile)
    return sorted(values)[place - 1] if values and place <= len(values) else None


def lower(values: list[float], share: float) -> float | None:
    """Return the limit below which a share of usual values is; None where there are too few."""
    found = upper([-value for value in values], 1 - share)
    return None if found is None else -found


def reference_name(release: str) -> str:
    """Return the name of a release's reference collection."""
    digest = hashlib.sha256(release.encode()).hexdigest()[:8]
    return f"reference-{re.sub(r'[^A-Za-z0-9_-]+', '-', release)[:60]}-{digest}"


def _release(database: Database, name: str) -> str:
    releases = Releases(database)
    if releases.get(name) is not None:
        return name
    targets = [t for t in releases.aliases().get(name, ()) if t.mode == "live" and t.weight > 0]
    if len(targets) != 1:
        raise CalibrationFailed(f"There is no release {name}, nor an alias of one release alone.")
    return targets[0].release


def _examples(data: Path) -> list[Example]:
    found = []
    try:
        with data.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    found.append(parse_row(raw, number))
    except OSError as error:
        raise CalibrationFailed(f"{data}: {error.strerror}.") from error
    except RowError as error:
        raise CalibrationFailed(f"{data}: {error}.") from error
    return found


def _cutoff(given: str | None, examples: list[Example]) -> float | None:
    if given is None:
        return max((e.created_at for e in examples if e.created_at is not None), default=None)
    try:
        day = datetime.fromisoformat(given)
    except ValueError as error:
        raise CalibrationFailed(f"{given} is no ISO date, such as 2026-01-31.") from error
    return (day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp()


async def _similarities(
    client: RetrievalClient, reference: str, aside: list[str], rest: list[str]
) -> list[float]:
    """Return how near each prompt that was set aside comes to the rest."""
    await client.drop(reference)
    await _add(client, reference, rest)
    found = []
    for question in aside:
        search = Search(query=question, collections=(), limit=1, reference=reference)
        similarity = (await client.search(search, deadline_s=_DEADLINE_S)).reference_similarity
        if similarity is not None:
            found.append(similarity)
    return found


async def _add(client: RetrievalClient, reference: str, questions: list[str]) -> None:
    for start in range(0, len(questions), _BATCH):
        entries = [
            Entry(
                document=Document(id=hashlib.sha256(question.encode()).hexdigest()[:32]),
                passages=(Passage(number=0, text=question),),
            )
            for question in questions[start : start + _BATCH]
        ]
        await client.add_entries(reference, entries, deadline_s=_DEADLINE_S)


def _engine(database: Database, release: str) -> str:
    ready = [e for e in Engines(database).all() if e.release == release]
    ready = [e for e in ready if e.state is EngineState.READY]
    if not ready:
        raise CalibrationFailed(
            f"No engine serves {release} now; start one, or measure no answers (--answers 0)."
        )
    return ready[0].address


async def _unsureness(address: str, release: str, examples: list[Example]) -> list[float]:
    """Return the mean negative log-likelihood of the first tokens of each answer, in nats."""
    unix = address.removeprefix("unix:") if address.startswith("unix:") else None
    transport = httpx.AsyncHTTPTransport(uds=unix)
    base = "http://engine" if unix else address
    found = []
    async with httpx.AsyncClient(transport=transport, base_url=base, timeout=_DEADLINE_S) as http:
        for example in examples:
            body: dict[str, Any] = {
                "model": release, "messages": [m.as_dict() for m in example.prompt],
                "logprobs": True, "max_tokens": _ANSWER_TOKENS,
            }  # fmt: skip
            try:
                answer = await http.post("/v1/chat/completions", json=body)
                answer.raise_for_status()
            except httpx.HTTPError as error:
                raise CalibrationFailed(f"The engine: {error}.") from error
            values = values_of(answer.json()["choices"][0])[:JUDGED_TOKENS]
            if values:
                found.append(-sum(values) / len(values))
    return found
