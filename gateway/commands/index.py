"""`driftgate index`: documents into vector stores, as the operator of this host."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console

from gateway.commands.index_files import Filing, Outcome
from gateway.commands.index_output import (
    hit_object,
    progress,
    show_found,
    show_outcomes,
    show_stores,
    stats_object,
)
from gateway.commands.index_sources import sources
from gateway.commands.index_stores import Opened, StoreProblem, opened
from gateway.errors import InvalidRequest
from gateway.filters import read_filter
from gateway.settings import Settings
from gateway.store.database import StoreError
from retrieval.client import RetrievalFailed, RetrievalUnavailable
from retrieval.records import CollectionStats, Filter, Found, Search

app = typer.Typer(help="Documents in vector stores.", no_args_is_help=True)
_T = TypeVar("_T")
_SEARCH_S = 30.0
_STATS_S = 60.0
_ASK_S = 5.0
_MODES = ("hybrid", "dense", "lexical")
_Store = Annotated[str, typer.Option(help="The vector store, by name or id.")]
_Key = Annotated[
    str | None,
    typer.Option(help="Whose it is, by the key's 8 characters after `dg-`; default: everyone's."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command(epilog="Example: driftgate index add handbook/ --store handbook")
def add(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders of them.")],
    store: _Store,
    key: _Key = None,
    as_json: _Json = False,
) -> None:
    """Add files to a vector store, made where it is missing; what is there already is skipped."""
    try:
        found = sources(paths)
    except (ValueError, OSError) as error:
        _end(str(error))
    if not found:
        _end("There is no file of a kind that can be read.")

    async def work(index: Opened) -> tuple[str, list[Outcome]]:
        chosen = index.store(store, key, create=True)
        filing = Filing(index.database, index.uploads, index.client, chosen)
        with progress(len(found), quiet=as_json) as show:
            return chosen.id, await filing.add(found, show)

    id, outcomes = _run(work, "What was added stays; the same command goes on with the rest.")
    if as_json:
        typer.echo(json.dumps({"store": id, "files": [asdict(o) for o in outcomes]}, indent=2))
    else:
        show_outcomes(id, outcomes)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


@app.command(epilog="Example: driftgate index remove old.pdf --store handbook")
def remove(
    store: _Store,
    what: Annotated[
        list[str] | None, typer.Argument(help="Files by id or name, or documents by id.")
    ] = None,
    key: _Key = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Delete the vector store with all that it holds.")
    ] = False,
    yes: _Yes = False,
    as_json: _Json = False,
) -> None:
    """Remove files or documents from a vector store, or all of it."""
    if bool(what) == everything:
        _end("Name what to remove, or `--all` to delete the vector store.")

    async def work(index: Opened) -> dict[str, Any]:
        chosen = index.store(store, key)
        if not yes:
            named = "all of it" if everything else ", ".join(what or ())
            typer.confirm(f"Remove {named} from {chosen.name or chosen.id}?", abort=True, err=True)
        filing = Filing(index.database, index.uploads, index.client, chosen)
        files = index.files(chosen.id)
        if everything:
            await filing.drop(list(files))
            return {"store": chosen.id, "files": len(files), "documents": None, "missing": []}
        names = {name: id for id, name in files.items()}
        ids = [id for each in what or () if (id := each if each in files else names.get(each))]
        await filing.remove(ids)
        others = [each for each in what or () if each not in files and each not in names]
        removed, missing = 0, []
        for each in others:
            count = await index.client.remove(chosen.id, documents=[each])
            removed += count
            missing += [] if count else [each]
        return {"store": chosen.id, "files": len(ids), "documents": removed, "missing": missing}

    done = _run(work, "What was removed is gone.")
    if as_json:
        typer.echo(json.dumps(done, indent=2))
    else:
        shown = {"files": done["files"], "documents": done["documents"] or 0}
        told = ", ".join(f"{name}: {number:,}" for name, number in shown.items())
        typer.echo(f"Removed from {done['store']}: {told}.")
    if done["missing"]:
        _end(f"It has no {', '.join(done['missing'])}.", 1)


@app.command(epilog='Example: driftgate index search "When does the office open?" --store handbook')
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    store: Annotated[list[str], typer.Option(help="A vector store by name or id; repeatable.")],
    key: _Key = None,
    top_k: Annotated[int, typer.Option(min=1, max=200, help="Most passages.")] = 5,
    mode: Annotated[str, typer.Option(help=f"One of {', '.join(_MODES)}.")] = "hybrid",
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="NAME=VALUE, or OpenAI's filter as JSON; repeatable."),
    ] = None,
    rerank: Annotated[
        bool, typer.Option(help="Whether the service's cross-encoder orders hits, if it has one.")
    ] = True,
    as_json: _Json = False,
) -> None:
    """Show the passages that a search finds."""
    if mode not in _MODES:
        _end(f"A mode is one of {', '.join(_MODES)}, not {mode}.")
    wanted = _filter(filters or ())

    async def work(index: Opened) -> Found:
        ids = tuple(index.store(each, key).id for each in store)
        asked = Search(
            query=query,
            collections=ids,
            limit=top_k,
            mode=mode,  # type: ignore[arg-type]
            filters=wanted,
            rerank=None if rerank else False,
        )
        return await index.client.search(asked, deadline_s=_SEARCH_S)

    found = _run(work)
    for name, problem in found.problems.items():
        print(f"{name} was not searched: {problem}", file=sys.stderr)
    if as_json:
        shown = [hit_object(hit) for hit in found.hits]
        typer.echo(json.dumps({"hits": shown, "took_s": found.took_s}, indent=2))
        return
    show_found(found)


@app.command(epilog="Example: driftgate index stats --json")
def stats(
    store: Annotated[str | None, typer.Option(help="Only this one, by name or id.")] = None,
    key: _Key = None,
    as_json: _Json = False,
) -> None:
    """Show the vector stores and what they hold."""

    async def work(index: Opened) -> list[dict[str, Any]]:
        chosen = index.chosen(store, key)
        only = chosen[0].id if store is not None else None
        held = {each.name: each for each in await index.client.stats(only, deadline_s=_STATS_S)}
        counts = index.counts([each.id for each in chosen])
        return [
            {
                "id": each.id,
                "name": each.name,
                "key": each.key_prefix,
                "files": asdict(counts[each.id]),
                "index": stats_object(held.get(each.id, CollectionStats(name=each.id))),
            }
            for each in chosen
        ]

    rows = _run(work)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    show_stores(rows)


@app.command(epilog="Example: driftgate index compact --store handbook")
def compact(
    store: Annotated[str | None, typer.Option(help="Only this one, by name or id.")] = None,
    key: _Key = None,
    as_json: _Json = False,
) -> None:
    """Fold what was added and removed into a new generation; searches and writes go on."""

    async def work(index: Opened) -> list[dict[str, Any]]:
        chosen = index.chosen(store, key)
        there = {each.name for each in await index.client.stats(deadline_s=_STATS_S)}
        done = []
        with Console(stderr=True, quiet=as_json).status("") as status:
            for each in chosen:
                if each.id in there:
                    status.update(f"compacting {each.name or each.id}")
                    began = time.monotonic()
                    await index.client.compact(each.id)
                    (now,) = await index.client.stats(each.id, deadline_s=_STATS_S)
                    took = time.monotonic() - began
                    done.append({"id": each.id, "generation": now.generation, "took_s": took})
        return done

    done = _run(work, "The compaction goes on in the service.")
    if as_json:
        typer.echo(json.dumps(done, indent=2))
        return
    for each in done:
        typer.echo(f"{each['id']}: generation {each['generation']} in {each['took_s']:.1f} s")
    if not done:
        typer.echo("There is nothing to compact.")


def _run(work: Callable[[Opened], Coroutine[None, None, _T]], left: str = "") -> _T:
    """Do it, or say what went wrong; after Ctrl-C, say what that leaves."""
    settings = Settings()

    async def open_and_work() -> _T:
        async with opened(settings) as index:
            await index.client.info(deadline_s=_ASK_S)  # before anything is written
            return await work(index)

    try:
        return asyncio.run(open_and_work())
    except KeyboardInterrupt:
        _end(f"Stopped. {left}".strip(), 130)
    except StoreError as error:
        _end(f"The store cannot be used: {error}", 1)
    except StoreProblem as error:
        _end(str(error))
    except RetrievalUnavailable as error:
        socket, model = settings.retrieval_socket(), settings.resolved_models_dir() / "MODEL"
        _end(
            f"The retrieval service does not answer on {socket} ({error}).\n"
            "`driftgate serve` starts it with everything else; alone it is started by\n"
            f"driftgate retrieval serve --model {model} --socket {socket} "
            f"--indexes {settings.indexes_dir()} --files {settings.files_dir()}",
            1,
        )
    except RetrievalFailed as error:
        _end(f"The retrieval service could not do it: {error}", 1)


def _filter(given: Sequence[str]) -> Filter | None:
    """Return what all of some filters ask for."""
    filters: list[dict[str, Any]] = []
    for text in given:
        name, equals, value = text.partition("=")
        if text.lstrip().startswith("{"):
            try:
                filters.append(json.loads(text))
            except ValueError as error:
                _end(f"--filter {text}: {error}.")
        elif equals and name:
            filters.append({"type": "eq", "key": name, "value": _value(value)})
        else:
            _end(f"--filter {text}: is neither NAME=VALUE nor JSON.")
    if not filters:
        return None
    try:
        return read_filter(filters[0] if len(filters) == 1 else {"type": "and", "filters": filters})
    except InvalidRequest as error:
        _end(str(error))


def _value(text: str) -> str | float | bool:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


def _end(message: str, status: int = 2) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(status)
