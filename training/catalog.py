"""The catalogue of base models, and how a model is found: by name, in a folder, or on a hub.

The data and their sources are in `catalog.yaml`.
"""

import difflib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from training.planner.architecture import Architecture, ConfigError, from_config, read_config

_DATA = Path(__file__).with_name("catalog.yaml")


class CatalogError(LookupError):
    """A model or a task that cannot be found; the message says where was looked."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A model of the catalogue.

    Args:
        name: Its short name here.
        hub: `organisation/model` on a hub.
        published: Parameters in billions, as its publisher says.
        licence: Its licence.
        template: Family of its chat template.
        strengths: Tasks that it is known for.
        note: What else one should know.
        source: Where this was looked up.
        shape: The numbers that a plan needs.
    """

    name: str
    hub: str
    published: float
    licence: str
    template: str
    strengths: tuple[str, ...]
    note: str
    source: str
    shape: Architecture


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of task, and how many billions of parameters may do for it after fine-tuning."""

    name: str
    title: str
    minimum: float


@dataclass(frozen=True, slots=True)
class Unplanned:
    """A model that exists and that plans do not cover, with the reason."""

    name: str
    hub: str
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """A model that was asked for: its shape, and where it is known, its entry and its folder."""

    name: str
    shape: Architecture
    entry: Entry | None = None
    path: Path | None = None


@cache
def entries() -> dict[str, Entry]:
    """Return the models by name, smallest first."""
    found = [_entry(name, row) for name, row in _data()["models"].items()]
    return {entry.name: entry for entry in sorted(found, key=lambda e: e.shape.parameters)}


@cache
def tasks() -> dict[str, Task]:
    """Return the kinds of tasks by name."""
    rows = _data()["tasks"].items()
    return {name: Task(name, row["title"], row["minimum"]) for name, row in rows}


def unplanned() -> list[Unplanned]:
    """Return the models that plans do not cover."""
    return [Unplanned(name, **row) for name, row in _data()["unplanned"].items()]


def as_of() -> str:
    """Return the day on which the data were checked."""
    return str(_data()["as_of"])


def smallest(task: str) -> Entry:
    """Return the smallest model that may do for a task and is known to be good at it.

    Raises:
        CatalogError: The task is not known.
    """
    try:
        wanted = tasks()[task]
    except KeyError:
        known = ", ".join(tasks())
        raise CatalogError(f"no task {task!r}; known: {known}") from None
    enough = (e for e in entries().values() if e.shape.parameters >= wanted.minimum * 1e9)
    return next(entry for entry in enough if task in entry.strengths)


def find(wish: str) -> Found:
    """Return the model of a catalogue name, a folder, a `config.json`, or a name on a hub.

    Raises:
        CatalogError: It is nowhere.
        ConfigError: Its configuration cannot be planned for.
    """
    for entry in entries().values():
        if wish.lower() in (entry.name, entry.hub.lower()):
            return Found(entry.name, entry.shape, entry)
    for other in unplanned():
        if wish.lower() in (other.name, other.hub.lower()):
            raise ConfigError(f"{other.name} is not planned for: {other.why} ({other.source})")
    path = Path(wish).expanduser()
    if path.exists():
        folder = path if path.is_dir() else path.parent
        return Found(folder.resolve().name, read_config(path), path=path)
    organisation, slash, model = wish.partition("/")
    if slash and organisation and model and "/" not in model and not wish.startswith("."):
        return Found(wish, read_config(_from_hub(wish)))
    near = difflib.get_close_matches(wish.lower(), entries(), n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise CatalogError(
        f"no model {wish!r} in the catalogue, and no such file or folder{hint} "
        "`driftgate catalog` lists the names"
    )


def _from_hub(wish: str) -> Path:
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        raise CatalogError(f"{wish} is no folder, and no hub is asked while HF_HUB_OFFLINE is set")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise CatalogError(
            f"{wish} is no folder; huggingface-hub, to ask for it, is missing"
        ) from None
    try:
        return Path(hf_hub_download(wish, "config.json", etag_timeout=5))
    except Exception as error:  # the hub's client raises dozens of kinds, its transport's too
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CatalogError(
            f"{wish} is no folder, and the hub gives no config.json: {first}"
        ) from error


def _entry(name: str, row: dict[str, Any]) -> Entry:
    return Entry(
        name=name,
        hub=row["hub"],
        published=float(row["parameters"]),
        licence=row["licence"],
        template=row["template"],
        strengths=tuple(row["strengths"]),
        note=row["note"],
        source=row["source"],
        shape=from_config(row["config"], f"catalog.yaml, {name}"),
    )


@cache
def _data() -> dict[str, Any]:
    import yaml

    data: dict[str, Any] = yaml.safe_load(_DATA.read_text("utf-8"))
    return data
