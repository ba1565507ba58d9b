"""What guards the pages of people, the console's and those of raters: headers, posts, faults."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response

from gateway.console.access import comes_from_elsewhere

_log = logging.getLogger(__name__)
# No inline script or style, nothing from elsewhere, in nobody's frame.
_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
Said = Callable[[Request, int, str, str], Response]
"""Makes a page of a status, a title and a reason."""


def guard(app: FastAPI, said: Said, more: Mapping[str, str] | None = None) -> None:
    """Give every answer its headers, and refuse what no page of ours would send.

    Args:
        app: The pages.
        said: Tells people of a fault.
        more: Further headers.
    """
    headers = _HEADERS | dict(more or {})

    @app.middleware("http")
    async def guarded(
        request: Request, answer_of: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        answer = await _answered(request, answer_of, said)
        for name, value in headers.items():
            answer.headers.setdefault(name, value)
        return answer


async def _answered(
    request: Request, answer_of: Callable[[Request], Awaitable[Response]], said: Said
) -> Response:
    if request.method not in ("GET", "HEAD") and comes_from_elsewhere(request):
        return Response("This was sent by another site.\n", 403, media_type="text/plain")
    # Nothing has a name with a NUL in it, and PostgreSQL takes none to look for.
    if "\0" in request.scope["path"]:
        return said(request, 404, "Not found", "There is no such page.")
    try:
        return await answer_of(request)
    except Exception:
        _log.exception("a page of %s", request.scope.get("root_path", ""))
        return said(request, 500, "That did not work", "Try again in a moment.")
