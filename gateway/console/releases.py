"""Releases: where each came from, what was shown of it, how answers differ; promote, roll back."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Form, Request, Response

from gateway.console.access import Changing, Looking
from gateway.console.parts import Parts
from gateway.console.texts import answer_of, question_of
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.store.jobs import Jobs
from gateway.store.releases import MovedMeanwhile, Release, Releases, Target, leading
from gateway.store.rollback import CannotRollBack, Rollback, history_of, without
from gateway.store.rollouts import Rollouts
from gateway.store.traffic import Traffic

_Text = Annotated[str, Form(max_length=2000)]
_MOST_PAIRS, _SHOWN_PAIRS = 400, 40


class Node(NamedTuple):
    """A release in the tree of what was made from what, and how deep it lies."""

    release: Release
    depth: int


class Pair(NamedTuple):
    """One question that two releases answered."""

    id: str
    question: str
    one: str
    other: str


def router(parts: Parts) -> APIRouter:
    """Return the routes of releases."""
    pages = APIRouter(prefix="/releases")
    releases = Releases(parts.database)
    rollback = Rollback(parts.database)

    def known(id: str) -> Release:
        release = releases.get(id)
        if release is None:
            raise NotFound(f"There is no release `{id}`.")
        return release

    @pages.get("")
    def listing(request: Request, viewer: Looking) -> Response:
        nodes = tree(releases.all())
        aliases = releases.aliases()
        return parts.pages.show(
            request,
            viewer,
            "releases.html",
            nodes=nodes,
            served=serving(aliases),
            aliases=sorted(aliases),
            certificates={node.release.id: parts.certified.read(node.release) for node in nodes},
        )

    @pages.get("/roll-back/{alias}")
    def confirm_rollback(request: Request, viewer: Looking, alias: str) -> Response:
        targets = releases.aliases().get(alias)
        if targets is None:
            raise NotFound(f"There is no alias `{alias}`.")
        gone, back = way_back(parts, alias, targets)
        return parts.pages.show(
            request, viewer, "rollback.html", alias=alias, targets=targets, gone=gone, back=back
        )

    @pages.post("/roll-back/{alias}")
    def roll_back(
        viewer: Changing,
        alias: str,
        gone: _Text,
        reason: _Text = "",
        force: Annotated[bool, Form()] = False,
    ) -> Response:
        why = reason.strip() or "rolled back in the console"
        try:
            done = rollback.roll_back(alias, by=viewer.name, why=why, release=gone, force=force)
        except CannotRollBack as error:
            kind = NotFound if error.code == "alias_not_found" else Conflict
            raise kind(str(error)) from None
        if not done.moved:
            told = f"{gone} had left {alias} already: nothing was changed."
            return parts.pages.told("/releases", told, "no")
        told = f"{alias} serves {', '.join(t.release for t in done.targets)} again."
        if done.aborted is not None:
            told += f" The rollout {done.aborted} is being aborted."
        return parts.pages.told("/releases", told)

    @pages.get("/{id}")
    def one(request: Request, viewer: Looking, id: str) -> Response:
        release = known(id)
        every = {each.id: each for each in releases.all()}
        aliases = releases.aliases()
        return parts.pages.show(
            request,
            viewer,
            "release.html",
            release=release,
            line=line_of(release, every),
            children=[each for each in every.values() if each.base_release == id],
            certificate=parts.certified.read(release),
            served=serving(aliases).get(id, []),
            aliases={name: t for name, t in sorted(aliases.items()) if leading(t) != id},
            files=results(parts, release),
            against=[name for name in every if name != id],
        )

    @pages.get("/{id}/differences")
    def differences(request: Request, viewer: Looking, id: str, against: str = "") -> Response:
        release = known(id)
        pairs, compared = pairs_of(parts, release.id, against)
        return parts.pages.show(
            request,
            viewer,
            "differences.html",
            release=release,
            against=against,
            others=[each.id for each in releases.all() if each.id != id],
            pairs=pairs,
            compared=compared,
        )

    @pages.get("/{id}/promote")
    def confirm_promotion(request: Request, viewer: Looking, id: str, alias: str) -> Response:
        release = known(id)
        targets = releases.aliases().get(alias)
        if targets is None:
            raise NotFound(f"There is no alias `{alias}`.")
        return parts.pages.show(
            request,
            viewer,
            "promote.html",
            release=release,
            alias=alias,
            targets=targets,
            rollout=Rollouts(parts.database).live(alias),
            expected=msgspec.json.encode(targets).decode(),
        )

    @pages.post("/{id}/promote")
    def promote(
        viewer: Changing, id: str, alias: _Text, expected: _Text, reason: _Text = ""
    ) -> Response:
        release = known(id)
        try:
            believed = msgspec.json.decode(expected, type=list[Target])
        except msgspec.DecodeError:
            raise InvalidRequest("The form is not whole. Load the page again.") from None
        targets = [Target(release.id, 1.0, "live")]
        if list(releases.aliases().get(alias, ())) == targets:
            return parts.pages.told("/releases", f"{alias} serves {id} already.", "no")
        why = reason.strip() or "promoted in the console"
        try:
            releases.point(alias, targets, by=viewer.name, why=why, expected=believed)
        except MovedMeanwhile:
            last = releases.moves(alias, 1)
            who = f" by {last[0].by or 'somebody'}" if last else ""
            raise Conflict(
                f"`{alias}` was moved{who} since you looked at it, so nothing was changed. Look "
                "at what it serves now and decide again."
            ) from None
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
        return parts.pages.told("/releases", f"{alias} serves {id} from now on.")

    return pages


def tree(releases: Sequence[Release]) -> list[Node]:
    """Return releases with what was made from each below it, the newest root first."""
    known = {release.id for release in releases}
    children: dict[str | None, list[Release]] = defaultdict(list)
    for release in releases:
        parent = release.base_release if release.base_release in known else None
        children[parent].append(release)
    found: list[Node] = []

    def walk(parent: str | None, depth: int) -> None:
        for release in sorted(children[parent], key=lambda r: r.created_at, reverse=True):
            found.append(Node(release, depth))
            walk(release.id, depth + 1)

    walk(None, 0)
    return found


def line_of(release: Release, every: Mapping[str, Release]) -> list[str]:
    """Return the ids of what a release descends from, the first one first."""
    line: list[str] = []
    parent = release.base_release
    while parent is not None and parent not in line:
        line.insert(0, parent)
        above = every.get(parent)
        parent = None if above is None else above.base_release
    return line


def serving(aliases: Mapping[str, Sequence[Target]]) -> dict[str, list[tuple[str, Target]]]:
    """Return for each release the aliases that point at it."""
    found: dict[str, list[tuple[str, Target]]] = defaultdict(list)
    for name, targets in aliases.items():
        for target in targets:
            found[target.release].append((name, target))
    return found


def way_back(
    parts: Parts, alias: str, now: Sequence[Target]
) -> tuple[str | None, Sequence[Target]]:
    """Return what a rollback would take away and leave, as far as can be told; None: nothing."""
    rollout = Rollouts(parts.database).live(alias)
    if rollout is not None and rollout.candidate in {target.release for target in now}:
        return rollout.candidate, (Target(rollout.previous, 1.0, "live"),)
    leader = leading(now)
    history = history_of(Releases(parts.database).moves(alias, 1000))
    if leader is None or len(history.stack) < 2:
        return None, now
    return leader, without(history.stack[-2].last, leader)


def results(parts: Parts, release: Release) -> list[Any]:
    """Return the files that the job of a release left."""
    job = None if release.job is None else Jobs(parts.database).get(release.job)
    files = [] if job is None else [parts.files.get(id) for id in job.result_files]
    return [file for file in files if file is not None]


def pairs_of(parts: Parts, release: str, against: str) -> tuple[list[Pair], int]:
    """Return questions that two releases answered differently, and how many were compared.

    Shadow traffic is what both have answered: the same request, at the same time.
    """
    found: list[Pair] = []
    compared = 0
    traffic = Traffic(parts.database)
    for alias in Releases(parts.database).aliases():
        for copy_release, first_release, is_copy in (
            (release, against, True),
            (against, release, False),
        ):
            for copy, first in traffic.mirrored(alias, copy_release, 0.0, _MOST_PAIRS):
                if first.release != first_release:
                    continue
                compared += 1
                mine, other = (copy, first) if is_copy else (first, copy)
                if answer_of(mine) != answer_of(other):
                    id = first.completion_id
                    found.append(Pair(id, question_of(first), answer_of(mine), answer_of(other)))
    return found[-_SHOWN_PAIRS:], compared
