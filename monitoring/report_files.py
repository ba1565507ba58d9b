"""Reports as files to be read by a browser: nothing outside their folder, nothing hidden."""

from pathlib import Path
from urllib.parse import unquote

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
# A report is a page with scripts of its own and texts of users. In a sandbox it has no origin, so
# it reads nothing of this server; and it may load and send nothing.
HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-downloads; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class ReportFiles:
    """The files of a folder.

    Args:
        folder: Where reports are written; it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, path: str) -> tuple[Path, str] | None:
        """Return the file at a path as a URL gives it, and its content type; None: there is none.

        Links are followed, and must end in the folder as well.
        """
        parts = unquote(path).split("/")
        if any(part in ("", "..") or part.startswith(".") or "\0" in part for part in parts):
            return None
        try:
            root = self._folder.resolve(strict=True)
            found = root.joinpath(*parts).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        kind = _TYPES.get(found.suffix)
        if kind is None or not found.is_relative_to(root) or not found.is_file():
            return None
        return found, kind
