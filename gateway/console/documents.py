"""Reports and result files, as pages in a sandbox: they hold scripts of their own and users' texts.

A sandboxed page has no origin (https://html.spec.whatwg.org/#sandboxing): it can neither read the
console nor act in it, and it may load and send nothing.
"""

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from gateway.console.access import Looking
from gateway.console.parts import Parts
from gateway.errors import NotFound

_SANDBOX = {
    "content-security-policy": "sandbox allow-scripts allow-downloads; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
}
# All others are downloaded.
_SHOWN = {
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
    ".json": "application/json",
    ".csv": "text/plain; charset=utf-8",
    ".jsonl": "text/plain; charset=utf-8",
}
RESULTS = "fine-tune-results"


def router(parts: Parts) -> APIRouter:
    """Return the routes of files that others have written."""
    pages = APIRouter()
    reports = parts.home / "monitoring" / "reports"

    @pages.get("/reports/{folder}/{name}")
    def report(folder: str, name: str, _: Looking) -> Response:
        path = inside(reports, folder, name)
        if path is None or path.suffix != ".html":
            raise NotFound(
                "This report is not here: it was tidied away, or the monitor runs elsewhere."
            )
        return FileResponse(path, headers=_SANDBOX, media_type=_SHOWN[".html"])

    @pages.get("/files/{id}")
    def result(id: str, _: Looking) -> Response:
        file = parts.files.get(id)
        if file is None or file.purpose != RESULTS:
            raise NotFound("There is no such result of a job.")
        path = parts.files.path(file.id)
        if not path.is_file():
            raise NotFound(f"`{file.filename}` is not on this host.")
        kind = _SHOWN.get(Path(file.filename).suffix)
        if kind is None:
            return FileResponse(path, headers=_SANDBOX, filename=file.filename)
        return FileResponse(path, headers=_SANDBOX, media_type=kind)

    return pages


def inside(folder: Path, *names: str) -> Path | None:
    """Return the file of a folder, or None where there is none or the path leads out of it."""
    if any(name.startswith(".") or "/" in name or "\0" in name for name in names):
        return None
    try:
        root = folder.resolve(strict=True)
        found = root.joinpath(*names).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
    return found if found.is_relative_to(root) and found.is_file() else None
