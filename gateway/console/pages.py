"""Renders the pages: the templates, the list of pages, and the sentence after a change."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2
from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from gateway import __version__
from gateway.console import drawing, formats
from gateway.console.access import Viewer
from gateway.console.session import Sealer

BASE = "/console"
_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_TOLD = "driftgate_told"
_TOLD_S = 60


class Entry(NamedTuple):
    """A page in the list at the side: where it is, its name, its group."""

    path: str
    name: str
    group: str


NAV = (
    Entry("/", "Overview", "Serve"),
    Entry("/releases", "Releases", "Serve"),
    Entry("/rollouts", "Rollouts", "Serve"),
    Entry("/playground", "Playground", "Serve"),
    Entry("/drift", "Drift", "Watch"),
    Entry("/traffic", "Traffic", "Watch"),
    Entry("/data", "Data", "Improve"),
    Entry("/compare", "Compare", "Improve"),
    Entry("/jobs", "Jobs", "Improve"),
    Entry("/keys", "Keys and budgets", "Manage"),
)


class Pages:
    """Renders templates.

    Args:
        sealer: Signs the sentence after a change.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "base": BASE,
            "nav": NAV,
            "asset": _assets(),
            "version": __version__,
            "draw": drawing,
        }
        self._templates.filters |= formats.FILTERS

    def show(
        self, request: Request, viewer: Viewer | None, template: str, status: int = 200, **said: Any
    ) -> Response:
        """Return a page.

        Args:
            request: What is answered.
            viewer: Who looks; None: nobody is logged in.
            template: Its file.
            status: Of the answer.
            said: What the template names.
        """
        told = self._sealer.read_text(_TOLD, request.cookies.get(_TOLD, ""))
        kind, _, sentence = (told or "").partition(":")
        path = request.url.path.removeprefix(BASE) or "/"
        known = {"viewer": viewer, "path": path, "told": sentence, "told_kind": kind}
        page = self._templates.get_template(template).render(known | said)
        answer = HTMLResponse(page, status, {"cache-control": "no-store"})
        if told is not None:
            answer.delete_cookie(_TOLD, path=BASE)
        return answer

    def told(self, path: str, sentence: str, kind: str = "done") -> Response:
        """Return the way to a page that shows a sentence once.

        Args:
            path: Below the console.
            sentence: What happened, for people.
            kind: `done`, or `no` for what was not.
        """
        answer = RedirectResponse(BASE + quote(path, safe="/?=&#%"), 303)
        # A cookie holds 4 kB; who needs a longer sentence has a page for it.
        sealed = self._sealer.seal(_TOLD, f"{kind}:{sentence[:1000]}")
        answer.set_cookie(
            _TOLD, sealed, max_age=_TOLD_S, path=BASE, httponly=True, samesite="strict"
        )
        return answer


def _assets() -> dict[str, str]:
    """Return the address of each static file, with its digest: browsers keep it for long."""
    return {
        file.name: f"{BASE}/static/{file.name}?{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
        for file in sorted(STATIC.iterdir())
        if file.suffix in (".css", ".js", ".svg")
    }
